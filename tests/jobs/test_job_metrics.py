"""What the dashboard shows of training, synthesis and machines is exported by a running job; a long test."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path

import pytest
import ray
from watched_metrics import exported, series

from jobs.cascade import cascade
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
