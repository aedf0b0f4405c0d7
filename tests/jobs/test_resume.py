"""Killed anywhere and started again, a run ends with the same bytes."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

LONG = ["recnet.optimizer.steps=60", "scaling.checkpoint_every=5"]


def kill_driver(storage: Path) -> None:
    """SIGKILL to the job's own process, found by the storage in its command line."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"storage={storage}".encode() in arguments and b"jobs/submit.py" not in arguments:
            os.kill(int(process.name), signal.SIGKILL)


@pytest.mark.drill
def test_a_training_whose_driver_is_killed_ends_with_the_same_weights(start, submit, tmp_path: Path) -> None:
    status, log = submit("jobs/prepare.py", f"storage={tmp_path}/whole")
    assert status == 0, log
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    status, log = submit("jobs/train.py", "recnet", f"storage={tmp_path}/whole", *LONG)
    assert status == 0, log

    killed = tmp_path / "killed"
    process = start("jobs/train.py", "recnet", f"storage={killed}", *LONG)
    deadline = time.monotonic() + 300
    while not list(killed.glob("recnet/log/*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    kill_driver(killed)
    log, _ = process.communicate(timeout=300)
    assert process.returncode != 0, log
    assert not (killed / "recnet" / "manifest.json").exists()

    status, log = submit("jobs/train.py", "recnet", f"storage={killed}", *LONG)
    assert status == 0, log
    assert "goes on from step" in log
    assert (killed / "recnet/model.safetensors").read_bytes() == (
        tmp_path / "whole/recnet/model.safetensors"
    ).read_bytes()
