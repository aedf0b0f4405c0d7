"""Long tests: a training that is killed and resumed ends with the same bytes."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jr2net.training.log import read_log
from jr2net.training.state import newest_step

NETWORKS = ("recnet", "dcnet", "flow3d", "etnet", "recaugnet")
STEPS = 400
SETTINGS = [f"{network}.optimizer.steps={STEPS}" for network in NETWORKS]
SETTINGS += ["flow3d.flow_widths=[4, 8]", "flow3d.refine_widths=[8, 8, 16]", "flow3d.refine_blocks=1"]
SETTINGS += ["scaling.checkpoint_every=50", "scaling.log_every=20", "scaling.pictures_every=0"]
SETTINGS += ["scaling.checkpoint_every_s=0.5"]  # so states are also saved at steps that differ from run to run
TIMEOUT_S = 600


def processes() -> Iterator[tuple[int, int, bytes]]:
    """Yields (pid, parent's pid, command line) of all processes."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            yield int(folder.name), parent, (folder / "cmdline").read_bytes()
        except OSError:
            continue


def workers() -> list[int]:
    """Pids of the training workers that descend from this process."""
    found = list(processes())
    ours, growing = {os.getpid()}, True
    while growing:
        children = {pid for pid, parent, _ in found if parent in ours} - ours
        ours, growing = ours | children, bool(children)
    return [pid for pid, _, command in found if pid in ours and command.startswith(b"ray::RayTrainWorker")]


def kill_worker(storage: str) -> None:
    for pid in workers()[:1]:
        os.kill(pid, signal.SIGKILL)


def kill_every_worker(storage: str) -> None:
    for pid in workers():
        os.kill(pid, signal.SIGKILL)


def kill_driver(storage: str) -> None:
    """Kills the driver process, found by the storage in its command line."""
    for pid, _, command in processes():
        arguments = command.split(b"\0")
        if f"storage={storage}".encode() in arguments and b"jobs/submit.py" not in arguments:
            os.kill(pid, signal.SIGKILL)


def kill_after(stage: str, step: int, kill: Callable[[str], None], storage: str, process) -> None:
    """Kills once a state beyond ``step`` is stored and both workers run."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        newest = newest_step(f"{storage}/{stage}")
        if newest is not None and newest > step and len(workers()) == 2:
            kill(storage)
            return
        time.sleep(0.05)
    raise AssertionError(f"{stage} saved no state after step {step}, or ended before it could be killed")


def killed_and_resumed(stage: str, storage: str, start, submit) -> str:
    """Trains ``stage`` while a worker, all workers and the driver are killed; resumes it and returns all logs."""
    settings = [f"storage={storage}", *SETTINGS, *(["reenactor=flow3d"] if stage == "flow3d" else [])]
    job = ("jobs/train.py", stage, *settings)
    process = start(*job)
    logs = []
    for step, kill in ((0, kill_worker), (100, kill_every_worker), (200, kill_driver)):
        kill_after(stage, step, kill, storage, process)
    log, _ = process.communicate(timeout=TIMEOUT_S)
    logs.append(log)
    assert process.returncode != 0, log
    assert not (Path(storage) / stage / "manifest.json").exists()
    status, log = submit(*job)
    logs.append(log)
    assert status == 0, log
    return "\n".join(logs)


@pytest.fixture(scope="module")
def undisturbed(submit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Storage of an uninterrupted cascade, with both reenactors trained."""
    storage = tmp_path_factory.mktemp("undisturbed") / "run"
    settings = (f"storage={storage}", *SETTINGS)
    for job in (
        ["jobs/cascade.py"],
        ["jobs/mattes.py", "reenactor=flow3d"],
        ["jobs/train.py", "flow3d", "reenactor=flow3d"],
    ):
        status, log = submit(*job, *settings)
        assert status == 0, log
    return storage


@pytest.mark.drill
@pytest.mark.parametrize("stage", NETWORKS)
def test_a_training_killed_three_times_ends_with_the_same_weights(
    stage: str, undisturbed: Path, start, submit, tmp_path: Path
) -> None:
    killed = tmp_path / "killed"
    shutil.copytree(undisturbed, killed)
    shutil.rmtree(killed / stage)
    logs = killed_and_resumed(stage, str(killed), start, submit)
    assert logs.count("a worker failed") >= 2
    assert logs.count("resumes from step") >= 2  # the driver's death may lose the last log lines
    assert [record["step"] for record in read_log(str(killed / stage))] == list(range(1, STEPS + 1))
    for name in ("model.safetensors", "model.json"):
        assert (killed / stage / name).read_bytes() == (undisturbed / stage / name).read_bytes(), name


@pytest.mark.drill
def test_a_finished_training_is_skipped(undisturbed: Path, submit) -> None:
    before = {path: path.stat().st_mtime_ns for path in (undisturbed / "recnet").rglob("*")}
    status, log = submit("jobs/train.py", "recnet", f"storage={undisturbed}", *SETTINGS)
    assert status == 0, log
    assert "already done" in log
    assert before == {path: path.stat().st_mtime_ns for path in (undisturbed / "recnet").rglob("*")}
