"""What a training tells while it runs: losses and times of every step for the log, a line now and then for people."""

from __future__ import annotations

import time

from jr2net.training import Training
from jr2net.training.log import Record, write_log
from jr2net.training.schedule import learning_rate
from jr2net.training.workers import mean_over_workers


class Progress:
    """Keeps the log of a worker's steps until it is written, and tells rank 0's user how far the training is."""

    INTERVAL = 10.0  # seconds between two lines

    def __init__(self, stage: str, training: Training, rank: int, folder: str) -> None:
        self.stage, self.training, self.rank, self.folder = stage, training, rank, folder
        self.records: list[Record] = []
        self._first = training.step_number
        self._start = self._shown = time.monotonic()
        training.phases.take()
        if rank == 0 and self._first:
            print(f"[{stage}] goes on from step {self._first} of {training.steps}", flush=True)

    def stepped(self, losses: dict[str, float]) -> None:
        training = self.training
        seconds = training.phases.take()
        self.records.append(
            {
                "step": training.step_number,
                "losses": losses,
                "learning_rate": learning_rate(training.step_number - 1, training.settings),
                "images_per_second": round(training.settings.batch_size / sum(seconds.values()), 2),
                "seconds": seconds,
            }
        )
        now = time.monotonic()
        if self.rank == 0 and (now - self._shown > self.INTERVAL or training.step_number == training.steps):
            self._shown = now
            self._show(losses, now - self._start)

    def write(self) -> None:
        """Stores the records since the last call, with the losses of the whole batches. Every worker calls it."""
        losses = mean_over_workers([record["losses"] for record in self.records], self.training.device)
        if self.rank == 0:
            write_log(self.folder, [{**record, "losses": mean} for record, mean in zip(self.records, losses)])
        self.records = []
        self.training.phases.end("report")

    def _show(self, losses: dict[str, float], seconds: float) -> None:
        step, steps = self.training.step_number, self.training.steps
        pace = (step - self._first) / seconds
        rate = pace * self.training.settings.batch_size
        values = " ".join(f"{name} {value:.4g}" for name, value in losses.items())
        left = (steps - step) / pace
        print(
            f"[{self.stage}] step {step} of {steps}, {rate:.0f} images/s, time left {left:.0f} s: {values}", flush=True
        )
