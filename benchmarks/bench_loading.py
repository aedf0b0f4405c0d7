"""Training data: opening large indices, bytes read for every byte used, and loading from S3 against a local folder.

The S3 server is on the same machine, behind a proxy that delays every request. Pictures have the size of VoxCeleb2's
(224 px, about 16 kB), batches are the paper's. The shuffle buffer is smaller than in training, by as much as the data
are: they must not fit in it.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from benchmarks.bench_synthesis import s3_server
from benchmarks.results import Measurement
from jr2net import storage
from jr2net.data.clips import ClipLoader, ClipSource
from jr2net.data.index import ClipIndex, join_indices
from jr2net.data.lanes import Lanes
from jr2net.data.loader import LaneLoader
from jr2net.data.pair_index import INDEX, PairIndex
from jr2net.data.pairs import Pair, PairLoader, encode_pair_shard, make_pair_id
from jr2net.data.runs import ClipRuns
from jr2net.data.shards import write_clips
from jr2net.images.arrays import encode_jpeg
from jr2net.images.clip import ClipRow
from tests.faulty_s3 import FaultyS3, faulty_s3

SIZE = 224
DELAY_S = 0.03
BATCH = {"recnet": 32, "dcnet": 32, "etnet": 128}
STEP_S = {"recnet": 0.15, "dcnet": 0.5, "etnet": 0.3}
"""Stands in for a step on a GPU that does 10 TFLOP/s, half of what an A100 can in float32: three times the forward pass
of 64 images through ResNet-50 (8 GFLOP each), of 128 through ResNet-34 (7 GFLOP); DCNet's generator, discriminator and
frozen networks are guessed to take three times as long as RecNet."""

BUCKET = "s3://bucket/data"
SHUFFLE_BYTES = 48 << 20
CLIP_SHARDS, CLIPS, FRAMES = 16, 14, 195  # clips of a shard, frames of a clip: row groups of 3 MB, as VoxCeleb2's are
PAIR_SHARDS, PAIRS = 40, 2000  # pairs of a shard
WARM_UP_STEPS = 5
SECONDS, TURNS = 10.0, 5  # of every rate
VOXCELEB2 = 1_090_000  # clips of FRAMES frames
BILLION = 10**9


def measure() -> Iterator[Measurement]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-loading-")))
        yield from measure_indices(folder)
        stack.enter_context(s3_server())
        write_data(folder / "data")
        storage.upload_folder(folder / "data", BUCKET)
        proxy = stack.enter_context(delaying_proxy())
        yield from measure_reading(proxy)
        for network in BATCH:
            yield from measure_rates(network, str(folder / "data"), proxy)


# Indices


def measure_indices(folder: Path) -> Iterator[Measurement]:
    write_large_indices(folder)
    for name, opens, samples, step in (
        ("213 M frames", open_clips, VOXCELEB2 * FRAMES, "frame"),
        ("1e9 pairs", open_pairs, BILLION, "pair"),
    ):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            seconds, grown, size = pool.submit(opens, str(folder)).result()
        yield Measurement(f"index_open_s ({name})", seconds, "s, to the first batch's names")
        yield Measurement(f"index_memory_mb ({name})", grown / 1e6, "MB that the worker grows by")
        yield Measurement(f"index_file_mb ({name})", size / 1e6, f"MB, {size / samples:.2f} bytes a {step}")


def write_large_indices(folder: Path) -> None:
    number, per_shard = np.arange(VOXCELEB2), 100
    table = pa.table(
        {
            "group": (number % per_shard).astype(np.int32),
            "position": np.zeros(VOXCELEB2, np.int32),
            "group_bytes": np.full(VOXCELEB2, FRAMES * 15_000),
            "footer_bytes": np.full(VOXCELEB2, 800 * per_shard, np.int32),
            "identity": pa.array([f"id{n % 6112:05d}" for n in range(VOXCELEB2)], pa.large_string()),
            "clip_id": pa.array([f"{n:011x}/{n % 500:05d}" for n in range(VOXCELEB2)], pa.large_string()),
            "first": np.zeros(VOXCELEB2, np.int32),
            "frames": np.full(VOXCELEB2, FRAMES, np.int32),
        }
    )
    names = [f"clips-{n:05d}.parquet" for n in range(VOXCELEB2 // per_shard)]
    parts = [table.slice(first, per_shard) for first in range(0, VOXCELEB2, per_shard)]
    join_indices(names, parts).write(str(folder / "clips.arrow"))
    shards = BILLION // PAIRS
    paths = [f"pairs/{n % 256:02x}/pairs-{n:06d}.parquet" for n in range(shards)]
    PairIndex.of(paths, [PAIRS] * shards, [PAIRS * 15_000] * shards, [64] * shards).write(str(folder / INDEX))


def open_clips(folder: str) -> tuple[float, int, int]:
    start, before = time.perf_counter(), reset_peak()
    index = ClipIndex.open(f"{folder}/clips.arrow", "s3://bucket/clips")
    index = index.of(set(index.identities[7:]))  # as for a run that holds identities out
    lanes = Lanes(ClipRuns(index), 32, seed=0, rank=0, world=8)
    rows = [int(np.searchsorted(index.starts, draw.sample, side="right")) - 1 for draw in lanes.step(100_000)]
    assert all(row in index.rows_of_clip(index.clip[row]) for row in rows)
    return time.perf_counter() - start, peak() - before, Path(folder, "clips.arrow").stat().st_size


def open_pairs(folder: str) -> tuple[float, int, int]:
    start, before = time.perf_counter(), reset_peak()
    index = PairIndex.open(f"{folder}/{INDEX}", "s3://bucket/pairs")
    Lanes(index, 128, seed=0, rank=0, world=8).step(100_000)
    return time.perf_counter() - start, peak() - before, Path(folder, INDEX).stat().st_size


def reset_peak() -> int:
    """Forgets the most memory that this process has had (Linux); returns what it has, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    """The most memory that this process has had, mapped files included, in bytes (Linux)."""
    return 1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])


