"""Binds to loopback what Ray Serve opens to every network and has no setting for.

Ray on one machine listens on 127.0.0.1 alone (``connect`` in ``jobs/ray_settings.py``), and Ray Serve's HTTP where
``Settings.http`` says. Two things remain: HAProxy's statistics and metrics, in its configuration's template, and the
port over which replicas call each other. That one unpickles what it is sent: whoever reaches it runs code here.
"""

from __future__ import annotations

HOOK = "serve.loopback.bind_to_loopback"
"""For ``connect``: every worker process of a cluster of this machine alone runs it first."""

_BINDS = {
    "bind :{{ config.metrics_port }}": "bind 127.0.0.1:{{ config.metrics_port }}",
    "bind *:{{ config.stats_port }}": "bind 127.0.0.1:{{ config.stats_port }}",
}


def bind_to_loopback() -> None:
    """Changes this process' Ray Serve, before any part of it runs. Raises RuntimeError where it is not as expected."""
    from ray.serve._private import haproxy, replica  # here: the module's name is needed where Ray Serve is not

    template = haproxy.HAPROXY_CONFIG_TEMPLATE
    for open_to_all, own in _BINDS.items():
        if template.count(open_to_all) != 1:
            raise RuntimeError(f"HAProxy's template has no {open_to_all!r}: adapt serve/loopback.py to this Ray")
        template = template.replace(open_to_all, own)
    haproxy.HAPROXY_CONFIG_TEMPLATE = template

    add_port = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, address: add_port(server, address.replace("[::]", "127.0.0.1"))
