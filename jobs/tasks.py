"""Waiting for many Ray tasks: each is looked at once, when it ends, however many there are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import as_completed
from typing import Any

import ray

from jr2net.config import ScalingConfig
from jr2net.run.forecast import time_left

INTERVAL = 10.0  # seconds between two lines of progress


def on_cpu_machines(task: Any, scaling: ScalingConfig) -> Any:
    """The Ray task with the resources that keep it on CPU machines: one core and `scaling.resources_per_task`."""
    return task.options(num_cpus=1, resources=scaling.resources_per_task)


def wait_for_all(tasks: Sequence[ray.ObjectRef], stage: str, done: str, after: float | None = None) -> list[Any]:
    """Results of all tasks in order; prints progress every 10 s and cancels all tasks on the first error.

    done: what has become of the shards that are counted, e.g. "filmed". after: seconds that the stages behind this one
    will take, if known.
    """
    futures = {task.future(): task for task in tasks}
    start = printed = time.monotonic()
    for finished, future in enumerate(as_completed(futures), start=1):
        try:
            future.result()
        except Exception:
            for other, task in futures.items():
                if not other.done():
                    ray.cancel(task, force=True)
            raise
        if (now := time.monotonic()) - printed > INTERVAL:
            printed = now
            left = time_left((now - start) * (len(tasks) - finished) / finished, after)
            print(f"[{stage}] {finished} of {len(tasks)} shards {done}, {left}", flush=True)
    return [future.result() for future in futures]
