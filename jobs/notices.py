"""What asks a training to save its state: time that has passed, machines that leave, signals, and elastic resizes.

Spot machines are announced to Ray as draining: by ``ray drain-node``, or by ``ray start --block`` when it gets SIGTERM.
"""

from __future__ import annotations

import signal
import threading
import time
from enum import IntEnum
from types import FrameType
from typing import Any

import ray
import ray.train
from ray.exceptions import RayError
from ray.train.v2._internal.execution.callback import ControllerCallback, WorkerCallback, WorkerGroupCallback

from jr2net.training.workers import Vote

LOOK_EVERY_S = 1.0
"""Seconds between two looks for machines that leave; Ray itself looks every 5 s
(``RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S``)."""

STOP_TIMEOUT_S = 120.0
"""How long an elastic resize waits for a step and for its state to be written."""

_stop = threading.Event()
_ended = threading.Event()


class Request(IntEnum):
    """What is asked of the training after a step; the largest of all workers' requests is done."""

    NOTHING = 0
    LOOK = 1
    """Look for machines that leave."""
    SAVE = 2
    """Save the state."""
    STOP = 3
    """Save the state and end."""


class Notices:
    """What the workers of a training agree to do after each step.

    rank: of this worker. save_every_s: seconds after which a state is due, by the clock of worker 0; 0: never.
    """

    def __init__(self, rank: int, save_every_s: float) -> None:
        self._leads, self._save_every_s = rank == 0, save_every_s
        self._vote = Vote()
        self._saved = self._looked = time.monotonic()

    def ask(self) -> None:
        """To be called before each step, by all workers."""
        self._vote.cast(self._request())

    def answer(self) -> Request:
        """To be called after the step: NOTHING, SAVE or STOP, the same on all workers."""
        request = Request(self._vote.result())
        if request == Request.NOTHING:
            return request
        self._looked = time.monotonic()
        if request < Request.STOP and ray.train.get_preemption_info() is not None:
            return Request.STOP
        return Request.NOTHING if request == Request.LOOK else request

    def saved(self) -> None:
        """To be called when a state was taken, for whatever reason."""
        self._saved = time.monotonic()

    def _request(self) -> Request:
        if _stop.is_set():
            return Request.STOP
        if not self._leads:
            return Request.NOTHING
        now = time.monotonic()
        if self._save_every_s and now - self._saved >= self._save_every_s:
            return Request.SAVE
        return Request.LOOK if now - self._looked >= LOOK_EVERY_S else Request.NOTHING


def ended() -> None:
    """To be called at the end of a worker's training: whoever asked it to stop waits no longer."""
    _ended.set()


def stop_and_wait(timeout_s: float) -> bool:
    """Asks the training of this process to save its state and end; returns whether it has, within the time."""
    _stop.set()
    return _ended.wait(timeout_s)


class StopAtSignal(WorkerCallback):
    """SIGTERM makes a worker ask for a state and an end. A second one ends its process."""

    def after_init_train_context(self) -> None:
        self._previous = signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, self._previous)
        _stop.set()


class StateBeforeResize(WorkerGroupCallback, ControllerCallback):
    """Before Ray replaces healthy workers by more or fewer, they save the state of their last step."""

    _group: Any = None

    def after_worker_group_start(self, worker_group: Any) -> None:
        self._group = worker_group

    def after_worker_group_shutdown(self, worker_group_context: Any) -> None:
        self._group = None

    def before_controller_execute_resize_decision(self, resize_decision: Any) -> None:
        status = self._group.get_latest_poll_status() if self._group is not None else None
        if status is None or status.errors or status.finished:
            return
        deadline = time.monotonic() + STOP_TIMEOUT_S
        pending = self._group.execute_async(stop_and_wait, STOP_TIMEOUT_S)
        while pending and time.monotonic() < deadline:
            ready, pending = ray.wait(pending, timeout=deadline - time.monotonic())
            try:
                ray.get(ready)
            except RayError:  # a worker is lost, and the others wait for it in vain
                return
