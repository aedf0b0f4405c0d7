"""The tests' machines: separate addresses, host names and processes; killed, cut off and drained."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from nodes import ROOT, START_S, machines, wait_until, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

ADDRESSES = """
import socket

import ray

ray.init(logging_level="ERROR", log_to_driver=False)


@ray.remote(num_cpus=1, scheduling_strategy="SPREAD")
def where():
    return ray.util.get_node_ip_address(), socket.gethostname()


print(sorted(set(ray.get([where.remote() for _ in range(8)]))))
"""


def test_machines_have_their_own_network_and_processes() -> None:
    with machines() as made:
        a, b = made.add_machine("a"), made.add_machine("b")
        assert a.run("hostname").strip() == "a" and b.run("hostname").strip() == "b"
        server = a.start(sys.executable, "-m", "http.server", "8000", "--directory", "/dev/shm")
        fetch = [sys.executable, "-c", f"import urllib.request as u; u.urlopen('http://{a.address}:8000', timeout=2)"]
        wait_until(lambda: subprocess.run(b.command(*fetch), capture_output=True).returncode == 0, "an answer", 20)
        assert a.processes("http.server") and not b.processes("http.server")
        a.cut_off()
        with pytest.raises(RuntimeError, match=r"timed out|No route"):
            b.run(*fetch)
        a.reconnect()
        wait_until(lambda: subprocess.run(b.command(*fetch), capture_output=True).returncode == 0, "an answer", 20)
        a.kill()
        assert server.wait(10) != 0 and not a.runs and b.runs


def test_nothing_leads_out_of_the_bridge() -> None:
    with machines() as made:
        routes = made.add_machine("a").run("ip", "route")
        assert "default" not in routes and routes.startswith(f"{made.network}.0/24")


HOLD = """
import time

from nodes import machines

with machines() as made:
    made.add_machine("a")
    print(made.bridge, made.folder, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_of_tests_that_were_ended(ending: signal.Signals) -> None:
    command = [sys.executable, "-c", HOLD]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    bridge, folder = process.stdout.readline().split()
    assert Path("/sys/class/net", bridge).exists() and Path(folder).exists()
    process.send_signal(ending)
    process.wait(START_S)
    with machines():  # what a process cannot clean up itself, the next one does
        assert not Path("/sys/class/net", bridge).exists() and not Path(folder).exists()


@pytest.mark.drill
def test_nodes_come_go_and_are_missed() -> None:
    with machines() as made:
        head = made.start_head(cpus=0)
        a, b = made.add_node("a"), made.add_node("b")
        assert set(made.nodes()) == {head.address, a.address, b.address}
        printed = head.run(sys.executable, "-c", ADDRESSES, RAY_ADDRESS=made.gcs)
        assert str(sorted([(a.address, "a"), (b.address, "b")])) in printed
        a.kill()
        seconds = wait_until(lambda: a.address not in made.nodes(), "the killed node is missed", START_S)
        print(f"\na killed node is missed after {seconds:.1f} s")
        b.cut_off()
        seconds = wait_until(lambda: b.address not in made.nodes(), "the node without a network is missed", START_S)
        print(f"a node without a network is missed after {seconds:.1f} s")
