"""A long test: a matrix that is killed at several moments ends with the same networks and the same table."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SETTINGS = [
    "matrix.variants={full: {}, Ours-L: {dcnet.conditions: no_light}}",
    *("recnet.optimizer.steps=60", "dcnet.optimizer.steps=60", "scaling.checkpoint_every=10"),
    *("scaling.workers=1", "scaling.synthesis_actors=1", "scaling.pictures_every=0"),
]
MOMENTS = (
    "full/seed-0/recnet/state",
    "full/seed-0/dcnet/state",
    "full/seed-0/synthesis/pairs",
    "Ours-L/seed-0/dcnet/state",
)
"""Folders of the matrix: a process is killed once something lies in each."""
TIMEOUT_S = 1800


def commands() -> Iterator[tuple[int, bytes]]:
    """Yields (pid, command line) of all processes."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            yield int(folder.name), (folder / "cmdline").read_bytes()
        except OSError:
            continue


def kill_driver(storage: Path) -> None:
    """Kills the job itself, found by the storage in its command line."""
    for pid, command in commands():
        arguments = command.split(b"\0")
        if f"storage={storage}".encode() in arguments and b"jobs/submit.py" not in arguments:
            os.kill(pid, signal.SIGKILL)


def networks(storage: Path) -> dict[str, bytes]:
    return {str(path.relative_to(storage)): path.read_bytes() for path in storage.rglob("model.safetensors")}


def table(storage: Path) -> str:
    (found,) = (storage / "tables").glob("*.md")
    return found.read_text()


@pytest.mark.drill
def test_a_matrix_killed_four_times_ends_with_the_same_networks_and_table(
    start: Callable, submit: Callable, tmp_path: Path
) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    status, log = submit("jobs/ablate.py", f"storage={undisturbed}", *SETTINGS)
    assert status == 0, log
    for moment in MOMENTS:
        process = start("jobs/ablate.py", f"storage={killed}", *SETTINGS)
        deadline = time.monotonic() + TIMEOUT_S
        while not any((killed / moment).glob("*")):
            assert process.poll() is None and time.monotonic() < deadline, f"nothing in {moment}"
            time.sleep(0.05)
        kill_driver(killed)
        log, _ = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode != 0, log
    assert not list((killed / "Ours-L" / "seed-0").glob("dcnet/manifest.json"))
    status, log = submit("jobs/ablate.py", f"storage={killed}", *SETTINGS)
    assert status == 0, log
    assert "resumes from step" in log
    assert sorted(networks(killed)) == sorted(networks(undisturbed)) and len(networks(killed)) == 7
    assert networks(killed) == networks(undisturbed)
    assert table(killed) == table(undisturbed)
