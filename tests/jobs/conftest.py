"""A local Ray cluster for the tests of the jobs, and a way to run jobs on it as users do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.ray_settings import LOCAL_SETTINGS
from jobs.submit import local_cluster

ROOT = Path(__file__).parents[2]
Submit = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def start() -> Iterator[Submit]:
    """start("jobs/x.py", …) -> a job submitted with the smoke configuration, its log in ``stdout``."""
    with local_cluster() as address:
        environment = os.environ | LOCAL_SETTINGS | {"RAY_API_SERVER_ADDRESS": address}

        def begin(*job: str) -> subprocess.Popen[str]:
            command = [sys.executable, "jobs/submit.py", *job, "--config", "configs/smoke.yaml"]
            return subprocess.Popen(
                command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )

        yield begin


@pytest.fixture(scope="module")
def submit(start: Submit) -> Callable[..., tuple[int, str]]:
    """submit("jobs/x.py", …) -> exit status and log of the finished job."""

    def run(*job: str) -> tuple[int, str]:
        process = start(*job)
        log, _ = process.communicate(timeout=900)
        return process.returncode, log

    return run
