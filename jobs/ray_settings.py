"""How Ray is joined, and the environment variables under which it runs: of every job, and of a cluster of our own."""

from __future__ import annotations

import logging
import os

import ray
from ray._private import ray_constants

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

ALONE_SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # no other machine may join: Ray then listens on 127.0.0.1 alone
}
"""Of a cluster of this machine alone. The name is Ray's; on Linux too it is the only way: Ray takes a 127.0.0.1 of
``--node-ip-address`` for the machine's address. What PyTorch opens while workers train listens everywhere even so."""

SERVE_SETTINGS = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",  # HAProxy speaks to the ingress' replicas directly, without Ray's own proxy
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",  # replicas speak gRPC to each other
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(1 << 29),  # a group of pictures is larger than the usual 4 MiB
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",  # its 0.1 s take 5 % of a core, and 1 % more of Ray's own servers
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "1000",  # ten times a second nobody reads them
}
"""Of every process that serves, on Linux, set before Ray Serve is imported: half of a request's overhead is gone."""


def connect(local_hook: str | None = None) -> None:
    """Joins the cluster that ``RAY_ADDRESS`` names, as it does in a submitted job, or starts one for this process.

    ``local_hook`` names the function that every worker process of one that is started here runs first.
    """
    address = os.environ.get("RAY_ADDRESS")
    for name, value in (TRAIN_SETTINGS if address else TRAIN_SETTINGS | LOCAL_SETTINGS | ALONE_SETTINGS).items():
        os.environ.setdefault(name, value)
    if ray.is_initialized():
        return
    if address:
        ray.init(address, logging_level=logging.WARNING)
    else:
        ray_constants.ENABLE_RAY_CLUSTER = False  # what ALONE_SETTINGS say: Ray read them when it was imported
        hook = {"worker_process_setup_hook": local_hook} if local_hook else None
        ray.init("local", runtime_env=hook, logging_level=logging.WARNING)
