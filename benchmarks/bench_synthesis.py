"""Mass synthesis: the job against a bare loop of its networks, one worker against two, and a million pairs' planning.

The networks have ``configs/laptop.yaml``'s sizes and random weights, the sources are noise: neither changes the speed.
Every source acts 16 times, as it does by default where pairs are many more than sources.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import ray
import torch

from benchmarks.results import Measurement
from jobs.pair_actor import SynthesisInputs, load_inputs
from jobs.ray_settings import LOCAL_SETTINGS
from jobs.submit import free_ports
from jobs.synthesis_progress import SynthesisProgress
from jobs.synthesize import make_shards
from jr2net import storage
from jr2net.config import Config, load
from jr2net.data.shards import write_clips
from jr2net.expressions.samplers import sample
from jr2net.face.camera import Camera
from jr2net.images.arrays import encode_jpeg, to_tensor
from jr2net.images.clip import ClipRow
from jr2net.networks.checkpoint import load_network, save_network
from jr2net.networks.dcnet import DCNet
from jr2net.networks.recnet import RecNet
from jr2net.process import use_threads
from jr2net.render.scene import set_scene
from jr2net.run import manifest
from jr2net.run.cascade import NETWORK_FILES, Run
from jr2net.storage import put_once
from jr2net.synthesis import dataset
from jr2net.synthesis.plan import MAX_PAIRS_PER_SOURCE

LAPTOP = str(Path(__file__).parents[1] / "configs" / "laptop.yaml")
WORKERS = 2
SHARDS, PAIRS_PER_SHARD = 32, 128  # of the job that is timed
BARE_SECONDS = 20.0
MILLION, MILLION_SHARD = 1_000_000, 500
LOGICAL = ((1, 1), (2, 2), (4, 4), (8, 8))  # (actors, shards at once in each) of 1, 4, 16 and 64 logical workers
STUB_LATENCY = 0.02  # seconds that the stub takes for a shard


def measure() -> Iterator[Measurement]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-synthesis-"))
        stack.enter_context(s3_server())
        stack.enter_context(local_ray())
        run = prepare_run(f"{folder}/run")
        yield from measure_job(run)
        yield from measure_planning(run)
        yield from measure_driver(run, folder)


def measure_job(run: Run) -> Iterator[Measurement]:
    """The job on one and two workers, into S3, beside the bare loop on as many cores."""
    bare = bare_loop(run, WORKERS)
    yield Measurement(f"synthesis_bare_loop_pairs_per_s ({WORKERS} processes)", bare, "pairs/s")
    one, _ = job_pace(run, 1)
    two, phases = job_pace(run, WORKERS)
    yield Measurement("synthesis_job_pairs_per_s (1 worker)", one, "pairs/s")
    yield Measurement(f"synthesis_job_pairs_per_s ({WORKERS} workers)", two, "pairs/s")
    yield Measurement("synthesis_job_vs_bare_loop", two / bare, "of its pace", "render + DCNet alone, same cores")
    yield Measurement("synthesis_scaling_1_to_2", two / one, "times")
    for phase, seconds in sorted(phases.items(), key=lambda item: -item[1]):
        yield Measurement(f"synthesis_phase_ms {phase}", 1000 * seconds / (SHARDS * PAIRS_PER_SHARD), "ms a pair")


def job_pace(run: Run, workers: int) -> tuple[float, Mapping[str, float]]:
    """Pairs a second between the first and the last shards of a job, and its seconds by phase."""
    place = f"s3://bucket/{workers}-workers-{time.monotonic_ns()}"
    changed = {"synthesis_actors": workers, "synthesis_actors_min": workers}
    moved = Run(with_settings(run.config, scaling=changed))
    moved.folder = lambda stage: place if stage == "synthesis" else run.folder(stage)  # type: ignore[method-assign]
    progress = Timed(place, SHARDS * PAIRS_PER_SHARD)
    failed = make_shards(moved, load_inputs(run), np.arange(SHARDS), progress)
    if failed:
        raise RuntimeError(f"the benchmark's job failed: {failed}")
    # Not from the start, which waits for actors, nor to the end, when some have nothing left to do.
    edge = 2 * workers
    stamps = progress.stamps[edge - 1 : -edge]
    return (len(stamps) - 1) * PAIRS_PER_SHARD / (stamps[-1] - stamps[0]), progress.seconds


class Timed(SynthesisProgress):
    """Notes when each shard was finished; tells nobody."""

    def __init__(self, folder: str, pairs: int) -> None:
        super().__init__(folder, pairs, pairs)
        self.stamps: list[float] = []
        self.memory = 0.0

    def add(self, planned: int, kept: int, rejected: Mapping[str, int], seconds: Mapping[str, float]) -> None:
        self.stamps.append(time.monotonic())
        self.memory = max(self.memory, memory_mib())
        self.seconds.update(seconds)  # type: ignore[arg-type]


def bare_loop(run: Run, processes: int) -> float:
    """Pairs a second of render + DCNet on one batch over and over, in several processes at once."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes) as pool:
        return sum(pool.map(_bare_pace, [run.config] * processes, chunksize=1))


