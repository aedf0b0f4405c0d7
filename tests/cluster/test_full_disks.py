"""Disks and object stores that are full: what is there is kept, the error says why, and the job goes on afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from nodes import START_S, Machines, machines, wait_until, why_not

from jr2net.data.pairs import read_description
from jr2net.storage import iter_files
from jr2net.synthesis import verify
from jr2net.synthesis.shards import MANIFESTS
from jr2net.training.state import newest_step
from tests.jobs.tiny_run import SMOKE, make_upstream

pytestmark = [pytest.mark.drill, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

SHARDS = 16
SIZE = [f"synthesis.pairs={50 * SHARDS}", "synthesis.pairs_per_shard=50", "synthesis.batch_size=16"]
SETTINGS = [*SIZE, "recnet.backbone.layers=10", "scaling.synthesis_actors=2", "scaling.pictures_every=0"]
TRAINING = ["etnet.optimizer.steps=100", "scaling.checkpoint_every=5", "scaling.keep_states=2"]
DISK_MB = 400
TIMEOUT_S = 900.0
NOT_IN_DATASET = ("manifest.json", "throughput.json")
"""Files of the run that are not part of the dataset: they depend on time."""


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A disk of its own, which the machines share."""
    folder = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def made(disk: Path) -> Iterator[Machines]:
    with machines() as made:
        made.start_head()
        made.add_node("a", cpus=2, resources={"hoard": 1}, temporary_mb=128)
        yield made


@pytest.fixture(scope="module")
def upstream(disk: Path) -> Path:
    """Storage of a run with all stages before synthesis."""
    make_upstream(str(disk / "upstream"), *SIZE)
    return disk / "upstream"


@pytest.fixture(scope="module")
def undisturbed(made: Machines, upstream: Path, disk: Path) -> Path:
    """A run with a dataset, and a network that was trained on it, to which nothing happened."""
    folder = copied(upstream, disk / "undisturbed")
    for job in (["jobs/synthesize.py"], ["jobs/train.py", "etnet", *TRAINING]):
        process, log = start(made, folder, *job)
        assert process.wait(TIMEOUT_S) == 0, log.read_text()
    return folder


def copied(upstream: Path, folder: Path) -> Path:
    shutil.copytree(upstream, folder)
    return folder


def start(made: Machines, folder: Path, *job: str) -> tuple[subprocess.Popen[bytes], Path]:
    """Starts a job on the head; returns it and its log, which does not lie on the disk that becomes full."""
    log = made.folder / f"{folder.name}.log"
    command = [sys.executable, *job, "--config", SMOKE, f"storage={folder}", *SETTINGS]
    with log.open("ab") as output:
        return made.head.start(*command, output=output, RAY_ADDRESS=made.gcs), log


def shards(folder: Path) -> int:
    return sum(1 for _ in iter_files(str(folder / "synthesis" / MANIFESTS)))


def wait_for_shards(folder: Path, count: int, process: subprocess.Popen[bytes], log: Path) -> float:
    """Waits until ``count`` shards are finished; returns the seconds."""
    seconds = wait_until(
        lambda: process.poll() is not None or shards(folder) >= count, f"{count} shards of {folder}", TIMEOUT_S
    )
    assert process.poll() is None, log.read_text()
    return seconds


def assert_same_dataset(folder: Path, undisturbed: Path) -> None:
    """Every shard is there and verifies, and every file is the same to the byte."""
    found, wanted = dataset(folder), dataset(undisturbed)
    assert sorted(found) == sorted(wanted)
    assert [name for name in wanted if found[name] != wanted[name]] == []
    uri = str(folder / "synthesis")
    description = read_description(uri)
    assert description["shards"] == SHARDS
    listing = verify.Listing(uri, description)
    problems = [*verify.check_objects(uri, description, listing), *verify.check_counts(description, listing)]
    assert problems == []
    for number in range(SHARDS):
        assert verify.check_shard(uri, listing[number], description) == []


