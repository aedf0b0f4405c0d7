"""The application that ``serve run`` and ``serve deploy`` build: RecAugNet, a reenactor and the HTTP API on Ray Serve.

    make serve                                                      # on this machine: http://127.0.0.1:8000/
    serve run serve.app:build reconstruction.weights=… …             # settings as key=value
    serve deploy my-cluster/serve.yaml                               # on a cluster (cluster/README.md)

Every setting is documented in ``serve/settings.py``.
"""

from __future__ import annotations

import sys
from typing import Any

import yaml
from ray import serve

from jobs.ray_settings import connect
from jobs.signals import stop_quietly
from jr2net.errors import UserError
from jr2net.networks.checkpoint import read_description
from jr2net.settings import absolute_paths
from serve.deployments import Ingress, Reconstruction, Reenactment, get_serve_host
from serve.loopback import WORKER_HOOK
from serve.quotas import quotas_actor
from serve.settings import Deployment, Network, Settings, SettingsError, check_host, check_settings, load_settings

PATH_SETTINGS = ("face.model", "face.expression_file", "reconstruction.weights", "reenactment.weights")
"""Settings that are file paths or URIs."""

_STRING_FIELDS = ("weights", "model", "authentication", "detector")
"""Fields whose values on the command line are not parsed as YAML, which reads ``off`` as false."""

_RAY_FIELDS = (
    "min_replicas", "max_replicas", "target_ongoing_requests", "upscale_delay_s", "downscale_delay_s",
    "max_queued_requests", "graceful_shutdown_timeout_s", "resources",
)  # fmt: skip
"""Fields of a deployment that only Ray uses."""


def build(args: dict[str, Any]) -> serve.Application:
    """The application of ``import_path: serve.app:build``; ``args`` are the fields of ``Settings``, nested or dotted.

    The host is not part of ``args``: Ray Serve's own ``http_options`` set it, and with ``authentication: off`` it must
    be loopback. This is checked here if Ray Serve is running, as for ``serve deploy``, and by the ingress otherwise.
    """
    settings = check_settings(_nest(args))
    if "http" in settings.model_fields_set:
        raise SettingsError("args: http applies to `python -m serve` only; set Ray Serve's http_options instead")
    check_host(settings.authentication, "http_options.host", get_serve_host())
    return bind(settings)


def bind(settings: Settings) -> serve.Application:
    """The application with these settings. Weights are ``user_config``, so that changing them restarts no replica."""
    replica_settings = _replica_settings(settings)
    sections: list[tuple[Any, Network]] = [
        (Reconstruction, settings.reconstruction),
        (Reenactment, settings.reenactment),
    ]
    networks = [
        deployment.options(**_options(section), user_config={"weights": section.weights}).bind(replica_settings)
        for deployment, section in sections
    ]
    ingress: Any = Ingress
    options = _options(settings.ingress)
    several = settings.ingress.max_replicas > 1
    if several:
        options["deployment_actors"] = [quotas_actor(settings.ingress.resources)]
    return ingress.options(**options).bind(replica_settings, *networks, several)


def _options(section: Deployment) -> dict[str, Any]:
    """The settings of a deployment as Ray Serve's options."""
    threads = str(max(1, round(section.num_cpus)))
    options: dict[str, Any] = {
        "max_ongoing_requests": section.max_ongoing_requests,
        "graceful_shutdown_timeout_s": section.graceful_shutdown_timeout_s,
        "health_check_period_s": 5,
        "ray_actor_options": {
            "num_cpus": section.num_cpus,
            "num_gpus": section.num_gpus,
            "resources": section.resources,
            "runtime_env": {"env_vars": {"OMP_NUM_THREADS": threads}},
        },
        "autoscaling_config": {
            "min_replicas": section.min_replicas,
            "max_replicas": section.max_replicas,
            "target_ongoing_requests": section.target_ongoing_requests,
            "upscale_delay_s": section.upscale_delay_s,
            "downscale_delay_s": section.downscale_delay_s,
        },
    }
    # For the ingress this limits the proxy's queue; for a network, the queue of each ingress replica.
    options["max_queued_requests"] = section.max_queued_requests
    if not isinstance(section, Network):
        options["autoscaling_config"]["initial_replicas"] = max(1, section.min_replicas)
    return options


def _replica_settings(settings: Settings) -> dict[str, Any]:
    """All settings except the weights and those that only Ray uses. Ray restarts the replicas when they change."""
    tree = settings.model_dump(mode="json", exclude={"http"})
    for name in ("reconstruction", "reenactment", "ingress"):
        tree[name] = {field: value for field, value in tree[name].items() if field not in _RAY_FIELDS}
        if name != "ingress":
            tree[name]["weights"] = ""
    return tree


def _nest(args: dict[str, Any]) -> dict[str, Any]:
    """Dotted keys to a tree: ``serve run`` gives ``{"reconstruction.weights": "…"}``, all strings; a file, a tree."""
    tree: dict[str, Any] = {}
    for key, value in args.items():
        node = tree
        *parents, leaf = key.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise SettingsError(f"args: {key}: {parent!r} is a value, not a section")
        node[leaf] = yaml.safe_load(value) if isinstance(value, str) and leaf not in _STRING_FIELDS else value
    return tree


def main(arguments: list[str]) -> int:
    """Serves until it is interrupted, on this machine or on the cluster that ``RAY_ADDRESS`` names."""
    if not arguments:
        print("usage: python -m serve SETTINGS.yaml [key.sub=value …]", file=sys.stderr)
        return 1
    try:
        settings = absolute_paths(load_settings(arguments[0], arguments[1:]), PATH_SETTINGS, ".")
        for section in (settings.reconstruction, settings.reenactment):
            read_description(section.weights)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    connect(local_worker_hook=WORKER_HOOK)
    stop_quietly()  # again: Ray's handlers abort and leave listening processes behind
    serve.start(proxy_location="EveryNode", http_options=settings.http.model_dump())
    serve.run(bind(settings), blocking=True)
    return 0
