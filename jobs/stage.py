"""Runs one stage of a cascade unless it is done already, and writes its manifest when it is finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from jr2net.run import manifest
from jr2net.run.cascade import Run

Work = Callable[[Run], Iterable[str]]
"""Does a stage's work and returns the files it made, as paths in the stage's folder."""


def run_stage(run: Run, stage: str, work: Work) -> None:
    folder, inputs = run.folder(stage), run.inputs(stage)
    if manifest.is_done(folder, inputs):
        print(f"[{stage}] done already: {folder}", flush=True)
        return
    print(f"[{stage}] begins: {folder}", flush=True)
    start = time.monotonic()
    manifest.begin(folder, inputs)
    outputs = work(run)
    finished = manifest.finish(folder, inputs, outputs, time.monotonic() - start)
    print(f"[{stage}] finished in {finished.seconds:.0f} s", flush=True)
