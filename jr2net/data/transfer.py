"""Copies of batches to a GPU that go on while it computes."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from jr2net.device import to_device

Batch = dict[str, Any]


class Copied(NamedTuple):
    """A batch on its way; ``event`` is recorded after its last copy, None if there are no copies to wait for."""

    batch: Batch
    event: torch.cuda.Event | None


class Transfer:
    """Copies batches from pinned memory to a CUDA device on a stream of its own; on other devices it leaves them."""

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self._stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

    def begin(self, batch: Batch) -> Copied:
        """Starts to copy a batch; may be called on any thread."""
        if self._stream is None:
            return Copied(batch, None)
        with torch.cuda.stream(self._stream):
            copies = {
                name: to_device(value, self.device) if isinstance(value, Tensor) else value
                for name, value in batch.items()
            }
            return Copied(copies, self._stream.record_event())

    def finish(self, copied: Copied) -> Batch:
        """The batch on the device; what the calling thread computes from now on waits for it, the thread does not."""
        if copied.event is not None:
            computing = torch.cuda.current_stream(self.device)
            computing.wait_event(copied.event)
            for value in copied.batch.values():
                if isinstance(value, Tensor):
                    value.record_stream(computing)
        return copied.batch
