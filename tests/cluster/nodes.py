"""Several machines on one: Linux namespaces joined by a bridge, each a Ray node with an address of its own.

A machine has its own network, processes, host name, ``/tmp/ray`` and shared memory; the rest of the disk is shared.
Killing it kills all that runs on it at once, as a power cut does; a machine that is cut off goes on without a network.
The bridge leads nowhere else, so no traffic leaves. ``why_not`` says what is missing where none can be made.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import IO

from jobs.ray_settings import LOCAL_SETTINGS, SERVE_SETTINGS, TRAIN_SETTINGS

ROOT = Path(__file__).parents[2]
GCS_PORT, DASHBOARD_PORT = 6379, 8265
SHARED_MEMORY_MB = 512  # of each machine, and so the bound of its object store
START_S = 120.0
_PREFIX = "jr2net"  # of a bridge's name, which ends in the id of the process that made it
_FOLDER = "jr2net-machines-"

HEALTH_CHECK = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
}
"""Ray's own check of its nodes: one that is silent for about 10 seconds is dead; by default half a minute."""

CLUSTER_SETTINGS = (
    {name: value for name, value in LOCAL_SETTINGS.items() if name != "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"}
    | TRAIN_SETTINGS
    | SERVE_SETTINGS
    | HEALTH_CHECK
    | {"RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.5", "RAY_DEDUP_LOGS": "0"}
    | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # submitted jobs run `python`
)
"""Environment of every process of these machines. A cluster has preemption notices, unlike a local one."""


@cache
def why_not() -> str | None:
    """Why no machines can be made here; None where they can."""
    missing = [tool for tool in ("unshare", "nsenter", "ip", "mount", "setpriv") if shutil.which(tool) is None]
    if missing:
        return f"machines in namespaces need {', '.join(missing)}"
    if os.geteuid() != 0:
        return "machines in namespaces need root"
    command = [*_UNSHARE, "true"]
    tried = subprocess.run(command, capture_output=True, text=True)
    return None if tried.returncode == 0 else f"namespaces cannot be made here: {tried.stderr.strip()}"


_UNSHARE = ("unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc")


@dataclass
class Machine:
    """One machine, and the Ray node that runs on it.

    settings  environment variables of all its processes, besides CLUSTER_SETTINGS
    """

    name: str
    address: str
    cable: str
    anchor: subprocess.Popen[bytes]
    init: int
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """What its Ray node printed."""
        return self.folder / "ray.log"

    def command(self, *arguments: str) -> list[str]:
        """The command that runs ``arguments`` on this machine."""
        return ["nsenter", "--target", str(self.init), "--all", f"--wdns={ROOT}", "--", *arguments]

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return kept | CLUSTER_SETTINGS | self.settings

    def start(
        self, *arguments: str, output: int | IO[bytes] = subprocess.DEVNULL, **more: str
    ) -> subprocess.Popen[bytes]:
        """Starts a process on this machine. more: further environment variables."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment() | more,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def run(self, *arguments: str, timeout: float = START_S, **more: str) -> str:
        """Runs a command on this machine; returns what it printed. Raises RuntimeError where it fails."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment() | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def processes(self, containing: str) -> list[int]:
        """Process ids, as this process sees them, of those on this machine whose command line has ``containing``."""
        namespace = Path(f"/proc/{self.init}/ns/pid").readlink()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if containing in line and (entry / "ns/pid").readlink() == namespace:
                    found.append(int(entry.name))
            except OSError:
                continue  # it ended meanwhile
        return found

    def cut_off(self) -> None:
        """Pulls the network cable; what runs here goes on."""
        _ip("link", "set", self.cable, "down")

    def reconnect(self) -> None:
        _ip("link", "set", self.cable, "up")

    @property
    def runs(self) -> bool:
        return self.anchor.poll() is None

    def kill(self) -> None:
        """Switches the machine off: every process on it is killed at once."""
        if self.runs:
            os.kill(self.init, signal.SIGKILL)
            self.anchor.wait(START_S)
            subprocess.run(["ip", "link", "delete", self.cable], capture_output=True)  # may be gone already