# Loading


def write_data(folder: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [picture(rng) for _ in range(CLIPS * FRAMES)]
    for shard in range(CLIP_SHARDS):
        order = rng.permutation(len(pictures)).reshape(CLIPS, FRAMES)
        rows = [clip(shard, number, [pictures[i] for i in frames]) for number, frames in enumerate(order)]
        write_clips(str(folder / "clips" / f"{shard:05d}.parquet"), rows)
    for shard in range(PAIR_SHARDS):
        order = rng.permutation(len(pictures))[:PAIRS]
        pairs = [
            Pair(make_pair_id(shard, number), pictures[i], rng.random(51).astype(np.float32), "source", "track", number)
            for number, i in enumerate(order)
        ]
        content = encode_pair_shard("pairs", pairs)
        storage.write_bytes(str(folder / "pairs" / f"{shard:05d}.parquet"), content)


def picture(rng: np.random.Generator) -> bytes:
    """A JPEG of about 16 kB: blurred noise with a little grain."""
    blurred = cv2.resize(rng.integers(0, 255, (28, 28, 3), np.uint8), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 4, blurred.shape)
    return encode_jpeg(np.clip(0.6 * blurred + 50 + grain, 0, 255).astype(np.uint8), 80)


def clip(shard: int, number: int, images: list[bytes]) -> ClipRow:
    landmarks = np.full((len(images), 68, 2), SIZE / 2, np.float32)
    frames = np.arange(len(images), dtype=np.int32)
    return ClipRow(f"{number:05d}", f"id{shard:05d}", 25.0, frames, tuple(images), landmarks)


def loader(network: str, folder: str) -> LaneLoader:
    settings: dict[str, Any] = {"seed": 0, "batch_size": BATCH[network], "size": SIZE, "shuffle_bytes": SHUFFLE_BYTES}
    threads = max(1, len(os.sched_getaffinity(0)))
    if network == "etnet":
        return PairLoader(f"{folder}/pairs", threads=threads, **settings)
    clips = ClipSource(f"{folder}/clips")
    return ClipLoader(clips, paired_augmentation=network == "dcnet", threads=threads, **settings)


def measure_reading(proxy: FaultyS3) -> Iterator[Measurement]:
    """Over the first two thirds of RecNet's first epoch, from a cold start, read and not decoded.

    Windows that are open at the end count as used, as they will be.
    """
    recnet = loader("recnet", BUCKET)
    assert isinstance(recnet, ClipLoader)
    proxy.sent.clear()
    used: dict[int, int] = {}
    start = time.perf_counter()
    for step in range(2 * recnet.runs.samples // BATCH["recnet"] // 3):
        windows = {draw.window: None for draw in recnet._plan(step)} | dict.fromkeys(recnet.lanes.windows())
        for run, content in (item for window in windows for item in window.contents.items()):
            used[run] = used.get(run) or sum(row.encoded_bytes for row in content.result())
    read, seconds = proxy.sent["GET"], time.perf_counter() - start
    yield Measurement("recnet_read_amplification", read / sum(used.values()), "bytes read per byte used")
    yield Measurement("s3_delayed_read_mb_per_s", read / 1e6 / seconds, "MB/s that one worker reads, nothing decoded")


def measure_rates(network: str, folder: str, proxy: FaultyS3) -> Iterator[Measurement]:
    """Samples per second, in turn from the local folder and from S3, as fast as possible and at the pace of a GPU."""
    for case, step_s in (("loader alone", 0.0), (f"steps of {STEP_S[network]:g} s", STEP_S[network])):
        turns = [(rate(network, folder, step_s), rate(network, BUCKET, step_s)) for _ in range(TURNS)]
        local, ratio = median(one for one, _ in turns), median(remote / one for one, remote in turns)
        yield Measurement(f"loaded_samples_per_s ({network}, local, {case})", local, "samples/s")
        peer = f"a local folder, without {1000 * DELAY_S:.0f} ms more a request"
        yield Measurement(f"train_s3_delayed_vs_local ({network}, {case})", ratio, "ratio", peer)


def rate(network: str, folder: str, step_s: float) -> float:
    loading = loader(network, folder)
    with closing(iter(loading)) as stream:  # type: ignore[type-var]
        for _ in range(WARM_UP_STEPS):
            next(stream)
        start, samples = time.perf_counter(), 0
        while time.perf_counter() < start + SECONDS:
            next(stream)
            samples += BATCH[network]
            time.sleep(step_s)
        return samples / (time.perf_counter() - start)


@contextmanager
def delaying_proxy() -> Iterator[FaultyS3]:
    """A proxy before the S3 server, which the environment names from then on."""
    with faulty_s3(os.environ["AWS_ENDPOINT_URL"], rate=0.0, delay_s=DELAY_S) as proxy:
        os.environ["AWS_ENDPOINT_URL"] = proxy.endpoint
        yield proxy