def dataset(folder: Path) -> dict[str, bytes]:
    root = folder / "synthesis"
    found = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name not in NOT_IN_DATASET}


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Fills what is free of a disk."""
    filling = disk / "filling"
    with filling.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(1 << 16))
    yield
    filling.unlink()


def test_the_disk_of_the_dataset_is_full(made: Machines, upstream: Path, undisturbed: Path, disk: Path) -> None:
    folder = copied(upstream, disk / "full")
    process, log = start(made, folder, "jobs/synthesize.py")
    wait_for_shards(folder, SHARDS // 4, process, log)
    with full(disk):
        assert process.wait(TIMEOUT_S) == 1, log.read_text()
        kept = shards(folder)
        error = log.read_text().strip().splitlines()[-1]
        assert error.startswith("error: ") and "No space left" in error and "start the job again" in error
    print(f"\nthe disk full after {kept} shards, which are kept: {error}")
    process, log = start(made, folder, "jobs/synthesize.py")
    assert process.wait(TIMEOUT_S) == 0, log.read_text()
    assert_same_dataset(folder, undisturbed)


def test_the_disk_of_a_training_is_full(made: Machines, undisturbed: Path, disk: Path) -> None:
    folder = disk / "training"
    shutil.copytree(undisturbed, folder, ignore=shutil.ignore_patterns("etnet"))
    job = ["jobs/train.py", "etnet", *TRAINING]
    process, log = start(made, folder, *job)
    wait_until(lambda: process.poll() is not None or (newest_step(str(folder / "etnet")) or 0) >= 15, "", TIMEOUT_S)
    with full(disk):
        assert process.wait(TIMEOUT_S) == 1, log.read_text()
        step = newest_step(str(folder / "etnet"))
        error = log.read_text().strip().splitlines()[-1]
        assert error.startswith("error: ") and "free space" in error, log.read_text()
    print(f"\nthe disk of a training full, the state of step {step} is kept: {error}")
    process, log = start(made, folder, *job)
    assert process.wait(TIMEOUT_S) == 0, log.read_text()
    assert "resumes from step" in log.read_text()
    for name in ("model.safetensors", "model.json"):
        assert (folder / "etnet" / name).read_bytes() == (undisturbed / "etnet" / name).read_bytes(), name


HOARD = """
import sys
import time

import numpy as np
import ray

ray.init(logging_level="ERROR", log_to_driver=False)


@ray.remote(num_cpus=0, resources={"hoard": 1})
class Hoard:
    def fill(self, wanted):
        self.kept, error = [], None
        try:
            while len(self.kept) < wanted:
                self.kept.append(ray.put(np.full(8 << 20, len(self.kept), np.uint8)))
        except ray.exceptions.RayError as caught:
            error = caught
        return f"{8 * len(self.kept)} MiB, then {type(error).__name__ if error else 'enough'}"


hoard = Hoard.remote()
print(ray.get(hoard.fill.remote(int(sys.argv[1]))), flush=True)
time.sleep(3600)
"""
STORE_FULL, DISK_FULL_TOO = 18, 10_000  # objects of 8 MiB: the store takes 15, the machine's temporary disk as many


@contextmanager
def hoard(made: Machines, objects: int) -> Iterator[str]:
    """Another program, whose objects fill the store of the only machine that works; yields how many it could keep."""
    log = made.folder / f"hoard-{objects}.log"
    with log.open("wb") as output:
        process = made.head.start(sys.executable, "-c", HOARD, str(objects), output=output, RAY_ADDRESS=made.gcs)
    try:
        wait_until(lambda: "then" in log.read_text() or process.poll() is not None, "a full store", TIMEOUT_S)
        assert process.poll() is None, log.read_text()
        yield next(line for line in log.read_text().splitlines() if "then" in line)
    finally:
        for number in made.head.processes("class Hoard"):
            os.kill(number, signal.SIGKILL)
        process.wait(START_S)


def test_the_object_store_is_full(made: Machines, upstream: Path, undisturbed: Path, disk: Path) -> None:
    folder = copied(upstream, disk / "store")
    with hoard(made, STORE_FULL) as kept:
        began = time.monotonic()
        process, log = start(made, folder, "jobs/synthesize.py")
        assert process.wait(TIMEOUT_S) == 0, log.read_text()
        seconds = time.monotonic() - began
        used = made.head.run(_RAY, "memory", "--stats-only", f"--address={made.gcs}")
        assert "Spilled" in used, used  # the store was still full
    print(f"\nobjects of another program fill the store ({kept}): a dataset in {seconds:.0f} s\n{used}")
    assert_same_dataset(folder, undisturbed)


def test_the_temporary_disk_is_full_too(made: Machines, upstream: Path, undisturbed: Path, disk: Path) -> None:
    """Ray can spill no object any more: the job says so and waits until there is room again."""
    folder = copied(upstream, disk / "temporary")
    with hoard(made, DISK_FULL_TOO) as kept:
        process, log = start(made, folder, "jobs/synthesize.py")
        seconds = wait_until(
            lambda: process.poll() is not None or "No space left on device" in log.read_text(), "a word", TIMEOUT_S
        )
        assert process.poll() is None, log.read_text()
    began = time.monotonic()
    assert process.wait(TIMEOUT_S) == 0, log.read_text()
    print(
        f"\nthey fill the temporary disk too ({kept}): said after {seconds:.0f} s; a dataset "
        f"{time.monotonic() - began:.0f} s after they had gone"
    )
    assert_same_dataset(folder, undisturbed)


_RAY = str(Path(sys.executable).with_name("ray"))
