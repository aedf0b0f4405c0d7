"""Who can connect: from another machine, which a network namespace stands for, and from this one."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from test_app import LEAST

from serve import app, deployments, loopback
from serve.settings import SettingsError, check_settings, load_settings

ROOT = Path(__file__).parents[2]
LAPTOP = ROOT / "configs" / "serve-laptop.yaml"
PATIENCE = 300.0  # seconds for a start, on a busy machine

CONNECT = """
import json, socket, sys
def connects(door):
    try:
        socket.create_connection(door, timeout=3).close()
    except OSError:
        return False
    return True
print(json.dumps([door for door in json.load(sys.stdin) if connects(tuple(door))]))
"""
"""Which of the (address, port) pairs of its standard input can be connected to."""


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_without_keys_loopback_will_do(host):
    assert check_settings({**LEAST, "authentication": "off", "http": {"host": host}}).http.host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "my-machine", ""])
def test_without_keys_other_machines_are_kept_out(host, capsys):
    overrides = [f"http.host='{host}'"]
    with pytest.raises(SettingsError, match=r"http\.host") as refused:
        load_settings(LAPTOP, overrides)
    assert app.main([str(LAPTOP), *overrides]) == 1 and str(refused.value) in capsys.readouterr().err
    if host:
        for named in ("authentication: 'off'", f"http.host: {host}", "JR2NET_API_KEYS", "http.host: 127.0.0.1"):
            assert named in str(refused.value)
        assert load_settings(LAPTOP, [*overrides, "authentication=bearer"]).http.host == host


def test_the_host_is_ray_serves_where_that_is_deployed(monkeypatch):
    with pytest.raises(SettingsError, match="http_options"):
        app.build({**LEAST, "http": {"host": "127.0.0.1"}})
    for host, authentication in (("127.0.0.1", "off"), (None, "off"), ("0.0.0.0", "bearer")):
        monkeypatch.setattr(app, "host_of_serve", lambda host=host: host)
        app.build({**LEAST, "authentication": authentication})
    with pytest.raises(SettingsError, match=r"authentication: 'off'.*http_options\.host: 0\.0\.0\.0"):
        app.build({**LEAST, "authentication": "off"})


def test_the_ingress_asks_ray_serve_where_it_listens(monkeypatch):
    settings = check_settings({**LEAST, "authentication": "off"}).model_dump(mode="json")
    monkeypatch.setattr(deployments, "host_of_serve", lambda: "0.0.0.0")
    with pytest.raises(SettingsError, match=r"authentication: 'off'.*http_options\.host: 0\.0\.0\.0"):
        ingress: Any = deployments.Ingress.func_or_class
        asyncio.run(ingress.__init__(ingress.__new__(ingress), settings, None, None))


def test_an_address_alone_changes_no_replica():
    one, other = (check_settings({**LEAST, "http": {"port": port}}) for port in (8000, 8001))
    assert app.bind(one)._bound_deployment.init_args[0] == app.bind(other)._bound_deployment.init_args[0]


def test_ray_serve_is_as_the_hook_expects_it(monkeypatch):
    from ray.serve._private import haproxy, replica

    for module, name in ((haproxy, "HAPROXY_CONFIG_TEMPLATE"), (replica, "add_port_to_grpc_server")):
        monkeypatch.setattr(module, name, getattr(module, name))  # puts back what the hook changes
    loopback.bind_to_loopback()
    binds = [line.strip() for line in haproxy.HAPROXY_CONFIG_TEMPLATE.splitlines() if line.strip().startswith("bind ")]
    assert all(line.startswith(("bind 127.0.0.1:", "bind {{ config.")) for line in binds), binds
    with pytest.raises(RuntimeError, match=r"serve/loopback\.py"):
        loopback.bind_to_loopback()  # nothing is left to change: as after an upgrade that words it otherwise


@dataclass
class Elsewhere:
    """Another machine, and the addresses by which it reaches this one."""

    namespace: str
    addresses: list[str]

    def reaches(self, ports: set[int]) -> set[int]:
        """Those of the ports that it can connect to."""
        doors = [(address, port) for port in sorted(ports) for address in self.addresses]
        command = ["ip", "netns", "exec", self.namespace, sys.executable, "-c", CONNECT]
        answer = subprocess.run(command, input=json.dumps(doors), capture_output=True, text=True, check=True)
        return {port for _, port in json.loads(answer.stdout)}


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    """A network namespace, joined to this one by a pair of virtual cables."""
    if shutil.which("ip") is None:
        pytest.skip("`ip` (iproute2) is not installed")
    name = f"jr2net{secrets.token_hex(3)}"  # an interface's name has 15 letters at most
    here, there = f"{name}a", f"{name}b"
    net = f"10.{secrets.randbelow(100) + 100}.{secrets.randbelow(256)}"
    net6 = f"fd{secrets.token_hex(1)}:{secrets.token_hex(2)}:{secrets.token_hex(2)}:"

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)

    with ExitStack() as removed:
        try:
            ip("netns", "add", name)
            removed.callback(ip, "netns", "delete", name)
            ip("link", "add", here, "type", "veth", "peer", "name", there)
            removed.callback(ip, "link", "delete", here)  # and its other end
            ip("link", "set", there, "netns", name)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces may not be made here: {error.stderr.strip()}")
        addresses = [f"{net}.1"]
        ip("address", "add", f"{net}.1/24", "dev", here)
        ip("-n", name, "address", "add", f"{net}.2/24", "dev", there)
        if socket.has_ipv6 and Path("/proc/net/if_inet6").exists():
            addresses.append(f"{net6}:1")
            ip("address", "add", f"{net6}:1/64", "dev", here, "nodad")
            ip("-n", name, "address", "add", f"{net6}:2/64", "dev", there, "nodad")
        ip("link", "set", here, "up")
        ip("-n", name, "link", "set", there, "up")
        yield Elsewhere(name, addresses)


@dataclass
class Server:
    """``python -m serve``, ready."""

    process: psutil.Process
    ports: dict[str, int]

    def listening(self) -> set[int]:
        """Every TCP port on which one of its processes listens."""
        family = {self.process.pid, *(child.pid for child in self.process.children(recursive=True))}
        listening = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
        return {each.laddr.port for each in listening if each.pid in family}

    def get(self, name: str, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.ports[name]}{path}", timeout=30)


@contextmanager
def serving(log: Path, *overrides: str, **environment: str) -> Iterator[Server]:
    """With ports of its own where they can be chosen, so that it disturbs nothing else."""
    names = ("http", "RAY_SERVE_HAPROXY_STATS_PORT", "RAY_SERVE_HAPROXY_METRICS_PORT")
    names += ("RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",)
    with ExitStack() as free:
        opened = [free.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in names]
        ports = {name: each.getsockname()[1] for name, each in zip(names, opened, strict=True)}
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        **{name: str(port) for name, port in ports.items() if name != "http"},
        **environment,
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "serve", str(LAPTOP), f"http.port={ports['http']}", *overrides]
    with log.open("w") as output:
        process = psutil.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    server = Server(process, ports)
    try:
        end = time.monotonic() + PATIENCE
        while not _ready(server):
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.5)
        yield server
        family = process.children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
        assert psutil.wait_procs(family, 60)[1] == [], "nothing outlives it"
    finally:
        if process.poll() is None:
            for each in [*process.children(recursive=True), process]:
                each.kill()


def _ready(server: Server) -> bool:
    try:
        return server.get("http", "/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.drill
@pytest.mark.skipif(sys.platform != "linux", reason="network namespaces, and HAProxy, are Linux'")
def test_without_keys_no_other_machine_connects_to_anything(elsewhere, tmp_path):
    with serving(tmp_path / "log") as server, socket.create_server(("0.0.0.0", 0)) as witness:
        ports = server.listening()
        assert set(server.ports.values()) < ports and len(ports) > 15
        open_to_all = witness.getsockname()[1]
        assert elsewhere.reaches({*ports, open_to_all}) == {open_to_all}
        assert server.get("RAY_SERVE_HAPROXY_STATS_PORT", "/stats").status_code == 200
        assert server.get("RAY_SERVE_HAPROXY_METRICS_PORT", "/metrics").status_code == 200
        assert b"<html" in server.get("http", "/").content


@pytest.mark.drill
@pytest.mark.skipif(sys.platform != "linux", reason="network namespaces, and HAProxy, are Linux'")
def test_with_keys_other_machines_reach_what_asks_for_them(elsewhere, tmp_path):
    keys = {"JR2NET_API_KEYS": "secret"}
    with serving(tmp_path / "log", "authentication=bearer", "http.host=0.0.0.0", **keys) as server:
        reached = elsewhere.reaches(server.listening())
        assert server.ports["http"] in reached
        for port in reached:  # HAProxy's own, Ray Serve's, and the ingress replica's
            answer = httpx.post(f"http://{elsewhere.addresses[0]}:{port}/v1/reconstruct", content=b"", timeout=30)
            assert answer.status_code == 401, f"{port}: {answer.status_code}"
        assert not reached & {server.ports[name] for name in server.ports if "HAPROXY" in name}