@torch.inference_mode()
def _bare_pace(config: Config) -> float:
    use_threads(1)
    run, size = Run(config), config.synthesis.batch_size
    recnet, dcnet = (load_network(run.folder(name), run.model) for name in ("recnet", "dcnet"))
    rng = np.random.default_rng(0)
    images = to_tensor([noise(rng, config.image_size) for _ in range(size)])
    source = recnet(images)
    expressions = torch.from_numpy(np.stack([sample("large", rng, ()).expression for _ in range(size)]))
    wanted, made, start = source.replace(expression=expressions), 0, 0.0
    while not start or time.perf_counter() - start < BARE_SECONDS:
        dcnet(set_scene(run.model, Camera.from_config(config), images, source, wanted))
        start = start or time.perf_counter()  # the first warms up
        made += size
    return (made - size) / (time.perf_counter() - start)


def measure_planning(run: Run) -> Iterator[Measurement]:
    """Finding out what is missing of a half-made dataset of a million pairs in S3, and describing a whole one."""
    settings = with_settings(run.config, synthesis={"pairs": MILLION, "pairs_per_shard": MILLION_SHARD}).synthesis
    place = f"s3://bucket/million-{time.monotonic_ns()}"
    count = MILLION // MILLION_SHARD
    put_once(f"{place}/{dataset.SOURCES}", b"{}")
    for index in range(0, count, 2):
        write_manifest(place, index)
    start = time.perf_counter()
    missing = dataset.missing_shards(place, settings)
    listed = time.perf_counter() - start
    assert len(missing) == count // 2
    yield Measurement("planning_1m_pairs_s", listed, "s")
    for index in missing.tolist():
        write_manifest(place, index)
    start = time.perf_counter()
    dataset.describe(place, settings, 0, {}, run.config.image_size)
    yield Measurement("describing_1m_pairs_s", time.perf_counter() - start, "s")


def measure_driver(run: Run, folder: str) -> Iterator[Measurement]:
    """What the driver itself takes for a million pairs, with a stub in place of the networks."""
    for actors, shards in LOGICAL:
        changed: dict[str, float] = {"synthesis_actors": actors, "synthesis_actors_min": actors}
        changed |= {"shards_per_actor": shards, "cpus_per_worker": 0.1}
        settings = {"pairs": MILLION, "pairs_per_shard": MILLION_SHARD}
        stubbed = Run(with_settings(run.config, scaling=changed, synthesis=settings))
        place = f"{folder}/stub-{actors * shards}"
        stubbed.folder = lambda stage, place=place: place  # type: ignore[method-assign, misc]
        before, cpu, start = memory_mib(), time.process_time(), time.perf_counter()
        progress = Timed(place, MILLION)
        missing = dataset.missing_shards(place, stubbed.config.synthesis)
        failed = make_shards(stubbed, load_inputs(run), missing, progress, StubActor)
        assert not failed and not len(dataset.missing_shards(place, stubbed.config.synthesis))
        case = f"({MILLION:,} pairs, {actors * shards} logical workers)"
        yield Measurement(f"synthesis_driver_cpu_s {case}", time.process_time() - cpu, "s")
        yield Measurement(f"synthesis_driver_wall_s {case}", time.perf_counter() - start, "s")
        yield Measurement(f"synthesis_driver_memory_growth_mib {case}", progress.memory - before, "MiB")


