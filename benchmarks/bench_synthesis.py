"""Mass synthesis: the job against a bare loop, one worker against two, and planning and driver of a million pairs.

The networks have the sizes of ``configs/laptop.yaml`` and random weights, and the sources are noise, which does not
change the speed. Every source is used in 16 pairs, the default if there are many more pairs than sources.
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
from jobs.shard_waves import make_shards
from jobs.submit import free_ports
from jobs.synthesis_progress import SynthesisProgress
from jr2net import storage
from jr2net.config import Config, load
from jr2net.data.pair_index import INDEX
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
from jr2net.synthesis import shards as shard_files
from jr2net.synthesis.plan import MAX_PAIRS_PER_SOURCE

LAPTOP = str(Path(__file__).parents[1] / "configs" / "laptop.yaml")
WORKERS = 2
SHARDS, PAIRS_PER_SHARD = 32, 128  # of the timed job
BARE_SECONDS = 20.0
MILLION, MILLION_SHARD = 1_000_000, 500
LOGICAL = ((1, 1), (2, 2), (4, 4), (8, 8))  # (actors, concurrent shards per actor): 1, 4, 16 and 64 logical workers
STUB_LATENCY_S = 0.02  # of the stub, per shard


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
    """The job on one and two workers, writing to S3, against the bare loop on as many cores."""
    bare = bare_rate(run, WORKERS)
    yield Measurement(f"synthesis_bare_loop_pairs_per_s ({WORKERS} processes)", bare, "pairs/s")
    one_worker, _ = job_rate(run, 1)
    two_workers, phases = job_rate(run, WORKERS)
    yield Measurement("synthesis_job_pairs_per_s (1 worker)", one_worker, "pairs/s")
    yield Measurement(f"synthesis_job_pairs_per_s ({WORKERS} workers)", two_workers, "pairs/s")
    yield Measurement(
        "synthesis_job_vs_bare_loop", two_workers / bare, "of its pace", "render + DCNet alone, same cores"
    )
    yield Measurement("synthesis_scaling_1_to_2", two_workers / one_worker, "times")
    for phase, seconds in sorted(phases.items(), key=lambda item: -item[1]):
        yield Measurement(f"synthesis_phase_ms {phase}", 1000 * seconds / (SHARDS * PAIRS_PER_SHARD), "ms a pair")


def job_rate(run: Run, workers: int) -> tuple[float, Mapping[str, float]]:
    """Pairs per second between the first and the last shards of a job, and its seconds by phase."""
    folder = f"s3://bucket/{workers}-workers-{time.monotonic_ns()}"
    scaling = {"synthesis_actors": workers, "synthesis_actors_min": workers}
    job = Run(with_settings(run.config, scaling=scaling))
    job.folder = lambda stage: folder if stage == "synthesis" else run.folder(stage)  # type: ignore[method-assign]
    progress = TimedProgress(folder, SHARDS * PAIRS_PER_SHARD)
    failed = make_shards(job, load_inputs(run), np.arange(SHARDS), progress)
    if failed:
        raise RuntimeError(f"the benchmark's job failed: {failed}")
    # Without the start, in which actors are created, and the end, in which some actors are idle.
    edge = 2 * workers
    finished_at = progress.finished_at[edge - 1 : -edge]
    return (len(finished_at) - 1) * PAIRS_PER_SHARD / (finished_at[-1] - finished_at[0]), progress.seconds


class TimedProgress(SynthesisProgress):
    """Records when each shard was finished, and reports nothing."""

    def __init__(self, folder: str, pairs: int) -> None:
        super().__init__(folder, pairs, pairs)
        self.finished_at: list[float] = []
        self.peak_memory_mib = 0.0

    def add(self, planned: int, kept: int, rejected: Mapping[str, int], seconds: Mapping[str, float]) -> None:
        self.finished_at.append(time.monotonic())
        self.peak_memory_mib = max(self.peak_memory_mib, memory_mib())
        self.seconds.update(seconds)  # type: ignore[arg-type]


def bare_rate(run: Run, processes: int) -> float:
    """Pairs per second of rendering and DCNet, repeated on one batch, in several processes."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes) as pool:
        return sum(pool.map(_bare_rate, [run.config] * processes, chunksize=1))


@torch.inference_mode()
def _bare_rate(config: Config) -> float:
    use_threads(1)
    run, size = Run(config), config.synthesis.batch_size
    recnet, dcnet = (load_network(run.folder(name), run.model) for name in ("recnet", "dcnet"))
    rng = np.random.default_rng(0)
    images = to_tensor([noise(rng, config.image_size) for _ in range(size)])
    source = recnet(images)
    expressions = torch.from_numpy(np.stack([sample("large", rng, ()).expression for _ in range(size)]))
    driving, num_pairs, start = source.replace(expression=expressions), 0, 0.0
    while not start or time.perf_counter() - start < BARE_SECONDS:
        dcnet(set_scene(run.model, Camera.from_config(config), images, source, driving))
        start = start or time.perf_counter()  # the first iteration is the warm-up
        num_pairs += size
    return (num_pairs - size) / (time.perf_counter() - start)


