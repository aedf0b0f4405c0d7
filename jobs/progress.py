"""Logging of a training: every step to the log, TensorBoard and Ray's metrics; progress to stdout every 10 s."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from ray.util import metrics
from torch import Tensor

from jobs.gauges import LastingGauges
from jr2net import storage
from jr2net.images.arrays import encode_jpeg, to_arrays
from jr2net.run.forecast import time_left
from jr2net.training import Training
from jr2net.training.board import Board
from jr2net.training.guard import collapse_warning
from jr2net.training.log import Record, scalars, write_log
from jr2net.training.training import Batch
from jr2net.training.workers import mean_over_workers, world_size


class Watched:
    """What Prometheus sees of a training, from worker 0, until ``close``. ``docs/watching.md`` describes every metric.

    step: with which it begins. planned: step that ends it.
    """

    def __init__(self, stage: str, step: int, planned: int, workers: int) -> None:
        self.taken = metrics.Counter("jr2net_training_steps", "steps taken", ("stage",))
        self.seconds = metrics.Counter("jr2net_training_seconds", "time spent", ("stage", "phase"))
        self.step = metrics.Gauge("jr2net_training_step", "number of the last step", ("stage",))
        self.planned = metrics.Gauge("jr2net_training_planned_steps", "number of the step that ends it", ("stage",))
        self.workers = metrics.Gauge("jr2net_training_workers", "workers that train", ("stage",))
        self.loss = metrics.Gauge("jr2net_training_loss", "newest losses, logged or validated", ("stage", "term"))
        self.state_time = metrics.Gauge("jr2net_training_state_time", "when a state was last taken, Unix s", ("stage",))
        every = (self.taken, self.seconds, self.step, self.planned, self.workers, self.loss, self.state_time)
        for metric in every:
            metric.set_default_tags({"stage": stage})
        self.gauges = LastingGauges()
        self.gauges.set(self.step, step)
        self.gauges.set(self.planned, planned)
        self.gauges.set(self.workers, workers)
        self.set_state_time()  # the first state has as much time as the others

    def add_step(self, number: int, seconds: dict[str, float]) -> None:
        """seconds: by phase."""
        self.taken.inc()
        self.gauges.set(self.step, number)
        for phase, spent in seconds.items():
            self.seconds.inc(max(spent, 1e-9), {"phase": phase})

    def set_losses(self, scalars: dict[str, float]) -> None:
        """scalars: by the names of the log, e.g. ``loss/landmark``."""
        for name, value in scalars.items():
            if name.startswith(("loss/", "validation/")):
                self.gauges.set(self.loss, value, {"term": name})

    def set_state_time(self) -> None:
        """To be called when a state was taken."""
        self.gauges.set(self.state_time, time.time())

    def close(self) -> None:
        """The gauges go; the counters stay."""
        self.gauges.close()


@contextmanager
def wants_workers(stage: str, workers: int) -> Iterator[None]:
    """Lets Prometheus see, from the driver, that a training asks for so many workers, or at least for so many."""
    gauge = metrics.Gauge("jr2net_training_wanted_workers", "workers that a training asks for", ("stage",))
    with closing(LastingGauges()) as gauges:
        gauges.set(gauge, workers, {"stage": stage})
        yield


class Progress:
    """Collects the log records of a worker; rank 0 prints progress and writes records and sample images.

    folder: of the stage. after: seconds that the stages behind it will take, if known. metrics: the newest
    values of all numbers in the log, up to the last ``write``. To be closed when the worker ends, however it does.
    """

    INTERVAL = 10.0  # seconds between two lines of progress

    def __init__(self, stage: str, training: Training, rank: int, folder: str, after: float | None = None) -> None:
        self.stage, self.training, self.rank, self.folder, self.after = stage, training, rank, folder, after
        self._records: list[Record] = []
        self._images: dict[int, Tensor] = {}
        self.metrics: dict[str, float] = {}
        self._board = Board(folder, training.step_number + 1)
        self._first = training.step_number
        self._start = self._printed = time.monotonic()
        training.phases.take()
        self._watched = Watched(stage, self._first, training.steps, world_size()) if rank == 0 else None
        if rank == 0 and self._first:
            workers = "1 worker" if world_size() == 1 else f"{world_size()} workers"
            print(f"[{stage}] resumes from step {self._first} of {training.steps} on {workers}", flush=True)

    def log_step(self, losses: dict[str, float]) -> None:
        """Records the step that the training has just taken; ``losses`` are this worker's."""
        training = self.training
        seconds = training.phases.take()
        self._records.append(
            {
                "step": training.step_number,
                "losses": losses,
                "learning_rate": training.rate(training.step_number - 1),
                "images_per_second": round(training.settings.batch_size / max(sum(seconds.values()), 1e-6), 2),
                "seconds": seconds,
            }
        )
        if self._watched:
            self._watched.add_step(training.step_number, seconds)
        now = time.monotonic()
        if self.rank == 0 and (now - self._printed > self.INTERVAL or training.step_number == training.steps):
            self._printed = now
            self._print(losses, now - self._start)

    def log_validation(self, losses: dict[str, float]) -> None:
        """Adds the validation losses after the last step to its record."""
        self._records[-1]["validation"] = losses
        self.training.phases.end("report")

    def save_images(self, batch: Batch) -> None:
        """Saves sample outputs of the networks for ``batch``, to the stage's folder and for TensorBoard."""
        if self.rank == 0 and (images := self.training.sample_images(batch)) is not None:
            step = self.training.step_number
            content = encode_jpeg(to_arrays(images[None])[0])
            storage.write_bytes(storage.join(self.folder, "pictures", f"{step:08d}.jpg"), content)
            self._images[step] = images.cpu()
        self.training.phases.end("report")

    def write(self) -> None:
        """Writes the records since the last call, with losses averaged over workers. Every worker must call it."""
        losses = mean_over_workers([record["losses"] for record in self._records], self.training.device)
        records = [{**record, "losses": mean} for record, mean in zip(self._records, losses)]
        for record in records:
            self.metrics |= {"step": record["step"], **scalars(record)}
        if self._watched:
            self._watched.set_losses(self.metrics)
        if self.rank == 0 and records:
            if warning := collapse_warning(records):
                records[-1]["warning"] = warning
                print(f"[{self.stage}] warning: {warning}", flush=True)
            write_log(self.folder, records)
            self._board.write(records, self._images)
        self._records, self._images = [], {}
        self.training.phases.end("report")

    def saved(self) -> None:
        """Takes note that a state was taken."""
        if self._watched:
            self._watched.set_state_time()

    def finish(self, message: str = "") -> None:
        """Waits until everything is written; prints ``message``, if there is one."""
        self._board.finish()
        if message and self.rank == 0:
            print(f"[{self.stage}] {message}", flush=True)

    def close(self) -> None:
        """Prometheus loses sight of the training."""
        if self._watched:
            self._watched.close()

    def _print(self, losses: dict[str, float], seconds: float) -> None:
        step, steps = self.training.step_number, self.training.steps
        steps_per_second = (step - self._first) / seconds
        rate = steps_per_second * self.training.settings.batch_size
        values = " ".join(f"{name} {value:.4g}" for name, value in losses.items())
        left = time_left((steps - step) / steps_per_second, self.after)
        print(f"[{self.stage}] step {step} of {steps}, {rate:.0f} images/s, {left}: {values}", flush=True)