class Machines:
    """The machines of one test. Use ``machines()``.

    network: first three parts of all addresses; .254 is the bridge itself, through which the tests' process takes part
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bridge = f"{_PREFIX}{os.getpid()}"
        # Another for each process: two bridges with the same addresses would take each other's traffic.
        self.network = f"10.213.{os.getpid() % 250}"
        self.all: list[Machine] = []
        self._numbers = itertools.count(1)

    @property
    def head(self) -> Machine:
        """The running head."""
        return next(machine for machine in self.all if machine.name.startswith("head") and machine.runs)

    @property
    def gcs(self) -> str:
        """Address of the cluster, for ``ray.init`` on one of its machines."""
        return f"{self.head.address}:{GCS_PORT}"

    @property
    def dashboard(self) -> str:
        """Address that takes jobs (``RAY_API_SERVER_ADDRESS``), from everywhere on the bridge."""
        return f"http://{self.head.address}:{DASHBOARD_PORT}"

    def add_machine(
        self, name: str, address: str | None = None, memory_mb: int = SHARED_MEMORY_MB, temporary_mb: int | None = None
    ) -> Machine:
        """A machine without Ray.

        address: of one that was killed, whose place it takes. temporary_mb: size of ``/tmp/ray``; None: of the disk.
        """
        number = next(self._numbers)
        address = address or f"{self.network}.{number}"
        folder = self.folder / f"{name}-{number}"
        for inner in ("ray", "tmp"):
            (folder / inner).mkdir(parents=True)
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{address} {name}\n")
        ready = folder / "ready"
        temporary = f"--bind {folder / 'ray'}" if temporary_mb is None else f"-t tmpfs -o size={temporary_mb}m tmpfs"
        steps = (
            f"hostname {name} && mount --make-rprivate / && mkdir -p /tmp/ray"
            f" && mount {temporary} /tmp/ray && mount --bind {folder / 'hosts'} /etc/hosts"
            f" && mount -t tmpfs -o size={memory_mb}m tmpfs /dev/shm && ip link set lo up"
            f" && touch {ready} && exec sleep infinity"
        )
        with (folder / "machine.log").open("wb") as output:
            anchor = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *_UNSHARE, "sh", "-c", steps], stdout=output, stderr=output
            )
        wait_until(lambda: ready.exists() or anchor.poll() is not None, f"machine {name}", 10)
        if anchor.poll() is not None:
            raise RuntimeError(f"{name} did not start: {(folder / 'machine.log').read_text()}")
        children = Path(f"/proc/{anchor.pid}/task/{anchor.pid}/children").read_text().split()
        machine = Machine(name, address, f"{self.bridge}-{number}"[-15:], anchor, int(children[0]), folder)
        self.all.append(machine)
        _ip("link", "add", machine.cable, "type", "veth", "peer", "name", "eth0", "netns", str(machine.init))
        _ip("link", "set", machine.cable, "master", self.bridge, "up")
        machine.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
        machine.run("ip", "link", "set", "eth0", "up")
        return machine

    def start_head(
        self, cpus: float = 0, address: str | None = None, redis_password: str | None = None, **settings: str
    ) -> Machine:
        """The head, with its dashboard. settings: environment variables, as all nodes should have them."""
        machine = self.add_machine("head", address)
        machine.settings |= settings
        self._start_ray(
            machine,
            [
                *("--head", f"--port={GCS_PORT}", "--dashboard-host=0.0.0.0", f"--dashboard-port={DASHBOARD_PORT}"),
                *([f"--redis-password={redis_password}"] if redis_password else []),
            ],
            cpus,
            {},
        )
        return machine

    def add_node(
        self,
        name: str,
        cpus: float = 1,
        resources: Mapping[str, float] | None = None,
        memory_mb: int = SHARED_MEMORY_MB,
        temporary_mb: int | None = None,
    ) -> Machine:
        """A machine that joins the cluster. temporary_mb: see ``add_machine``."""
        machine = self.add_machine(name, memory_mb=memory_mb, temporary_mb=temporary_mb)
        machine.settings |= self.head.settings
        self._start_ray(machine, [f"--address={self.gcs}"], cpus, resources or {})
        return machine

    def nodes(self) -> dict[str, str]:
        """Address of every node that Ray says is alive -> its id."""
        listed = self.head.run(sys.executable, "-c", _LIST_NODES, RAY_ADDRESS=self.gcs)
        return json.loads(listed.splitlines()[-1])

    def drain(self, machine: Machine, deadline_s: int) -> None:
        """Announces that a machine goes, as a spot notice does."""
        command = ["drain-node", f"--address={self.gcs}", f"--node-id={self.nodes()[machine.address]}"]
        command += ["--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=spot notice"]
        self.head.run(_RAY, *command, f"--deadline-remaining-seconds={deadline_s}")

    def remove(self, machine: Machine) -> None:
        """Kills a machine and forgets it."""
        machine.kill()
        self.all.remove(machine)

    def close(self) -> None:
        for machine in self.all:
            machine.kill()
        subprocess.run(["ip", "link", "delete", self.bridge], capture_output=True)

    def _start_ray(
        self, machine: Machine, arguments: Sequence[str], cpus: float, resources: Mapping[str, float]
    ) -> None:
        command = [_RAY, "start", *arguments, f"--node-ip-address={machine.address}", f"--num-cpus={cpus:g}"]
        command += ["--num-gpus=0", f"--resources={json.dumps(resources)}", "--disable-usage-stats", "--block"]
        command += [f"--object-store-memory={128 << 20}"]
        for last in (False, True):  # Ray gives a node 30 s to start, too few on a machine that is busy
            with machine.log.open("wb") as output:
                process = machine.start(*command, output=output)
            wait_until(partial(_starts, machine, process), f"Ray on {machine.name}", START_S)
            if process.poll() is None:
                return
            if last:
                raise RuntimeError(f"Ray did not start on {machine.name}:\n{machine.log.read_text()}")


def _starts(machine: Machine, process: subprocess.Popen[bytes]) -> bool:
    return "Ray runtime started" in machine.log.read_text() or process.poll() is not None


@contextmanager
def machines() -> Iterator[Machines]:
    """Machines on a bridge of their own, gone at the end and after SIGTERM, which ends the tests as Ctrl-C does."""
    _remove_abandoned()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(
        prefix=f"{_FOLDER}{os.getpid()}-", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:
        made = Machines(Path(folder))
        try:
            _ip("link", "add", made.bridge, "type", "bridge")
            _ip("address", "add", f"{made.network}.254/24", "dev", made.bridge)
            _ip("link", "set", made.bridge, "up")
            yield made
        finally:
            made.close()
            signal.signal(signal.SIGTERM, before)


def _remove_abandoned() -> None:
    """Removes what a killed process left: its machines died with it, its bridge and its folder did not."""
    for link in Path("/sys/class/net").glob(f"{_PREFIX}[0-9]*"):
        owner = link.name.removeprefix(_PREFIX)
        if owner.isdigit() and not Path("/proc", owner).exists():
            subprocess.run(["ip", "link", "delete", link.name], capture_output=True)
            for folder in Path("/tmp").glob(f"{_FOLDER}{owner}-*"):
                shutil.rmtree(folder, ignore_errors=True)


def wait_until(condition: Callable[[], object], what: str, seconds: float) -> float:
    """Waits until ``condition()`` is true; returns how long it took, in seconds. Raises AssertionError at the end."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() < start + seconds, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)
    return time.monotonic() - start


_RAY = str(Path(sys.executable).with_name("ray"))
_LIST_NODES = """
import json, ray
ray.init(logging_level="ERROR", log_to_driver=False)
print(json.dumps({node["NodeManagerAddress"]: node["NodeID"] for node in ray.nodes() if node["Alive"]}))
"""


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
