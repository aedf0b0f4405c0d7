"""Batches that mix samples of several sets in fixed numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from jr2net.data.clips import ClipLoader, ClipSource
from jr2net.data.loader import Batch
from jr2net.data.pairs import PairLoader
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


class MixedPairLoader:
    """Endless batches of pairs of several datasets, of each so many.

    sizes: folder or URI of a dataset -> its samples in the global batch. A batch is as ``PairLoader`` makes it; other
    arguments are those of ``PairLoader``. Every worker has its part of each dataset.
    """

    def __init__(self, sizes: Mapping[str, int], **arguments: Any) -> None:
        self._loaders = [PairLoader(folder, batch_size=size, **arguments) for folder, size in sizes.items()]

    def __iter__(self) -> Iterator[Batch]:
        streams = [iter(loader) for loader in self._loaders]
        try:
            for parts in zip(*streams):
                yield _joined_pairs(parts)
        finally:
            for stream in streams:
                stream.close()  # type: ignore[attr-defined]

    def batch(self, step: int) -> Batch:
        """The batch of one step, made on the calling thread."""
        return _joined_pairs([loader.batch(step) for loader in self._loaders])


def _joined_pairs(parts: Sequence[Batch]) -> Batch:
    return {
        "image": torch.cat([part["image"] for part in parts]),
        "expression": torch.cat([part["expression"] for part in parts]),
        "keypoints": torch.cat([part["keypoints"] for part in parts]),
        "pair_id": [pair_id for part in parts for pair_id in part["pair_id"]],
    }
