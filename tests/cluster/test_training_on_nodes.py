"""A training on several machines, of which one is cut off, one killed and one drained: no step and no bit is lost."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes import START_S, Machine, Machines, machines, wait_until, why_not

from jr2net.training.log import read_log
from jr2net.training.state import newest_step

pytestmark = [pytest.mark.drill, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

STEPS = 900
SETTINGS = [f"recnet.optimizer.steps={STEPS}", "scaling.checkpoint_every=25", "scaling.log_every=25"]
SETTINGS += ["scaling.pictures_every=0", "scaling.max_failures=5"]
TIMEOUT_S = 900.0
NOTICE_S = 60


@pytest.fixture(scope="module")
def made() -> Iterator[Machines]:
    with machines() as made:
        made.start_head()
        for name in "abc":
            made.add_node(name)
        yield made


class Job:
    """A job of the smoke configuration, started on the head."""

    def __init__(self, made: Machines, log: Path, storage: Path, *script: str) -> None:
        self.log = log
        command = [sys.executable, *script, "--config", "configs/smoke.yaml", f"storage={storage}", *SETTINGS]
        with log.open("ab") as output:
            self.process: subprocess.Popen[bytes] = made.head.start(*command, output=output, RAY_ADDRESS=made.gcs)

    def finish(self) -> None:
        assert self.process.wait(TIMEOUT_S) == 0, self.log.read_text()


def steps_done(storage: Path) -> int:
    return len(read_log(str(storage / "recnet")))


def workers_on(machine: Machine) -> list[int]:
    return machine.processes("ray::RayTrainWorker") if machine.runs else []


def test_machines_fail_and_the_weights_are_the_same(made: Machines, tmp_path: Path) -> None:
    calm, hurt, log = tmp_path / "calm", tmp_path / "hurt", tmp_path / "log.txt"
    Job(made, log, calm, "jobs/prepare.py").finish()
    Job(made, log, calm, "jobs/train.py", "recnet").finish()
    shutil.copytree(calm / "prepare", hurt / "prepare")

    job = Job(made, log, hurt, "jobs/train.py", "recnet")

    def two_at_work(beyond: int) -> list[Machine]:
        """The machines with workers, once a state beyond a step is saved."""
        wait_until(
            lambda: job.process.poll() is not None or (newest_step(str(hurt / "recnet")) or 0) > beyond, "", TIMEOUT_S
        )
        wait_until(
            lambda: job.process.poll() is not None or len([m for m in made.all if workers_on(m)]) == 2, "", TIMEOUT_S
        )
        assert job.process.poll() is None, log.read_text()
        return [machine for machine in made.all if workers_on(machine)]

    def recovery(what: str, resumed_before: int) -> None:
        """Waits for the first step after the training was resumed, and prints how long it took."""
        saved = newest_step(str(hurt / "recnet")) or 0
        seconds = wait_until(lambda: log.read_text().count("resumes from step") > resumed_before, what, TIMEOUT_S)
        last = int(re.findall(r"resumes from step (\d+)", log.read_text())[-1])
        seconds += wait_until(lambda: (newest_step(str(hurt / "recnet")) or 0) > last, what, TIMEOUT_S)
        print(
            f"\n{what}: resumed from step {last} (newest saved at the fault: {saved}); next state after {seconds:.1f} s"
        )

    def resumed() -> int:
        return log.read_text().count("resumes from step")

    cut, before = two_at_work(beyond=50)[-1], resumed()
    cut.cut_off()
    recovery(f"{cut.name} cut off", before)
    cut.reconnect()
    wait_until(lambda: not cut.processes("raylet"), "the raylet that was given up ends itself", START_S)
    made.remove(cut)
    made.add_node("d")

    killed, before = two_at_work(beyond=(newest_step(str(hurt / "recnet")) or 0) + 25)[0], resumed()
    killed.kill()
    recovery(f"{killed.name} killed", before)
    made.add_node("e")

    drained, before = two_at_work(beyond=(newest_step(str(hurt / "recnet")) or 0) + 25)[0], resumed()
    made.drain(drained, NOTICE_S)
    recovery(f"{drained.name} drained", before)
    assert re.search(r"stops at step \d+, with its state saved", log.read_text())

    job.finish()
    assert [record["step"] for record in read_log(str(hurt / "recnet"))] == list(range(1, STEPS + 1))
    for name in ("model.safetensors", "model.json"):
        assert (hurt / "recnet" / name).read_bytes() == (calm / "recnet" / name).read_bytes(), name
