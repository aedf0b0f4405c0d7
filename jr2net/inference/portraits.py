"""What a reenactor computes of a portrait alone, kept for its next images (``render.scene``)."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

_CAPACITY = 2**28


class PortraitCodes:
    """Codes of source images, by the image: the latest ones, up to ``capacity`` bytes. Usable from several threads."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self.capacity = capacity
        self._codes: OrderedDict[bytes, Any] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def of(self, crops: Sequence[np.ndarray], images: Tensor, encode: Callable[[Tensor], Any]) -> Any:
        """The codes of a batch, those of new portraits made by ``encode``; None where there are none.

        crops: what identifies each portrait; images (B, 3, S, S): the same as the network sees them.
        """
        keys = [image_key(crop) for crop in crops]
        with self._lock:
            known = {key: self._codes[key] for key in keys if key in self._codes}
        new = {key: index for index, key in reversed(list(enumerate(keys))) if key not in known}
        if new:
            codes = encode(torch.stack([images[index].contiguous() for index in new.values()]))
            if codes is None:
                return None
            for row, key in enumerate(new):
                known[key] = codes.row(row)
        self._keep(known)
        first, *others = (known[key] for key in keys)
        return first.concatenate(*others)

    def _keep(self, codes: dict[bytes, Any]) -> None:
        """Remembers the codes as the latest ones, and forgets the oldest beyond the capacity."""
        with self._lock:
            for key, code in codes.items():
                if key not in self._codes:
                    self._bytes += code.nbytes
                self._codes[key] = code
                self._codes.move_to_end(key)
            while self._bytes > self.capacity:
                self._bytes -= self._codes.popitem(last=False)[1].nbytes


def image_key(image: np.ndarray) -> bytes:
    """A digest of an image's size and pixels."""
    return hashlib.sha256(str(image.shape).encode() + np.ascontiguousarray(image).tobytes()).digest()
