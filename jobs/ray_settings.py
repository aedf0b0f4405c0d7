"""How Ray is joined, and the environment variables under which it runs: of every job, and of a cluster of our own."""

from __future__ import annotations

import logging
import os

import ray

TRAIN_SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # the controller's pace: its 2 s make every start and report slow
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # else every line of a worker comes twice
}
"""Of every job."""

LOCAL_SETTINGS = {
    "RAY_AUTH_MODE": "disabled",  # else a local cluster may ask for a token that its jobs lack
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # nobody takes this machine away with notice
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # its new behaviour, without its warning
    "MALLOC_ARENA_MAX": "1",  # what one thread frees the next may have: see jr2net/process.py; the image sets it too
    "RAY_worker_niceness": "0",  # as urgent as what else runs here; Ray would have 15
}
"""Of a cluster of our own."""

SERVE_SETTINGS = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",  # HAProxy speaks to the ingress' replicas directly, without Ray's own proxy
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",  # replicas speak gRPC to each other
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(1 << 29),  # a group of pictures is larger than the usual 4 MiB
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",  # its 0.1 s take 5 % of a core, and 1 % more of Ray's own servers
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "1000",  # ten times a second nobody reads them
}
"""Of every process that serves, on Linux, set before Ray Serve is imported: half of a request's overhead is gone."""


def connect() -> None:
    """Joins the cluster that ``RAY_ADDRESS`` names, as it does in a submitted job, or starts one for this process."""
    address = os.environ.get("RAY_ADDRESS")
    for name, value in (TRAIN_SETTINGS if address else TRAIN_SETTINGS | LOCAL_SETTINGS).items():
        os.environ.setdefault(name, value)
    if not ray.is_initialized():
        ray.init(address=address or "local", logging_level=logging.WARNING)
