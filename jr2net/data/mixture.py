"""Batches that mix clips with clips of synthesised images, in fixed numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from jr2net.data.clips import ClipLoader, ClipSource
from jr2net.data.loader import Batch
from jr2net.face.arkit import ARKIT_NAMES


class MixedLoader:
    """Endless batches of ``batch_size - synthesised`` samples of clips, then ``synthesised`` of synthesised images.

    A batch is as ``ClipLoader`` makes it, with two more entries:
        position                               (B,) int64, index of each sample in the global batch
        source_expression, driving_expression  (B, 51) float32, NaN for clips
    Every worker has its part of both. Other arguments are those of ``ClipLoader``.
    """

    def __init__(
        self, clips: ClipSource, images: ClipSource, *, batch_size: int, synthesised: int, **arguments: Any
    ) -> None:
        self._first = batch_size - synthesised
        self._clips = ClipLoader(clips, batch_size=self._first, **arguments)
        self._images = ClipLoader(images, batch_size=synthesised, expressions=True, **arguments)

    def __iter__(self) -> Iterator[Batch]:
        clips, images = iter(self._clips), iter(self._images)
        try:
            for parts in zip(clips, images):
                yield self._joined(parts)
        finally:
            clips.close()  # type: ignore[attr-defined]
            images.close()  # type: ignore[attr-defined]

    def batch(self, step: int) -> Batch:
        """The batch of one step, made on the calling thread."""
        return self._joined((self._clips.batch(step), self._images.batch(step)))

    def _joined(self, parts: Sequence[Batch]) -> Batch:
        clips, images = (
            part | {"position": first + part["offset"] + torch.arange(len(part["sample_id"]))}
            for part, first in zip(parts, (0, self._first))
        )
        unknown = torch.full((len(clips["sample_id"]), len(ARKIT_NAMES)), torch.nan)
        clips |= {f"{role}_expression": unknown.to(clips["source_image"].device) for role in ("source", "driving")}
        return {
            name: torch.cat([value, images[name]]) if isinstance(value, Tensor) else value + images[name]
            for name, value in clips.items()
            if name != "offset"
        }