class StubActor:
    """In ``PairActor``'s place: takes a fixed time for each shard and leaves its manifest."""

    def __init__(self, config: Config, folders: dict[str, str], folder: str, work: SynthesisInputs) -> None:
        self.folder = folder

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        time.sleep(STUB_LATENCY)
        write_manifest(self.folder, int(row["shard"]))
        counts = {"planned": MILLION_SHARD, "pairs": MILLION_SHARD}
        return {"shard": row["shard"], **counts, "rejected": "{}", "seconds": "{}", "error": ""}


def write_manifest(folder: str, index: int) -> None:
    """A manifest as large as a real one."""
    content = {
        "shard": dataset.shard_name(index),
        "planned": MILLION_SHARD,
        "pairs": MILLION_SHARD,
        "bytes": 1 << 20,
        "sha256": "0" * 64,
        "rejected": {},
        "quarantined": {},
        "licenses": {"unknown": MILLION_SHARD},
        "histograms": np.full((51, dataset.BINS), MILLION_SHARD // dataset.BINS).tolist(),
    }
    put_once(storage.join(folder, dataset.manifest_name(index)), json.dumps(content).encode())


def memory_mib() -> float:
    """What this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / (1 << 20)


def with_settings(config: Config, **sections: Mapping[str, Any]) -> Config:
    tree = config.model_dump()
    for name, values in sections.items():
        tree[name] |= values
    return Config.model_validate(tree)


def prepare_run(place: str) -> Run:
    """The stages before synthesis, made up."""
    pairs = SHARDS * PAIRS_PER_SHARD
    overrides = [f"synthesis.pairs={pairs}", f"synthesis.pairs_per_shard={PAIRS_PER_SHARD}"]
    run = Run(load(LAPTOP, [f"storage={place}", *overrides]))
    manifest.begin(run.folder("prepare"), run.inputs("prepare"))
    rng = np.random.default_rng(0)
    rows = [
        ClipRow(
            clip_id=f"clip-{number}",
            identity=f"person-{number}",
            fps=25.0,
            frame=np.arange(4, dtype=np.int32),
            images=tuple(encode_jpeg(noise(rng, run.config.image_size)) for _ in range(4)),
            landmarks=np.zeros((4, 68, 2), np.float32),
        )
        for number in range(-(-pairs // (4 * MAX_PAIRS_PER_SOURCE)))
    ]
    write_clips(f"{run.folder('prepare')}/train/people.parquet", rows)
    manifest.finish(run.folder("prepare"), run.inputs("prepare"), ["train/people.parquet"], 0.0)
    torch.manual_seed(0)
    seen_through = {"image_size": run.config.image_size, "focal_ratio": run.config.face.focal_ratio}
    for stage in ("recnet", "dcnet"):
        made = RecNet(run.model.sizes, run.config.recnet.backbone) if stage == "recnet" else DCNet(run.config.dcnet)
        manifest.begin(run.folder(stage), run.inputs(stage))
        save_network(made, run.folder(stage), seen_through, run.model.digest, {})
        manifest.finish(run.folder(stage), run.inputs(stage), NETWORK_FILES, 0.0)
    return run


def noise(rng: np.random.Generator, size: int) -> np.ndarray:
    return rng.integers(30, 225, (size // 8, size // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)


@contextmanager
def s3_server() -> Iterator[None]:
    """moto's server in a process of its own, named in the environment, with a bucket."""
    import boto3

    port = free_ports()["port"]
    endpoint = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    told = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    before = dict(os.environ)
    os.environ.update(told | {"AWS_DEFAULT_REGION": "us-east-1"})
    try:
        for _ in range(300):
            try:
                urlopen(f"{endpoint}/moto-api/", timeout=5).close()
                break
            except (URLError, OSError):
                time.sleep(0.2)
        boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="bucket")
        yield
    finally:
        server.kill()
        server.wait()
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def local_ray() -> Iterator[None]:
    for name, value in {**LOCAL_SETTINGS, "OMP_NUM_THREADS": "1"}.items():
        os.environ.setdefault(name, value)
    ray.init(address="local", num_cpus=max(WORKERS, os.cpu_count() or 1), include_dashboard=False, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()
