"""TensorBoard log of a training: losses, learning rate, throughput, seconds per phase and sample images.

Show it with ``tensorboard --logdir RUN/recnet/tensorboard``. In a folder there is one event file per process. An object
of S3 cannot be appended to: there every write makes an event file of its own, and TensorBoard reads them in order.
TensorBoard is optional: without it a training says so once and writes no such files.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from jr2net import storage
from jr2net.training.log import Record, scalars

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"
_REMEDY = "pip install 'jr2net[cluster]' (the log has every step all the same)"


class Board:
    """Writes event files to ``tensorboard/`` of a stage's folder or URI, on a thread of its own.

    first_step: the first one to write. A failed write raises in the next call.
    """

    def __init__(self, folder: str, first_step: int) -> None:
        self._uri = storage.join(folder, FOLDER)
        # After a resume, steps of the killed process are written again; TensorBoard discards the old ones.
        self._purge_step: int | None = first_step
        self._started_ns = time.time_ns()
        self._writer: SummaryWriter | None = None
        self._installed: bool | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="board")
        self._write: Future[None] | None = None

    def write(self, records: Sequence[Record], images: dict[int, Tensor]) -> None:
        """Writes them after the previous ones; the caller leaves them alone from then on.

        records: see ``jr2net.training.log``; images: step -> (3, H, W) in [0, 1].
        """
        if self._installed is None:
            self._installed = importlib.util.find_spec("tensorboard") is not None
            if not self._installed:
                print(f"[tensorboard] not installed, so nothing goes to {self._uri}: {_REMEDY}", flush=True)
        if self._installed and records:
            self.finish()
            store = self._store_object if storage.is_remote(self._uri) else self._append
            self._write = self._pool.submit(store, records, images)

    def finish(self) -> None:
        """Waits until everything is written."""
        if self._write is not None:
            write, self._write = self._write, None
            write.result()

    def _append(self, records: Sequence[Record], images: dict[int, Tensor]) -> None:
        if self._writer is None:
            self._writer = self._open(self._uri.removeprefix("file://"))
        _add(self._writer, records, images)
        self._writer.flush()

    def _store_object(self, records: Sequence[Record], images: dict[int, Tensor]) -> None:
        with tempfile.TemporaryDirectory(prefix="jr2net-board-") as temporary:
            writer = self._open(temporary)
            _add(writer, records, images)
            writer.close()
            (file,) = Path(temporary).iterdir()
            # TensorBoard reads the files of a folder in the order of their names: process by process, step by step.
            name = f"events.out.tfevents.{self._started_ns}.{records[0]['step']:08d}"
            storage.write_bytes(storage.join(self._uri, name), file.read_bytes())

    def _open(self, folder: str) -> SummaryWriter:
        from torch.utils.tensorboard import SummaryWriter  # slow import

        purge_step, self._purge_step = self._purge_step, None
        return SummaryWriter(folder, purge_step=purge_step)


def _add(writer: SummaryWriter, records: Sequence[Record], images: dict[int, Tensor]) -> None:
    for record in records:
        for name, value in scalars(record).items():
            writer.add_scalar(name, value, record["step"])
    for step, image in images.items():
        writer.add_image("pictures", image, step)
