"""Connecting to Ray, and Ray's environment variables: for every job, for local clusters, and for serving."""

from __future__ import annotations

import logging
import os

import ray
from ray._private import ray_constants

TRAIN_SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # the controller's loop; the default, 2 s, is slow
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # the default prints every line of a worker twice
}
"""For every job."""

LOCAL_SETTINGS = {
    "RAY_AUTH_MODE": "disabled",  # otherwise a local cluster may require a token that its jobs do not have
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # a local machine gets no preemption notices
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # opts in to Ray's new default, which silences a warning
    "MALLOC_ARENA_MAX": "1",  # threads share freed memory (jr2net/process.py); the image sets it too
    "RAY_worker_niceness": "0",  # normal priority; Ray's default is 15
}
"""For a cluster on this machine."""

LOOPBACK_SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # single-node: Ray then listens on 127.0.0.1 only
}
"""For a cluster that no other machine can join. In spite of its name, the variable works on Linux too, and there is no
other way: ``--node-ip-address=127.0.0.1`` is replaced by the machine's address. The ports that PyTorch opens during
distributed training still listen on all interfaces."""

SERVE_SETTINGS = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",  # HAProxy connects to the ingress replicas directly, without Ray's proxy
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",  # gRPC between replicas
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(1 << 29),  # a batch of images exceeds the default, 4 MiB
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",  # the default of 0.1 s costs 5 % of a core, and 1 % in Ray's servers
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "1000",  # the default is 100 ms
}
"""For every process that serves, on Linux; set before Ray Serve is imported. They halve the overhead of a request."""


def connect(local_worker_hook: str | None = None) -> None:
    """Connects to the cluster that ``RAY_ADDRESS`` names, as in a submitted job, or starts one for this process.

    local_worker_hook: name of a function that every worker process of a cluster started here calls first.
    """
    address = os.environ.get("RAY_ADDRESS")
    for name, value in (TRAIN_SETTINGS if address else TRAIN_SETTINGS | LOCAL_SETTINGS | LOOPBACK_SETTINGS).items():
        os.environ.setdefault(name, value)
    if ray.is_initialized():
        return
    if address:
        ray.init(address, logging_level=logging.WARNING)
    else:
        ray_constants.ENABLE_RAY_CLUSTER = False  # as LOOPBACK_SETTINGS, which Ray reads only when it is imported
        runtime_env = {"worker_process_setup_hook": local_worker_hook} if local_worker_hook else None
        ray.init("local", runtime_env=runtime_env, logging_level=logging.WARNING)
