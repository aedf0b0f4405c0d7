"""Submits a job to the cluster that RAY_ADDRESS names, or to a local cluster that is started for the job.

python jobs/submit.py jobs/cascade.py --config configs/laptop.yaml [key=value …]

Streams the job's log and exits with its status. A local cluster uses free ports, so that it does not interfere with
other clusters on the machine, and is removed completely.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from jobs.ray_settings import LOCAL_SETTINGS, LOOPBACK_SETTINGS
from jobs.signals import stop_quietly

HOST = "127.0.0.1"
DASHBOARD_PORT = 8265
START_TIMEOUT_S = 120
SHUTDOWN_TIMEOUT_S = 5
"""Seconds until a local cluster that is shutting down is killed. It has nothing to save."""
PORT_OPTIONS = (
    "port",
    "dashboard-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
    "node-manager-port",
    "object-manager-port",
    "metrics-export-port",
    "ray-client-server-port",
)
"""Options of ``ray start`` that set the ports of a head node."""


def submit(job: list[str]) -> int:
    """Runs a job, given as a script and its arguments, with this folder as working directory. Returns its status."""
    with ExitStack() as stack:
        address = os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS")
        local = address is None
        if local:
            address = stack.enter_context(local_cluster())
            job = [*job, "--relative-to", str(Path.cwd())]  # the job runs in a copy of this folder
        name = f"{Path(job[0]).stem}-{uuid.uuid4().hex[:8]}"
        command = ["job", "submit", f"--address={address}", f"--submission-id={name}", "--working-dir=."]
        try:
            return run_ray("--logging-level=warning", *command, "--", "python", *job, local=local)
        except BaseException:
            run_ray("job", "stop", f"--address={address}", name, local=local)  # otherwise the job would keep running
            raise


def run_ray(*arguments: str, local: bool) -> int:
    return subprocess.run([ray_command(), *arguments], env=environment(local)).returncode


@contextmanager
def local_cluster() -> Iterator[str]:
    """Runs a Ray head node on this machine; yields the address to which jobs are submitted."""
    ports = free_ports()
    address = f"http://{HOST}:{ports['dashboard-port']}"
    print(f"[ray] starting a local cluster; dashboard: {address}", flush=True)
    with tempfile.TemporaryDirectory(prefix="jr2net-ray-", ignore_cleanup_errors=True) as folder:
        log = Path(folder, "start.log")
        options = [f"--{name}={port}" for name, port in ports.items()]
        options += [f"--node-ip-address={HOST}", f"--temp-dir={folder}", f"--num-cpus={max(2, os.cpu_count() or 1)}"]
        with log.open("w") as output:
            # With --block this process is the parent of the head's processes and terminates them on SIGTERM.
            head = subprocess.Popen(
                [ray_command(), "start", "--head", "--block", *options],
                env=environment(local=True) | {"RAY_ADDRESS": f"{HOST}:{ports['port']}"},  # for its workers
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_until_ready(head, address, log)
            yield address
        finally:
            head.send_signal(signal.SIGTERM)
            try:
                head.wait(SHUTDOWN_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(head.pid, signal.SIGKILL)


def wait_until_ready(head: subprocess.Popen, address: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if head.poll() is not None:
            raise SystemExit(f"error: ray start ended with status {head.returncode}:\n{log.read_text()}")
        try:
            with urlopen(f"{address}/api/jobs/", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.3)
    raise SystemExit(f"error: the local cluster did not respond within {START_TIMEOUT_S} s:\n{log.read_text()}")


def free_ports() -> dict[str, int]:
    """Free ports for a head node, outside the range of Ray's workers (10002 to 19999)."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in PORT_OPTIONS]
        for name, opened in zip(PORT_OPTIONS, sockets, strict=True):
            try:
                opened.bind((HOST, DASHBOARD_PORT if name == "dashboard-port" else 0))
            except OSError:
                opened.bind((HOST, 0))
        return {name: opened.getsockname()[1] for name, opened in zip(PORT_OPTIONS, sockets, strict=True)}


def environment(local: bool) -> dict[str, str]:
    """Ray's settings, one OpenMP thread per process, and this environment's ``python`` first in the path.

    local: for the cluster that is started here. It asks for no token, whatever ``RAY_AUTH_MODE`` says for another.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    variables = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **LOCAL_SETTINGS, **os.environ, "PATH": path}
    own = LOOPBACK_SETTINGS | {"RAY_AUTH_MODE": LOCAL_SETTINGS["RAY_AUTH_MODE"]} if local else {}
    return variables | own


def ray_command() -> str:
    return str(Path(sys.executable).with_name("ray"))


if __name__ == "__main__":
    stop_quietly()
    sys.exit(submit(sys.argv[1:]))
