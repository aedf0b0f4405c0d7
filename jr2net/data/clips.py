"""Clips for training: where they lie (``ClipSource``) and the endless stream of batches (``ClipLoader``)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from jr2net.data.augmentation import Framing, draw_gain, frame_image, frame_landmarks
from jr2net.data.cache import KeepWhileFits
from jr2net.data.shards import RowEntry, index_shards, list_shards, read_group
from jr2net.data.stream import Draw, Schedule, prefetch
from jr2net.images import arrays as pictures
from jr2net.images.arrays import decode_image
from jr2net.images.clip import ClipRow
from jr2net.storage.parquet import ShardError


class FrameRef(NamedTuple):
    """Frame number ``frame`` of row ``row`` of a source."""

    row: int
    frame: int


class ClipSource:
    """The rows of some clip shards, found by metadata and read on demand; safe to share between threads.

    shards: a folder, a shard, or a list of shards (paths or storage URIs). cache_bytes: compressed images kept in
    memory; the rest is read again each time.
    """

    def __init__(self, shards: str | Sequence[str], cache_bytes: int = 1 << 30) -> None:
        names = list_shards(shards) if isinstance(shards, str) else list(shards)
        if not names:
            raise ShardError("clips: an empty list of shards; name at least one")
        self.name = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        self.rows: list[RowEntry] = index_shards(names)
        self._groups = _group_cache(cache_bytes)

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    @property
    def identities(self) -> list[str]:
        """Everybody who appears, sorted."""
        return sorted({row.identity for row in self.rows})

    @property
    def frame_count(self) -> int:
        return sum(len(row.frames) for row in self.rows)

    def read(self, row: int) -> ClipRow:
        """One row, its images still compressed."""
        entry = self.rows[row]
        rows = self._groups.get((entry.shard, entry.group), lambda: read_group(entry.shard, entry.group))
        return rows[entry.position]

    def picture(self, row: int, frame: int, width: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Frame ``frame`` of a row: image (W, W, 3) uint8 RGB and its landmarks (68, 2) in pixels of W.

        W is the stored side, or ``width`` where that is smaller (shrunk by area).
        """
        entry, clip = self.rows[row], self.read(row)
        stored = decode_image(clip.images[frame])
        if stored is None:
            raise ShardError(
                f"{entry.shard}: clip {entry.clip_id!r}, frame {entry.frames[frame]}: image is not a square JPEG or "
                "PNG; write the shard again"
            )
        image = stored if width is None else pictures.shrink(stored, width)
        return image, clip.landmarks[frame] * np.float32(image.shape[0] / stored.shape[0])

    def split(self, hold_out: int) -> tuple[ClipSource, ClipSource]:
        """(training, held-out) rows: one identity in ``hold_out`` is held out, chosen by the hash of its name."""
        ranked = sorted(self.identities, key=lambda name: hashlib.sha256(name.encode()).digest())
        if len(ranked) < 2:
            raise ShardError(f"{self.name}: holding out identities needs at least two, found {len(ranked)}; add clips")
        held_out = set(ranked[: max(1, round(len(ranked) / hold_out))])
        return self._only(set(ranked) - held_out), self._only(held_out)

    def _only(self, identities: set[str]) -> ClipSource:
        part = object.__new__(ClipSource)
        part.name, part._groups = self.name, self._groups
        part.rows = [row for row in self.rows if row.identity in identities]
        return part

    def __getstate__(self) -> dict:
        return {"name": self.name, "rows": self.rows, "cache_bytes": self._groups.budget}

    def __setstate__(self, state: dict) -> None:
        self.name, self.rows = state["name"], state["rows"]
        self._groups = _group_cache(state["cache_bytes"])


