"""Binds to loopback the ports of Ray Serve that have no setting for their address.

Ray on a single machine listens on 127.0.0.1 only (``connect`` in ``jobs/ray_settings.py``), and Ray Serve's HTTP on
``Settings.http``. Two kinds of ports remain: HAProxy's statistics and metrics, whose addresses are in its configuration
template, and the gRPC port over which replicas call each other. The latter unpickles what it receives, so anybody who
can connect to it can execute code here.
"""

from __future__ import annotations

WORKER_HOOK = "serve.loopback.bind_to_loopback"
"""For ``connect``: on a cluster of a single machine every worker process calls it first."""

_BINDS = {
    "bind :{{ config.metrics_port }}": "bind 127.0.0.1:{{ config.metrics_port }}",
    "bind *:{{ config.stats_port }}": "bind 127.0.0.1:{{ config.stats_port }}",
}


def bind_to_loopback() -> None:
    """Patches Ray Serve in this process, before it starts. Raises RuntimeError if Ray Serve is not as expected."""
    from ray.serve._private import haproxy, replica  # imported here: the constant above is needed without Ray Serve

    template = haproxy.HAPROXY_CONFIG_TEMPLATE
    for all_interfaces, loopback in _BINDS.items():
        if template.count(all_interfaces) != 1:
            raise RuntimeError(f"HAProxy's template has no {all_interfaces!r}: adapt serve/loopback.py to this Ray")
        template = template.replace(all_interfaces, loopback)
    haproxy.HAPROXY_CONFIG_TEMPLATE = template

    add_port = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, address: add_port(server, address.replace("[::]", "127.0.0.1"))