def measure_planning(run: Run) -> Iterator[Measurement]:
    """Finding the missing shards of a half-finished dataset of a million pairs in S3, and describing the whole one."""
    settings = with_settings(run.config, synthesis={"pairs": MILLION, "pairs_per_shard": MILLION_SHARD}).synthesis
    folder = f"s3://bucket/million-{time.monotonic_ns()}"
    count = MILLION // MILLION_SHARD
    put_once(f"{folder}/{dataset.SOURCES}", b"{}")
    for index in range(0, count, 2):
        write_manifest(folder, index)
    start = time.perf_counter()
    missing = shard_files.missing_shards(folder, settings)
    seconds = time.perf_counter() - start
    assert len(missing) == count // 2
    yield Measurement("planning_1m_pairs_s", seconds, "s")
    for index in missing.tolist():
        write_manifest(folder, index)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        dataset.summarize(folder, range(count), Path(temporary, INDEX))
    yield Measurement("describing_1m_pairs_s", time.perf_counter() - start, "s")


def measure_driver(run: Run, root: str) -> Iterator[Measurement]:
    """CPU time, wall-clock time and memory of the driver for a million pairs, with a stub instead of the networks."""
    for actors, shards in LOGICAL:
        scaling: dict[str, float] = {"synthesis_actors": actors, "synthesis_actors_min": actors}
        scaling |= {"shards_per_actor": shards, "cpus_per_actor": 0.1}
        settings = {"pairs": MILLION, "pairs_per_shard": MILLION_SHARD}
        stubbed = Run(with_settings(run.config, scaling=scaling, synthesis=settings))
        folder = f"{root}/stub-{actors * shards}"
        stubbed.folder = lambda stage, folder=folder: folder  # type: ignore[method-assign, misc]
        memory_before, cpu_start, start = memory_mib(), time.process_time(), time.perf_counter()
        progress = TimedProgress(folder, MILLION)
        missing = shard_files.missing_shards(folder, stubbed.config.synthesis)
        failed = make_shards(stubbed, load_inputs(run), missing, progress, StubActor)
        assert not failed and not len(shard_files.missing_shards(folder, stubbed.config.synthesis))
        case = f"({MILLION:,} pairs, {actors * shards} logical workers)"
        yield Measurement(f"synthesis_driver_cpu_s {case}", time.process_time() - cpu_start, "s")
        yield Measurement(f"synthesis_driver_wall_s {case}", time.perf_counter() - start, "s")
        yield Measurement(f"synthesis_driver_memory_growth_mib {case}", progress.peak_memory_mib - memory_before, "MiB")


class StubActor:
    """Replaces ``PairActor``: waits for a fixed time per shard and writes its manifest."""

    def __init__(self, config: Config, folders: dict[str, str], folder: str, work: SynthesisInputs) -> None:
        self.folder = folder

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        time.sleep(STUB_LATENCY_S)
        write_manifest(self.folder, int(row["shard"]))
        counts = {"planned": MILLION_SHARD, "pairs": MILLION_SHARD}
        return {"shard": row["shard"], **counts, "rejected": "{}", "seconds": "{}", "error": "", "device_broken": False}


def write_manifest(folder: str, index: int) -> None:
    """Writes a manifest of a realistic size."""
    content = {
        "shard": shard_files.shard_name(index, "0" * 64),
        "planned": MILLION_SHARD,
        "pairs": MILLION_SHARD,
        "bytes": 1 << 20,
        "sha256": "0" * 64,
        "rejected": {},
        "quarantined": {},
        "licenses": {"unknown": MILLION_SHARD},
        "histograms": np.full((51, shard_files.BINS), MILLION_SHARD // shard_files.BINS).tolist(),
    }
    put_once(storage.join(folder, shard_files.manifest_name(index)), json.dumps(content).encode())


def memory_mib() -> float:
    """The resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / (1 << 20)


def with_settings(config: Config, **sections: Mapping[str, Any]) -> Config:
    tree = config.model_dump()
    for name, values in sections.items():
        tree[name] |= values
    return Config.model_validate(tree)


def prepare_run(storage_path: str) -> Run:
    """A run whose stages before synthesis are complete, with noise as data and untrained networks."""
    pairs = SHARDS * PAIRS_PER_SHARD
    overrides = [f"synthesis.pairs={pairs}", f"synthesis.pairs_per_shard={PAIRS_PER_SHARD}"]
    overrides += [f"synthesis.pairs_per_source={MAX_PAIRS_PER_SOURCE}"]  # as in all but the first passes
    run = Run(load(LAPTOP, [f"storage={storage_path}", *overrides]))
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
    architecture = {"image_size": run.config.image_size, "focal_ratio": run.config.face.focal_ratio}
    for stage in ("recnet", "dcnet"):
        network = RecNet(run.model.sizes, run.config.recnet.backbone) if stage == "recnet" else DCNet(run.config.dcnet)
        manifest.begin(run.folder(stage), run.inputs(stage))
        save_network(network, run.folder(stage), architecture, run.model.digest, {})
        manifest.finish(run.folder(stage), run.inputs(stage), NETWORK_FILES, 0.0)
    return run


def noise(rng: np.random.Generator, size: int) -> np.ndarray:
    return rng.integers(30, 225, (size // 8, size // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)


@contextmanager
def s3_server() -> Iterator[None]:
    """Runs moto's S3 server in a subprocess, with a bucket and with the environment variables that select it."""
    import boto3

    port = free_ports()["port"]
    endpoint = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    variables = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    before = dict(os.environ)
    os.environ.update(variables | {"AWS_DEFAULT_REGION": "us-east-1"})
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
