"""What a training tells while it runs: times and losses of every step for the log, a line now and then for people."""

from __future__ import annotations

import time

from jr2net.training import Training
from jr2net.training.log import Record
from jr2net.training.schedule import learning_rate


class Progress:
    """Times a worker's phases, keeps the log of the steps since the last saving, and tells rank 0's user."""

    INTERVAL = 10.0  # seconds between two lines

    def __init__(self, stage: str, training: Training, rank: int) -> None:
        self.stage, self.training, self.rank = stage, training, rank
        self.records: list[Record] = []
        self._first, self._start = training.step_number, time.monotonic()
        self._shown = self._mark = self._start
        self._seconds: dict[str, float] = {}
        if rank == 0 and self._first:
            print(f"[{stage}] goes on from step {self._first} of {training.steps}", flush=True)

    def waited(self) -> None:
        self._lap("data")

    def stepped(self, losses: dict[str, float]) -> None:
        self._lap("step")
        training, settings = self.training, self.training.settings
        seconds = sum(self._seconds.values())
        self.records.append(
            {
                "step": training.step_number,
                "losses": losses,
                "learning_rate": learning_rate(training.step_number - 1, settings),
                "images_per_second": round(settings.batch_size / seconds, 2),
                "seconds": self._seconds,
            }
        )
        self._seconds = {}
        if self.rank == 0 and (self._mark - self._shown > self.INTERVAL or training.step_number == training.steps):
            self._shown = self._mark
            self._show(losses)

    def saved(self) -> None:
        self._lap("report")
        self.records = []

    def _lap(self, phase: str) -> None:
        now = time.monotonic()
        self._seconds[phase] = round(self._seconds.get(phase, 0.0) + now - self._mark, 5)
        self._mark = now

    def _show(self, losses: dict[str, float]) -> None:
        step, steps = self.training.step_number, self.training.steps
        pace = (step - self._first) / (self._mark - self._start)
        rate = pace * self.training.settings.batch_size
        values = " ".join(f"{name} {value:.4g}" for name, value in losses.items())
        left = (steps - step) / pace
        print(
            f"[{self.stage}] step {step} of {steps}, {rate:.0f} images/s, time left {left:.0f} s: {values}", flush=True
        )
