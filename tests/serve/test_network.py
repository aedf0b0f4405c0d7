"""Which ports other machines can connect to. A network namespace stands for another machine."""

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
from test_app import MINIMAL

from serve import app, deployments, loopback
from serve.settings import SettingsError, check_settings, load_settings

ROOT = Path(__file__).parents[2]
LAPTOP = ROOT / "configs" / "serve-laptop.yaml"
START_TIMEOUT_S = 300.0  # on a busy machine

CONNECT = """
import json, socket, sys
def can_connect(address):
    try:
        socket.create_connection(address, timeout=3).close()
    except OSError:
        return False
    return True
print(json.dumps([address for address in json.load(sys.stdin) if can_connect(tuple(address))]))
"""
"""Prints which of the (host, port) pairs on its standard input accept connections."""


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_without_keys_loopback_is_allowed(host):
    assert check_settings({**MINIMAL, "authentication": "off", "http": {"host": host}}).http.host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "my-machine", ""])
def test_without_keys_other_hosts_are_rejected(host, capsys):
    overrides = [f"http.host='{host}'"]
    with pytest.raises(SettingsError, match=r"http\.host") as refused:
        load_settings(LAPTOP, overrides)
    assert app.main([str(LAPTOP), *overrides]) == 1 and str(refused.value) in capsys.readouterr().err
    if host:
        for named in ("authentication: 'off'", f"http.host: {host}", "JR2NET_API_KEYS", "http.host: 127.0.0.1"):
            assert named in str(refused.value)
        assert load_settings(LAPTOP, [*overrides, "authentication=bearer"]).http.host == host


def test_a_deployed_application_checks_the_host_of_ray_serve(monkeypatch):
    with pytest.raises(SettingsError, match="http_options"):
        app.build({**MINIMAL, "http": {"host": "127.0.0.1"}})
    for host, authentication in (("127.0.0.1", "off"), (None, "off"), ("0.0.0.0", "bearer")):
        monkeypatch.setattr(app, "get_serve_host", lambda host=host: host)
        app.build({**MINIMAL, "authentication": authentication})
    with pytest.raises(SettingsError, match=r"authentication: 'off'.*http_options\.host: 0\.0\.0\.0"):
        app.build({**MINIMAL, "authentication": "off"})


def test_the_ingress_checks_the_host_of_ray_serve(monkeypatch):
    settings = check_settings({**MINIMAL, "authentication": "off"}).model_dump(mode="json")
    monkeypatch.setattr(deployments, "get_serve_host", lambda: "0.0.0.0")
    with pytest.raises(SettingsError, match=r"authentication: 'off'.*http_options\.host: 0\.0\.0\.0"):
        ingress: Any = deployments.Ingress.func_or_class
        asyncio.run(ingress.__init__(ingress.__new__(ingress), settings, None, None))


def test_a_changed_port_restarts_no_replica():
    one, other = (check_settings({**MINIMAL, "http": {"port": port}}) for port in (8000, 8001))
    assert app.bind(one)._bound_deployment.init_args[0] == app.bind(other)._bound_deployment.init_args[0]


def test_the_hook_fits_the_installed_ray_serve(monkeypatch):
    from ray.serve._private import haproxy, replica

    for module, name in ((haproxy, "HAPROXY_CONFIG_TEMPLATE"), (replica, "add_port_to_grpc_server")):
        monkeypatch.setattr(module, name, getattr(module, name))  # so that the patch is undone after the test
    loopback.bind_to_loopback()
    binds = [line.strip() for line in haproxy.HAPROXY_CONFIG_TEMPLATE.splitlines() if line.strip().startswith("bind ")]
    assert all(line.startswith(("bind 127.0.0.1:", "bind {{ config.")) for line in binds), binds
    with pytest.raises(RuntimeError, match=r"serve/loopback\.py"):
        loopback.bind_to_loopback()  # already patched, as if an upgrade had changed the template


@dataclass
class OtherMachine:
    """A network namespace that acts as another machine, and the addresses at which it reaches this one."""

    namespace: str
    addresses: list[str]

    def reachable(self, ports: set[int]) -> set[int]:
        """The ports that it can connect to."""
        pairs = [(address, port) for port in sorted(ports) for address in self.addresses]
        command = ["ip", "netns", "exec", self.namespace, sys.executable, "-c", CONNECT]
        done = subprocess.run(command, input=json.dumps(pairs), capture_output=True, text=True, check=True)
        return {port for _, port in json.loads(done.stdout)}


