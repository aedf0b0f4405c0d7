"""Elastic training: nodes leave and join while a training runs, and every step is logged once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jr2net.training.log import read_log
from jr2net.training.state import newest_step

ROOT = Path(__file__).parents[2]
STEPS = 1500
SETTINGS = [f"recnet.optimizer.steps={STEPS}", "scaling.checkpoint_every=25", "scaling.log_every=25"]
SETTINGS += ["scaling.pictures_every=0", "scaling.elastic=[1, 2]", "scaling.elastic_check_s=1"]
TIMEOUT_S = 600


def wait_for_message(process: subprocess.Popen, log: Path, what: str, folder: str) -> int:
    """Waits until the log has ``what``; returns the newest saved step."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if what in log.read_text():
            return newest_step(folder) or 0
        time.sleep(0.1)
    raise AssertionError(f"not in the log: {what!r}:\n{log.read_text()}")


def wait_for_state(process: subprocess.Popen, log: Path, folder: str, beyond: int) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if (newest_step(folder) or 0) > beyond:
            return
        time.sleep(0.1)
    raise AssertionError(f"no state after step {beyond}:\n{log.read_text()}")


@pytest.mark.drill
def test_training_continues_when_nodes_leave_and_join(tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    from jobs.ray_settings import LOCAL_SETTINGS

    with pytest.MonkeyPatch.context() as patch:
        for name, value in (LOCAL_SETTINGS | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}).items():
            patch.setenv(name, value)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            second = cluster.add_node(num_cpus=1)
            cluster.wait_for_nodes()
            patch.setenv("RAY_ADDRESS", cluster.address)
            storage, log = tmp_path / "run", tmp_path / "log.txt"
            folder = str(storage / "recnet")

            def job(*arguments: str) -> subprocess.Popen:
                command = [sys.executable, *arguments, "--config", "configs/smoke.yaml", f"storage={storage}"]
                with log.open("a") as output:
                    return subprocess.Popen(
                        [*command, *SETTINGS], cwd=ROOT, env=dict(os.environ), stdout=output, stderr=subprocess.STDOUT
                    )

            assert job("jobs/prepare.py").wait(TIMEOUT_S) == 0, log.read_text()
            process = job("jobs/train.py", "recnet")
            wait_for_state(process, log, folder, 0)
            cluster.remove_node(second, allow_graceful=False)
            step = wait_for_message(process, log, "on 1 worker", folder)
            wait_for_state(process, log, folder, step)
            cluster.add_node(num_cpus=1)
            wait_for_message(process, log, "on 2 workers", folder)
            assert process.wait(TIMEOUT_S) == 0, log.read_text()
        finally:
            cluster.shutdown()

    stopped = re.findall(r"stops at step (\d+), with its state saved", log.read_text())
    assert stopped and re.findall(r"resumes from step (\d+) of \d+ on 2 workers", log.read_text()) == stopped
    assert [record["step"] for record in read_log(folder)] == list(range(1, STEPS + 1))
    assert (storage / "recnet" / "model.safetensors").exists()
