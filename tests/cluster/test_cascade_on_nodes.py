"""The whole cascade, submitted from a machine that is no member, while processes and machines are killed at random.

``JR2NET_DRILL_KILLS`` sets how many; the figures in ``docs/reliability.md`` say how many theirs had.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from nodes import Machine, Machines, machines, wait_until, why_not

pytestmark = [pytest.mark.drill, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

KILLS = int(os.environ.get("JR2NET_DRILL_KILLS", "20"))
TIMEOUT_S = 3000.0
NODE_CPUS = 2
SETTINGS = ["scaling.max_failures=50", "scaling.checkpoint_every=2", "scaling.pictures_every=0"]
KINDS = ("worker", "worker", "worker", "raylet", "machine", "driver")
ARTEFACTS = ("*.parquet", "model.safetensors", "model.json")
OF_ONE_RUN = ("stages", "synthesis", "config", "created", "machine")
"""Parts of a report that say how long its run took, where it lies and when it was made."""


class Submitted:
    """The cascade as a job; submitted again where it failed."""

    def __init__(self, made: Machines, outside: Machine, storage: Path, log: Path) -> None:
        self.made, self.outside, self.storage, self.log, self.times = made, outside, storage, log, 0
        self.submit()

    def submit(self) -> None:
        self.times += 1
        command = [_RAY, "job", "submit", f"--address={self.made.dashboard}", "--working-dir=.", "--", "python"]
        command += ["jobs/cascade.py", "--config", "configs/smoke.yaml", f"storage={self.storage}", *SETTINGS]
        with self.log.open("ab") as output:
            self.process: subprocess.Popen[bytes] = self.outside.start(*command, output=output)

    def goes_on(self) -> bool:
        """Whether it still runs; a job that failed is submitted again, but not without end."""
        if self.process.poll() is None:
            return True
        if self.process.returncode == 0:
            return False
        assert self.times <= KILLS, self.log.read_text()[-4000:]
        self.submit()
        return True

    def finish(self) -> None:
        wait_until(lambda: not self.goes_on(), "the cascade", TIMEOUT_S)


def artefacts(storage: Path) -> dict[str, bytes]:
    found = [path for pattern in ARTEFACTS for path in storage.rglob(pattern) if "ray" not in path.parts]
    return {str(path.relative_to(storage)): path.read_bytes() for path in found}


def measured(storage: Path) -> dict[str, Any]:
    """What the report says of the networks."""
    report = json.loads((storage / "evaluation" / "report.json").read_text())
    return {name: value for name, value in report.items() if name not in OF_ONE_RUN}


def test_the_cascade_is_killed_at_random_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    dice, killed = random.Random(1), Counter[str]()
    calm, hurt, log = tmp_path / "calm", tmp_path / "hurt", tmp_path / "log.txt"
    with machines() as made:
        made.start_head()
        for name in "abc":
            made.add_node(name, cpus=NODE_CPUS)
        outside = made.add_machine("laptop")
        start = time.monotonic()
        assert Submitted(made, outside, calm, log).process.wait(TIMEOUT_S) == 0, log.read_text()[-4000:]
        undisturbed = time.monotonic() - start

        start = time.monotonic()
        job = Submitted(made, outside, hurt, log)
        pause_s = min(10.0, undisturbed / KILLS)  # on average, so that the last kill comes before the end
        while killed.total() < KILLS and job.goes_on():
            time.sleep(pause_s * dice.uniform(0.4, 1.6))
            replace_lost(made, dice)
            if kind := kill(made, job, dice):
                killed[kind] += 1
                print(f"{time.monotonic() - start:.0f} s: killed a {kind}", flush=True)
        replace_lost(made, dice)
        job.finish()
        disturbed = time.monotonic() - start
    assert killed.total() == KILLS, f"the cascade ended after {killed}"
    wanted, found = artefacts(calm), artefacts(hurt)
    assert len(wanted) > 10 and set(found) == set(wanted)
    assert [name for name in wanted if found[name] != wanted[name]] == []
    assert measured(hurt) == measured(calm)
    print(
        f"\n{killed.total()} SIGKILLs {dict(killed)}: {len(wanted)} files, the same to the byte; submitted {job.times} "
        f"times; {disturbed:.0f} s, undisturbed {undisturbed:.0f} s"
    )


def kill(made: Machines, job: Submitted, dice: random.Random) -> str | None:
    """Kills something of a random kind; None where there was nothing of it."""
    kind = dice.choice(KINDS)
    nodes = [machine for machine in made.all if machine.runs and machine.name not in ("head", "laptop")]
    victim = dice.choice(nodes)
    if kind == "driver":
        drivers = made.head.processes(f"storage={job.storage}")
        for process in drivers:
            os.kill(process, signal.SIGKILL)
        return kind if drivers else None
    if kind == "worker":
        busy = [pid for node in nodes for pid in set(node.processes("ray::")) - set(node.processes("ray::IDLE"))]
        if not busy:
            return None
        os.kill(dice.choice(sorted(busy)), signal.SIGKILL)
        return kind
    if kind == "raylet":
        raylets = victim.processes("raylet/raylet")
        for process in raylets:
            os.kill(process, signal.SIGKILL)
        return kind if raylets else None
    victim.kill()
    return kind


def replace_lost(made: Machines, dice: random.Random) -> None:
    """New machines in place of those that are off or whose Ray node has ended, as an autoscaler brings them."""
    for machine in [machine for machine in made.all if machine.name not in ("head", "laptop")]:
        if not machine.runs or not machine.processes("raylet/raylet"):
            made.remove(machine)
            made.add_node(dice.choice("defgh"), cpus=NODE_CPUS)


_RAY = str(Path(sys.executable).with_name("ray"))
