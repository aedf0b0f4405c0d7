"""What a benchmark leaves behind: ``results.json``, a list of {name, value, unit, peer, machine, commit, date}."""

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
    """One figure. ``name`` says what and under which circumstances, ``peer`` what it is compared with, if anything."""

    name: str
    value: float
    unit: str
    peer: str = ""


def best_ms(function: Callable[[], object], at_least: int = 5, seconds: float = 1.0) -> float:
    """Milliseconds of the fastest of several calls: what the machine can do when nothing else disturbs it.

    On a CPU it is the processor's time, which other processes hardly change; with CUDA the clock's, synchronised.
    """
    clock = _synchronised if torch.cuda.is_available() else time.process_time
    function()
    times: list[float] = []
    while len(times) < at_least or (sum(times) < seconds and len(times) < 1000):
        start = clock()
        function()
        times.append(clock() - start)
    return 1000 * min(times)


def machine() -> str:
    """In plain words, e.g. ``2-core AMD EPYC, CPU``; how many threads torch uses is part of it."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return f"{os.cpu_count()}-core {_processor()}, {device}, {torch.get_num_threads()} thread"


def commit(folder: Path = RESULTS.parent) -> str:
    """The commit that was measured, with ``+`` where files were changed since; ``unknown`` outside a repository."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def record(measurements: Iterable[Measurement], path: Path = RESULTS) -> None:
    """Adds figures to the list at ``path``; one that has the same name, peer and machine is replaced."""
    kept = json.loads(path.read_text()) if path.exists() else []
    where, which, today = machine(), commit(), datetime.datetime.now(datetime.UTC).date().isoformat()
    for measurement in measurements:
        entry = asdict(measurement) | {"machine": where, "commit": which, "date": today}
        kept = [old for old in kept if any(old[key] != entry[key] for key in ("name", "peer", "machine"))] + [entry]
    path.write_text(json.dumps(kept, indent=1) + "\n")


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _synchronised() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()
