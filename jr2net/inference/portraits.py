"""What depends on a source photo alone, kept for its next images: its face's rendering and the network's code."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import torch

from jr2net.inference.messages import FaceArrays
from jr2net.render.renderer import Rendering

_CAPACITY = 2**28


@dataclass(frozen=True)
class Portrait:
    """A batch of source crops and their faces.

    rendering  of the faces
    code       what the network computes of the crops (``render.scene``); None if it gains nothing by it
    """

    rendering: Rendering
    code: Any = None

    def row(self, index: int) -> Portrait:
        """A copy of one of the batch, as a batch of one."""
        position = torch.tensor([index], device=self.rendering.vertices.device)
        return Portrait(self.rendering.take(position), None if self.code is None else self.code.row(index))

    def concatenate(self, others: Sequence[Portrait]) -> Portrait:
        """This batch and others as one."""
        code = None if self.code is None else self.code.concatenate(*(other.code for other in others))
        return Portrait(self.rendering.concatenate([other.rendering for other in others]), code)

    @property
    def nbytes(self) -> int:
        return self.rendering.nbytes + (0 if self.code is None else self.code.nbytes)


class Portraits:
    """The latest portraits by key, up to ``capacity`` bytes. Usable from several threads."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self.capacity = capacity
        self._portraits: OrderedDict[bytes, Portrait] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def of(self, keys: Sequence[bytes], make: Callable[[list[int]], Portrait]) -> Portrait:
        """The portraits of a batch, by their keys; ``make`` is given the places in the batch of those that are new."""
        with self._lock:
            known = {key: self._portraits[key] for key in keys if key in self._portraits}
        new = {key: place for place, key in reversed(list(enumerate(keys))) if key not in known}
        if new:
            made = make(list(new.values()))
            known |= {key: made.row(row) for row, key in enumerate(new)}
        self._keep(known)
        first, *others = (known[key] for key in keys)
        return first.concatenate(others)

    def _keep(self, portraits: dict[bytes, Portrait]) -> None:
        """Remembers the portraits as the latest ones, and forgets the oldest beyond the capacity."""
        with self._lock:
            for key, portrait in portraits.items():
                if key not in self._portraits:
                    self._bytes += portrait.nbytes
                self._portraits[key] = portrait
                self._portraits.move_to_end(key)
            while self._bytes > self.capacity:
                self._bytes -= self._portraits.popitem(last=False)[1].nbytes


def portrait_key(crop: np.ndarray, face: FaceArrays) -> bytes:
    """A digest of a crop and the parameters of its face."""
    digest = hashlib.sha256()
    for name, array in (("crop", crop), *sorted(face.items())):
        digest.update(f"{name} {array.dtype} {array.shape} ".encode() + np.ascontiguousarray(array).tobytes())
    return digest.digest()
