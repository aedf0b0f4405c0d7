"""Machines that go and come while a training runs: it goes on, and every step has the samples it would have had."""

from __future__ import annotations

import os
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
PATIENCE_S = 600


def wait_for(process: subprocess.Popen, said: Path, what: str, folder: str) -> int:
    """Until the training has said ``what``; returns how far it is."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        if what in said.read_text():
            return newest_step(folder) or 0
        time.sleep(0.1)
    raise AssertionError(f"never said {what!r}:\n{said.read_text()}")


def wait_for_state(process: subprocess.Popen, said: Path, folder: str, beyond: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        if (newest_step(folder) or 0) > beyond:
            return
        time.sleep(0.1)
    raise AssertionError(f"no state after step {beyond}:\n{said.read_text()}")


@pytest.mark.drill
def test_training_goes_on_when_nodes_leave_and_come(tmp_path: Path) -> None:
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
            storage, said = tmp_path / "run", tmp_path / "said"
            folder = str(storage / "recnet")

            def job(*arguments: str) -> subprocess.Popen:
                command = [sys.executable, *arguments, "--config", "configs/smoke.yaml", f"storage={storage}"]
                with said.open("a") as output:
                    return subprocess.Popen(
                        [*command, *SETTINGS], cwd=ROOT, env=dict(os.environ), stdout=output, stderr=subprocess.STDOUT
                    )

            assert job("jobs/prepare.py").wait(PATIENCE_S) == 0, said.read_text()
            process = job("jobs/train.py", "recnet")
            wait_for_state(process, said, folder, 0)
            cluster.remove_node(second, allow_graceful=False)
            alone = wait_for(process, said, "on 1 worker", folder)
            wait_for_state(process, said, folder, alone)
            cluster.add_node(num_cpus=1)
            wait_for(process, said, "on 2 workers", folder)
            assert process.wait(PATIENCE_S) == 0, said.read_text()
        finally:
            cluster.shutdown()

    assert [record["step"] for record in read_log(folder)] == list(range(1, STEPS + 1))
    assert (storage / "recnet" / "model.safetensors").exists()
