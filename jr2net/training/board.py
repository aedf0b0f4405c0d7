"""TensorBoard log of a training: losses, learning rate, throughput, seconds per phase and sample images.

Show it with ``tensorboard --logdir RUN/recnet/tensorboard``. For a run on S3 the files are uploaded there.
TensorBoard is optional: without it a training says so once and writes no such files.
``tensorboard --logdir RUN/recnet/tensorboard``; for a run on S3 the same files lie there. TensorBoard is optional:
without it a training says so once and writes no such files.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from jr2net import storage
from jr2net.training.log import Record

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"
_REMEDY = "pip install 'jr2net[cluster]' (the log has every step all the same)"


class Board:
    """Writes event files to ``tensorboard/`` of a stage's folder or URI; ``first_step``: the first one to write."""

    def __init__(self, folder: str, first_step: int) -> None:
        self._uri, self._first_step = storage.join(folder, FOLDER), first_step
        self._writer: SummaryWriter | None = None
        self._local: Path
        self._installed: bool | None = None

    def write(self, records: Sequence[Record], images: dict[int, Tensor]) -> None:
        """records: see ``jr2net.training.log``; images: step -> (3, H, W) in [0, 1]."""
        if self._installed is None:
            self._installed = importlib.util.find_spec("tensorboard") is not None
            if not self._installed:
                print(f"[tensorboard] not installed, so nothing goes to {self._uri}: {_REMEDY}", flush=True)
        if not self._installed:
            return
        writer = self._writer or self._open()
        for record in records:
            step = record["step"]
            scalars = {f"loss/{term}": value for term, value in record["losses"].items()}
            scalars |= {f"validation/{term}": value for term, value in record.get("validation", {}).items()}
            scalars |= {f"seconds/{phase}": value for phase, value in record["seconds"].items()}
            scalars |= {name: record[name] for name in ("learning_rate", "images_per_second")}
            for name, value in scalars.items():
                writer.add_scalar(name, value, step)
        for step, image in images.items():
            writer.add_image("pictures", image, step)
        writer.flush()
        if storage.is_remote(self._uri):
            storage.upload_folder(self._local, self._uri)

    def _open(self) -> SummaryWriter:
        from torch.utils.tensorboard import SummaryWriter  # slow import

        remote = storage.is_remote(self._uri)
        self._local = Path(tempfile.mkdtemp(prefix="jr2net-board-") if remote else self._uri.removeprefix("file://"))
        # After a resume, steps of the killed process are written again; TensorBoard discards the old ones.
        self._writer = SummaryWriter(str(self._local), purge_step=self._first_step)
        return self._writer
