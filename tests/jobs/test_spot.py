"""Machines that leave: a state of that very step is saved, no step is lost, and the weights are those without them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_resume import workers

from jr2net.training.log import read_log
from jr2net.training.state import newest_step, saved_steps

pytestmark = pytest.mark.drill

ROOT = Path(__file__).parents[2]
STEPS = 400
SETTINGS = [f"recnet.optimizer.steps={STEPS}", "scaling.log_every=20", "scaling.pictures_every=0"]
ON_NOTICE_ONLY = ["scaling.checkpoint_every=100000", "scaling.checkpoint_every_s=0", "scaling.max_failures=0"]
TIMEOUT_S = 1800
DEADLINE_S = 120  # of AWS

Job = Callable[..., subprocess.Popen]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head and two more nodes, each with one CPU, which get notices."""
    from ray.cluster_utils import Cluster

    from jobs.ray_settings import LOCAL_SETTINGS

    settings = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "1", "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.5"}
    settings |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (LOCAL_SETTINGS | settings).items():
            patch.setenv(name, value)
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            for _ in range(2):
                nodes.add_node(num_cpus=1)
            nodes.wait_for_nodes()
            patch.setenv("RAY_ADDRESS", nodes.address)
            yield nodes
        finally:
            nodes.shutdown()


def job(log: Path, *arguments: str) -> subprocess.Popen:
    with log.open("a") as output:
        command = [sys.executable, *arguments[:-1], "--config", "configs/smoke.yaml", f"storage={arguments[-1]}"]
        return subprocess.Popen(
            [*command, *SETTINGS], cwd=ROOT, env=dict(os.environ), stdout=output, stderr=subprocess.STDOUT
        )


@pytest.fixture(scope="module")
def undisturbed(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    log = folder / "log.txt"
    for arguments in (["jobs/prepare.py"], ["jobs/train.py", "recnet", *ON_NOTICE_ONLY]):
        assert job(log, *arguments, str(folder / "run")).wait(TIMEOUT_S) == 0, log.read_text()
    return folder / "run"


def begin(undisturbed: Path, folder: Path, *settings: str) -> tuple[subprocess.Popen, Path]:
    """Starts the same training in another folder, and waits until it runs."""
    shutil.copytree(undisturbed / "prepare", folder / "run" / "prepare")
    log = folder / "log.txt"
    process = job(log, "jobs/train.py", "recnet", *settings, str(folder / "run"))
    wait_for(process, log, lambda: bool(read_log(str(folder / "run" / "recnet"))))
    return process, log


def wait_for(process: subprocess.Popen, log: Path, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def stopped_and_resumed(log: Path) -> tuple[list[int], list[int]]:
    """The steps at which the training stopped, and those from which it resumed."""
    text = log.read_text()
    return tuple(  # type: ignore[return-value]
        [int(step) for step in re.findall(pattern, text)]
        for pattern in (r"stops at step (\d+), with its state saved", r"resumes from step (\d+) of")
    )


def assert_same_weights(undisturbed: Path, folder: Path) -> None:
    stage = folder / "run" / "recnet"
    assert [record["step"] for record in read_log(str(stage))] == list(range(1, STEPS + 1))
    for name in ("model.safetensors", "model.json"):
        assert (stage / name).read_bytes() == (undisturbed / "recnet" / name).read_bytes(), name


def test_a_sigterm_leaves_a_state_of_that_step(cluster: Any, undisturbed: Path, tmp_path: Path) -> None:
    process, log = begin(undisturbed, tmp_path, *ON_NOTICE_ONLY)
    os.kill(workers()[-1], signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 0, log.read_text()
    stopped, resumed = stopped_and_resumed(log)
    assert len(stopped) == 1 and stopped == resumed, log.read_text()
    assert_same_weights(undisturbed, tmp_path)


def test_a_drained_node_leaves_a_state_of_that_step(cluster: Any, undisturbed: Path, tmp_path: Path) -> None:
    process, log = begin(undisturbed, tmp_path, *ON_NOTICE_ONLY)
    stage = str(tmp_path / "run" / "recnet")
    assert newest_step(stage) is None
    drain(cluster)
    wait_for(process, log, lambda: newest_step(stage) is not None)
    (step,) = saved_steps(f"{stage}/state")
    assert process.wait(TIMEOUT_S) == 0, log.read_text()
    stopped, resumed = stopped_and_resumed(log)
    assert stopped == resumed == [step], log.read_text()
    assert_same_weights(undisturbed, tmp_path)


def drain(cluster: Any) -> None:
    """Announces to Ray that the machine of one of the workers leaves, as a spot machine's notice would."""
    by_raylet = {}
    for node in cluster.worker_nodes:
        by_raylet[node.all_processes["raylet"][0].process.pid] = node.node_id
    parents = {int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in workers()}
    leaving = next(node for raylet, node in by_raylet.items() if raylet in parents)
    command = [str(Path(sys.executable).with_name("ray")), "drain-node", "--address", cluster.address]
    command += ["--node-id", leaving, "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "leaves"]
    done = subprocess.run(
        [*command, "--deadline-remaining-seconds", str(DEADLINE_S)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