@pytest.fixture(scope="module")
def other_machine() -> Iterator[OtherMachine]:
    """A network namespace, connected to this one by a pair of virtual interfaces."""
    if shutil.which("ip") is None:
        pytest.skip("`ip` (iproute2) is not installed")
    name = f"jr2net{secrets.token_hex(3)}"  # interface names have at most 15 characters
    here, there = f"{name}a", f"{name}b"
    net = f"10.{secrets.randbelow(100) + 100}.{secrets.randbelow(256)}"
    net6 = f"fd{secrets.token_hex(1)}:{secrets.token_hex(2)}:{secrets.token_hex(2)}:"

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)

    with ExitStack() as cleanup:
        try:
            ip("netns", "add", name)
            cleanup.callback(ip, "netns", "delete", name)
            ip("link", "add", here, "type", "veth", "peer", "name", there)
            cleanup.callback(ip, "link", "delete", here)  # with its peer
            ip("link", "set", there, "netns", name)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces cannot be created here: {error.stderr.strip()}")
        addresses = [f"{net}.1"]
        ip("address", "add", f"{net}.1/24", "dev", here)
        ip("-n", name, "address", "add", f"{net}.2/24", "dev", there)
        if socket.has_ipv6 and Path("/proc/net/if_inet6").exists():
            addresses.append(f"{net6}:1")
            ip("address", "add", f"{net6}:1/64", "dev", here, "nodad")
            ip("-n", name, "address", "add", f"{net6}:2/64", "dev", there, "nodad")
        ip("link", "set", here, "up")
        ip("-n", name, "link", "set", there, "up")
        yield OtherMachine(name, addresses)


@dataclass
class Server:
    """A running ``python -m serve``."""

    process: psutil.Process
    ports: dict[str, int]

    def listening(self) -> set[int]:
        """All TCP ports on which its processes listen."""
        pids = {self.process.pid, *(child.pid for child in self.process.children(recursive=True))}
        listening = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
        return {each.laddr.port for each in listening if each.pid in pids}

    def get(self, name: str, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.ports[name]}{path}", timeout=30)


@contextmanager
def serving(log: Path, *overrides: str, end: int = signal.SIGTERM, **environment: str) -> Iterator[Server]:
    """Runs the server, on free ports where they can be configured; ``end`` is the signal that ends it, quietly."""
    names = ("http", "RAY_SERVE_HAPROXY_STATS_PORT", "RAY_SERVE_HAPROXY_METRICS_PORT")
    names += ("RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",)
    with ExitStack() as sockets:
        opened = [sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in names]
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
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _ready(server):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        yield server
        children = process.children(recursive=True)
        process.send_signal(end)
        assert process.wait(60) == 128 + end
        assert "Traceback" not in log.read_text()
        assert psutil.wait_procs(children, 60)[1] == [], "processes are left behind"
    finally:
        if process.poll() is None:
            for each in [*process.children(recursive=True), process]:
                each.kill()


@pytest.mark.drill
def test_ctrl_c_ends_the_server_quietly(tmp_path):
    with serving(tmp_path / "log", end=signal.SIGINT) as server:
        assert server.get("http", "/healthz").status_code == 200


def _ready(server: Server) -> bool:
    try:
        return server.get("http", "/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.drill
@pytest.mark.skipif(sys.platform != "linux", reason="network namespaces and HAProxy need Linux")
def test_without_keys_no_port_is_reachable(other_machine, tmp_path):
    with serving(tmp_path / "log") as server, socket.create_server(("0.0.0.0", 0)) as open_socket:
        ports = server.listening()
        assert set(server.ports.values()) < ports and len(ports) > 15
        open_port = open_socket.getsockname()[1]
        assert other_machine.reachable({*ports, open_port}) == {open_port}
        assert server.get("RAY_SERVE_HAPROXY_STATS_PORT", "/stats").status_code == 200
        assert server.get("RAY_SERVE_HAPROXY_METRICS_PORT", "/metrics").status_code == 200
        assert b"<html" in server.get("http", "/").content


@pytest.mark.drill
@pytest.mark.skipif(sys.platform != "linux", reason="network namespaces and HAProxy need Linux")
def test_with_keys_only_ports_that_require_them_are_reachable(other_machine, tmp_path):
    keys = {"JR2NET_API_KEYS": "secret"}
    with serving(tmp_path / "log", "authentication=bearer", "http.host=0.0.0.0", **keys) as server:
        reachable = other_machine.reachable(server.listening())
        assert server.ports["http"] in reachable
        for port in reachable:  # of HAProxy, Ray Serve's proxy and the ingress replica
            response = httpx.post(f"http://{other_machine.addresses[0]}:{port}/v1/reconstruct", content=b"", timeout=30)
            assert response.status_code == 401, f"{port}: {response.status_code}"
        assert not reachable & {server.ports[name] for name in server.ports if "HAPROXY" in name}
