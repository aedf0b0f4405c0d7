"""What the dashboard shows of serving is exported by a running application; a long test on a cluster."""

from __future__ import annotations

import os
import signal

import httpx
import pytest
from small_networks import BOX, make_photo
from test_cluster import TIMEOUT_S, address, cluster, deploy, replicas, versions, wait_until
from watched_metrics import exported, series

pytestmark = pytest.mark.drill

__all__ = ["address", "cluster", "versions"]  # fixtures


def test_serving_exports_what_is_watched(address, versions):
    watched = {name for name in series() if name.startswith(("ray_serve_", "ray_jr2net_stage", "ray_jr2net_batch"))}
    assert len(watched) > 8
    deploy(versions["a"])
    with httpx.Client(base_url=address, timeout=TIMEOUT_S) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")
        for content in (make_photo(), b"no photo"):
            client.post("/v1/reconstruct", content=content, params={"box": BOX})
    os.kill(replicas("Reconstruction")[0].pid, signal.SIGKILL)  # a failed health check is exported once there is one
    wait_until(lambda: watched <= exported(), f"{sorted(watched)}")
