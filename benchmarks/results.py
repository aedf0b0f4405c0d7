"""Benchmark results: ``results.json``, a list of {name, value, unit, peer, machine, commit, date}."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

RESULTS = Path(__file__).with_name("results.json")


@dataclass(frozen=True)
class Measurement:
    """A measured value. ``name``: quantity and, in parentheses, conditions. ``peer``: what it is compared with."""

    name: str
    value: float
    unit: str
    peer: str = ""


def best_ms(function: Callable[[], object], at_least: int = 5, seconds: float = 1.0) -> float:
    """Milliseconds of the fastest of several calls, which is the least disturbed by other processes.

    CPU time on a CPU, which other processes hardly change; with CUDA wall-clock time, synchronised.
    """
    clock = _synchronised_time if torch.cuda.is_available() else time.process_time
    function()
    times: list[float] = []
    while len(times) < at_least or (sum(times) < seconds and len(times) < 1000):
        start = clock()
        function()
        times.append(clock() - start)
    return 1000 * min(times)


def machine() -> str:
    """For example ``2-core AMD EPYC, CPU, 1 thread``; the last part is the number of torch threads."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return f"{os.cpu_count()}-core {_processor()}, {device}, {torch.get_num_threads()} thread"


def commit(folder: Path = RESULTS.parent) -> str:
    """The measured commit, with ``+`` if tracked files have changed since; ``unknown`` outside a repository."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def record(measurements: Iterable[Measurement], path: Path = RESULTS) -> None:
    """Adds measurements to the list at ``path``, replacing those with the same name, peer and machine."""
    entries = json.loads(path.read_text()) if path.exists() else []
    on_machine, at_commit, today = machine(), commit(), datetime.datetime.now(datetime.UTC).date().isoformat()
    for measurement in measurements:
        entry = asdict(measurement) | {"machine": on_machine, "commit": at_commit, "date": today}
        key = ("name", "peer", "machine")
        entries = [old for old in entries if any(old[field] != entry[field] for field in key)] + [entry]
    path.write_text(json.dumps(entries, indent=1) + "\n")


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _synchronised_time() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()
