"""What ``jobs/plan.py`` reckons with: seconds of a sample and a pair at the paper's sizes, and Ray's load by actors.

Stub actors stand for those of many GPUs, as far as the machine's memory goes: each is a process. With their number grow
the work of Ray's control service (GCS) and the time to start them; with the shards in flight, the work of the driver.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import ray

from benchmarks.bench_synthesis import (
    MILLION_SHARD,
    StubActor,
    TimedProgress,
    load_inputs,
    local_ray,
    make_shards,
    prepare_run,
    with_settings,
)
from benchmarks.results import Measurement
from jr2net.config import load
from jr2net.process import tune_malloc
from jr2net.run.cascade import Run
from jr2net.run.pace import measured
from jr2net.synthesis.shards import missing_shards

PAPER = Path(__file__).parents[1] / "configs" / "paper.yaml"
BATCH = 4
ACTORS = (25, 50, 100, 200, 400)
CALLS = 20  # of every actor
MEMORY_PER_ACTOR = 80 << 20
LOGICAL = ((8, 8), (16, 16), (16, 64))  # (actors, shards at once in each): 64, 256 and 1,024 at a time
SHARDS = 1024


def measure() -> Iterator[Measurement]:
    yield from _paces()
    with local_ray():
        yield from _actors()
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="bench-reach-"))
        stack.enter_context(local_ray())
        yield from _driver(folder)


def _paces() -> Iterator[Measurement]:
    tune_malloc()
    config = load(PAPER, ["face={model: procedural}", "require_pretrained=false"])
    for pace in measured(config, BATCH):
        case = f"({pace.stage}, paper, {config.image_size} px, batch {BATCH})"
        yield Measurement(f"reach_seconds {case}", pace.seconds, "s")
        if pace.bytes:
            yield Measurement(f"reach_state_bytes ({pace.stage}, paper)", pace.bytes, "bytes")


class Stub:
    """An actor that does nothing."""

    def ping(self) -> None: ...


def _actors() -> Iterator[Measurement]:
    """Starts and calls more and more actors, as many as fit into half of the free memory."""
    stub: Any = ray.remote(num_cpus=0)(Stub)
    server = next(child for child in psutil.Process().children(recursive=True) if child.name() == "gcs_server")
    for count in ACTORS:
        if count * MEMORY_PER_ACTOR > psutil.virtual_memory().available / 2:
            print(f"{count} actors: not measured, they do not fit into half of the free memory")
            return
        gcs, driver, start = _cpu(server), time.process_time(), time.perf_counter()
        actors = [stub.remote() for _ in range(count)]
        ray.get([actor.ping.remote() for actor in actors])
        started = time.perf_counter() - start
        gcs_started, driver_started, start = _cpu(server), time.process_time(), time.perf_counter()
        for _ in range(CALLS):
            ray.get([actor.ping.remote() for actor in actors])
        called = time.perf_counter() - start
        case = f"({count} actors)"
        yield Measurement(f"reach_start_s {case}", started, "s")
        yield Measurement(f"reach_gcs_cpu_s of the start {case}", gcs_started - gcs, "s")
        yield Measurement(f"reach_driver_cpu_s of the start {case}", driver_started - driver, "s")
        yield Measurement(f"reach_gcs_memory_mib {case}", server.memory_info().rss / (1 << 20), "MiB")
        yield Measurement(f"reach_gcs_cpu_s of {CALLS} calls each {case}", _cpu(server) - gcs_started, "s")
        cpu = time.process_time() - driver_started
        yield Measurement(f"reach_driver_cpu_ms a call {case}", 1000 * cpu / (CALLS * count), "ms")
        yield Measurement(f"reach_calls_per_s {case}", CALLS * count / called, "calls/s")
        for actor in actors:
            ray.kill(actor)
        time.sleep(5)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _driver(folder: str) -> Iterator[Measurement]:
    """The driver of synthesis, with more and more shards in flight."""
    run = prepare_run(f"{folder}/run")
    for actors, shards in LOGICAL:
        scaling = {"synthesis_actors": actors, "synthesis_actors_min": actors, "shards_per_actor": shards}
        pairs = SHARDS * MILLION_SHARD
        settings = {"pairs": pairs, "pairs_per_shard": MILLION_SHARD}
        stubbed = Run(with_settings(run.config, scaling={**scaling, "cpus_per_actor": 0.1}, synthesis=settings))
        own = f"{folder}/stub-{actors * shards}"
        stubbed.folder = lambda stage, own=own: own  # type: ignore[method-assign, misc]
        cpu, start = time.process_time(), time.perf_counter()
        missing = missing_shards(own, stubbed.config.synthesis)
        failed = make_shards(stubbed, load_inputs(run), missing, TimedProgress(own, pairs), StubActor)
        assert not failed
        case = f"({actors * shards} shards at a time)"
        yield Measurement(f"reach_driver_cpu_ms a shard {case}", 1000 * (time.process_time() - cpu) / SHARDS, "ms")
        yield Measurement(f"reach_shards_per_s {case}", SHARDS / (time.perf_counter() - start), "shards/s")