class ClipLoader:
    """Batches of (source, driving) frames of one clip each, without end, from ``start_step`` on.

    A batch is a dict of
        source_image, driving_image          (B, 3, S, S) float32 RGB in [0, 1]
        source_landmarks, driving_landmarks  (B, 68, 2) float32, pixels of S, NaN where undetected
        sample_id                            list of B names, ``clip_id/source frame/driving frame``
        offset                               number of this rank's first sample in the global batch
    with B this rank's share of the global batch. An epoch takes every frame once as the source; its driving frame is
    another frame of the clip, whatever row it lies in, or itself where the clip has only one. What step t holds depends
    on (seed, t) alone.

    Mirror and colours are drawn for the pair, shift, scale and roll for each frame; ``paired_augmentation`` gives both
    frames the same shift, scale and roll too, so that their background stays where it is. ``jitter`` 0 switches
    everything but the mirror off. decoded_bytes: memory for decoded pictures; what does not fit is decoded each time.
    """

    def __init__(
        self,
        source: ClipSource,
        *,
        seed: int,
        batch_size: int,
        size: int,
        rank: int = 0,
        world: int = 1,
        start_step: int = 0,
        jitter: float = 0.1,
        paired_augmentation: bool = False,
        decoded_bytes: int = 1 << 29,
    ) -> None:
        if not len(source):
            raise ShardError(f"{source.name}: no rows to train on")
        self.source, self.seed, self.size, self.start_step = source, seed, size, start_step
        self.jitter, self.paired_augmentation = jitter, paired_augmentation
        self._row_starts = np.cumsum([0] + [len(entry.frames) for entry in source.rows])
        self._clips = _samples_by_clip(source.rows, self._row_starts)
        self.schedule = Schedule(source.frame_count, batch_size, seed, rank, world)
        self._decoded: KeepWhileFits[tuple[np.ndarray, np.ndarray]] = KeepWhileFits(
            decoded_bytes, lambda kept: kept[0].nbytes + kept[1].nbytes
        )

    def __iter__(self) -> Iterator[dict]:
        return prefetch(self.batch, self.start_step)

    def batch(self, step: int) -> dict:
        """The batch of one step, made on the calling thread."""
        samples = [self._sample(draw) for draw in self.schedule.step(step)]
        gains = [sample["gain"] for sample in samples]
        batch: dict = {"sample_id": [sample["sample_id"] for sample in samples], "offset": self.schedule.offset}
        for role in ("source", "driving"):
            batch[f"{role}_image"] = pictures.to_tensor([sample[f"{role}_image"] for sample in samples], gains)
            batch[f"{role}_landmarks"] = torch.from_numpy(np.stack([sample[f"{role}_landmarks"] for sample in samples]))
        return batch

    def _sample(self, draw: Draw) -> dict:
        source = self._frame(draw.sample)
        entry = self.source.rows[source.row]
        rng = np.random.default_rng([self.seed, draw.epoch, draw.sample])
        clip, driving = self._clips[entry.clip_id], source
        if len(clip) > 1:
            place = int(np.searchsorted(clip, draw.sample))
            driving = self._frame(int(clip[(place + int(rng.integers(1, len(clip)))) % len(clip)]))
        mirrored, gain = bool(rng.integers(2)), draw_gain(rng, self.jitter)
        source_framing, driving_framing = Framing.draw(rng, self.jitter), Framing.draw(rng, self.jitter)
        if self.paired_augmentation:
            driving_framing = source_framing
        numbers = [self.source.rows[ref.row].frames[ref.frame] for ref in (source, driving)]
        sample = {"gain": gain, "sample_id": f"{entry.clip_id}/{numbers[0]}/{numbers[1]}"}
        for role, ref, framing in (("source", source, source_framing), ("driving", driving, driving_framing)):
            image, landmarks = self._working_picture(ref)
            sample[f"{role}_image"] = frame_image(image, framing, mirrored, self.size)
            sample[f"{role}_landmarks"] = frame_landmarks(landmarks, image.shape[0], framing, mirrored, self.size)
        return sample

    def _frame(self, sample: int) -> FrameRef:
        row = int(np.searchsorted(self._row_starts, sample, side="right")) - 1
        return FrameRef(row, sample - int(self._row_starts[row]))

    def _working_picture(self, ref: FrameRef) -> tuple[np.ndarray, np.ndarray]:
        """The decoded frame, a little larger than the batch's pictures, and its landmarks in its pixels."""
        width = pictures.working_width(self.size)
        return self._decoded.get(ref, lambda: self.source.picture(*ref, width))


def _samples_by_clip(rows: Sequence[RowEntry], row_starts: np.ndarray) -> dict[str, np.ndarray]:
    """The numbers of every clip's frames among all frames, ascending; a clip may lie in several rows."""
    parts: dict[str, list[np.ndarray]] = {}
    for entry, start in zip(rows, row_starts):
        parts.setdefault(entry.clip_id, []).append(np.arange(start, start + len(entry.frames)))
    return {clip_id: np.concatenate(numbers) for clip_id, numbers in parts.items()}


def _group_cache(budget: int) -> KeepWhileFits[list[ClipRow]]:
    return KeepWhileFits(budget, lambda rows: sum(len(image) for row in rows for image in row.images))
