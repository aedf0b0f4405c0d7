"""What the dashboard shows of training, synthesis and machines is exported by a running job; a long test."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import ray
from watched_metrics import exported, series

from jobs.cascade import cascade
from jobs.progress import Watched, wants_workers
from jobs.ray_settings import connect
from jr2net.config import load
from jr2net.run.cascade import Run

pytestmark = pytest.mark.drill

CONFIGS = Path(__file__).parents[2] / "configs"
RARE = {
    "ray_jr2net_synthesis_failed_shards_total",  # exported from the first one on
    *("ray_node_gpus_utilization", "ray_node_gram_used", "ray_node_gram_available"),  # of machines with GPUs
}


def test_a_cascade_exports_what_is_watched(tmp_path, monkeypatch):
    """With gates that reject pairs. The agents are asked for as long as the cascade runs."""
    watched = {name for name in series() if not name.startswith(("ray_serve_", "ray_jr2net_stage", "ray_jr2net_batch"))}
    overrides = [
        f"storage={tmp_path}",
        "scaling.workers=1",
        "recnet.optimizer.steps=200",
        "synthesis.gates.covisible=0.9",
    ]
    connect()
    seen: set[str] = set()
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(2):
            seen.update(exported())

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        cascade(Run(load(CONFIGS / "smoke.yaml", overrides)), argparse.Namespace(check="sample"))
    finally:
        ended.set()
        asking.join()
        ray.shutdown()
    assert not watched - seen - RARE


def test_a_training_that_hangs_is_seen_until_it_ends():
    """Ray's agents forget a gauge that was not set for 20 s. This training takes one step and then none."""
    connect()
    try:
        worker = ray.remote(num_cpus=0)(Watched).remote("recnet", step=0, planned=100, workers=1)
        worker.add_step.remote(1, {"forward": 0.1})
        worker.set_losses.remote({"loss/landmark": 0.5})
        gauges = {f"ray_jr2net_training_{name}" for name in ("step", "planned_steps", "workers", "loss", "state_time")}
        with wants_workers("recnet", 1):
            wait_until(lambda: gauges <= exported(), "the first report")
            time.sleep(60)
            assert {*gauges, "ray_jr2net_training_wanted_workers"} <= exported()
            ray.get(worker.close.remote())
            wait_until(lambda: not gauges & exported(), "the end")
            assert "ray_jr2net_training_wanted_workers" in exported()
    finally:
        ray.shutdown()


def wait_until(found: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 180
    while not found():
        assert time.monotonic() < deadline, what
        time.sleep(1)
