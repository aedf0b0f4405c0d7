"""The application that ``serve run`` and ``serve deploy`` build: RecAugNet, DCNet and the HTTP API on Ray Serve.

    make serve                                                      # on this machine: http://127.0.0.1:8000/
    serve run serve.app:build reconstruction.weights=… …             # settings as key=value
    serve deploy configs/serve.yaml                                  # on a cluster

Every setting is documented in ``serve/settings.py``.
"""

from __future__ import annotations

import signal
import sys
from typing import Any

import yaml
from ray import serve

from jobs.ray_settings import connect
from jr2net.errors import UserError
from jr2net.networks.checkpoint import read_description
from jr2net.settings import absolute_paths
from serve.deployments import Ingress, Reconstruction, Reenactment, host_of_serve
from serve.loopback import HOOK
from serve.settings import Deployment, Network, Settings, SettingsError, check_host, check_settings, load_settings

PATHS = ("face.model", "face.expression_file", "reconstruction.weights", "reenactment.weights")
"""Settings that are paths."""


def build(args: dict[str, Any]) -> serve.Application:
    """What ``import_path: serve.app:build`` names; ``args`` are the fields of ``Settings``, nested or dotted.

    Where Ray Serve listens is its own option, ``http_options``, and loopback it must be with ``authentication: off``.
    Where Ray Serve runs already, as for ``serve deploy``, another host is refused here; else the ingress refuses it.
    """
    settings = check_settings(_nested(args))
    if "http" in settings.model_fields_set:
        raise SettingsError("args: http: is of `python -m serve`; here Ray Serve's http_options say where it listens")
    check_host(settings.authentication, "http_options.host", host_of_serve())
    return bind(settings)


def bind(settings: Settings) -> serve.Application:
    """The application of these settings. Weights are ``user_config``: a new version of them is no new deployment."""
    constant = _what_replicas_know(settings)
    placed: list[tuple[Any, Network]] = [
        (Reconstruction, settings.reconstruction),
        (Reenactment, settings.reenactment),
    ]
    networks = [
        deployment.options(**_options(own), user_config={"weights": own.weights}).bind(constant)
        for deployment, own in placed
    ]
    ingress: Any = Ingress
    return ingress.options(**_options(settings.ingress)).bind(constant, *networks)


def _options(own: Deployment) -> dict[str, Any]:
    """Settings as Ray Serve names them."""
    threads = str(max(1, round(own.num_cpus)))
    options: dict[str, Any] = {
        "max_ongoing_requests": own.max_ongoing_requests,
        "graceful_shutdown_timeout_s": own.graceful_shutdown_timeout_s,
        "health_check_period_s": 5,
        "ray_actor_options": {
            "num_cpus": own.num_cpus,
            "num_gpus": own.num_gpus,
            "resources": own.resources,
            "runtime_env": {"env_vars": {"OMP_NUM_THREADS": threads}},
        },
        "autoscaling_config": {
            "min_replicas": own.min_replicas,
            "max_replicas": own.max_replicas,
            "target_ongoing_requests": own.target_ongoing_requests,
            "upscale_delay_s": own.upscale_delay_s,
            "downscale_delay_s": own.downscale_delay_s,
        },
    }
    # Of the ingress the proxy's queue counts, and of the networks the ingress' own.
    options["max_queued_requests"] = own.max_queued_requests
    if not isinstance(own, Network):
        options["autoscaling_config"]["initial_replicas"] = max(1, own.min_replicas)
    return options


def _what_replicas_know(settings: Settings) -> dict[str, Any]:
    """All settings but the weights and those that Ray alone uses: what changes these starts replicas anew."""
    tree = settings.model_dump(mode="json", exclude={"http"})
    for name in ("reconstruction", "reenactment", "ingress"):
        tree[name] = {field: value for field, value in tree[name].items() if field not in _PLACEMENT}
        if name != "ingress":
            tree[name]["weights"] = ""
    return tree


_PLACEMENT = (
    "min_replicas", "max_replicas", "target_ongoing_requests", "upscale_delay_s", "downscale_delay_s",
    "max_queued_requests", "graceful_shutdown_timeout_s", "resources",
)  # fmt: skip


def _nested(args: dict[str, Any]) -> dict[str, Any]:
    """``serve run`` gives ``{"reconstruction.weights": "…"}``, texts all of them; a deploy file gives a tree."""
    tree: dict[str, Any] = {}
    for key, value in args.items():
        node = tree
        *parents, leaf = key.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise SettingsError(f"args: {key}: {parent!r} is a value, not a section")
        node[leaf] = yaml.safe_load(value) if isinstance(value, str) and leaf not in _WORDS else value
    return tree


_WORDS = ("weights", "model", "authentication", "detector")
"""Fields whose texts stay texts: YAML reads ``off`` as false."""


def main(arguments: list[str]) -> int:
    """Serves on this machine, or on the cluster that ``RAY_ADDRESS`` names, until it is interrupted."""
    if not arguments:
        print("usage: python -m serve SETTINGS.yaml [key.sub=value …]", file=sys.stderr)
        return 1
    try:
        settings = absolute_paths(load_settings(arguments[0], arguments[1:]), PATHS, ".")
        for own in (settings.reconstruction, settings.reenactment):
            read_description(own.weights)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    connect(local_hook=HOOK)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # Ray's own would abort, and leave processes that listen
    serve.start(proxy_location="EveryNode", http_options=settings.http.model_dump())
    serve.run(bind(settings), blocking=True)
    return 0
