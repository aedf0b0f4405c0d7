"""Runs one stage of the cascade, unless it has finished already, and writes its manifest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from jobs.machines import wait_for_machines
from jr2net.run import manifest
from jr2net.run.cascade import Run
from jr2net.run.environment import duration
from jr2net.run.stage import begin

StageFunction = Callable[[Run], Iterable[str]]
"""Runs a stage and returns the paths of its output files, relative to the stage's folder."""


def run_stage(run: Run, stage: str, stage_function: StageFunction) -> float | None:
    """Runs ``stage_function`` and returns the seconds it took, or None if the stage had finished.

    Raises StageError where its files have other inputs, or where the cluster has no room for it.
    """
    folder, inputs = run.folder(stage), begin(run, stage)
    if inputs is None:
        print(f"[{stage}] already done: {folder}", flush=True)
        return None
    wait_for_machines(run.config, stage)
    print(f"[{stage}] started: {folder}", flush=True)
    start = time.monotonic()
    outputs = stage_function(run)
    finished = manifest.finish(folder, inputs, outputs, time.monotonic() - start)
    print(f"[{stage}] finished in {duration(finished.seconds)}", flush=True)
    return finished.seconds
