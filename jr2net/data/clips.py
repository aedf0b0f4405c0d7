"""Clips for training: random access to frames (``ClipSource``) and endless batches (``ClipLoader``)."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from jr2net.data.augmentation import Framing, draw_gain, frame_image, frame_landmarks
from jr2net.data.cache import ByteBudgetCache
from jr2net.data.mattes import RowMattes, matte_shard, read_matte_group
from jr2net.data.shards import RowEntry, index_shards, list_shards, read_group
from jr2net.data.stream import Draw, Schedule, prefetch
from jr2net.images.arrays import decode_image, decode_matte, shrink, to_tensor, working_width
from jr2net.images.clip import ClipRow
from jr2net.storage.parquet import ShardError


class FrameRef(NamedTuple):
    """Index ``frame`` within row ``row`` of a source."""

    row: int
    frame: int


class ClipSource:
    """Random access to the rows of clip shards; reads metadata at once and images on demand. Thread-safe.

    shards: a folder, a shard, or a list of shards (paths or storage URIs). mattes: folder of the matte shards of clips
    that have no mattes of their own (``data/mattes.py``). cache_bytes: budget of the cache of compressed images; rows
    that do not fit are read again each time.
    """

    def __init__(self, shards: str | Sequence[str], cache_bytes: int = 1 << 30, mattes: str | None = None) -> None:
        names = list_shards(shards) if isinstance(shards, str) else list(shards)
        if not names:
            raise ShardError("clips: an empty list of shards; name at least one")
        self.name = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        self.rows: list[RowEntry] = index_shards(names)
        self.mattes = mattes
        self._groups, self._matte_groups = _group_caches(cache_bytes)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    @property
    def identities(self) -> list[str]:
        """Sorted names of all identities."""
        return sorted({row.identity for row in self.rows})

    @property
    def frame_count(self) -> int:
        return sum(len(row.frames) for row in self.rows)

    def read(self, row: int) -> ClipRow:
        """Reads one row, images still compressed."""
        entry = self.rows[row]
        rows = self._groups.get((entry.shard, entry.group), lambda: read_group(entry.shard, entry.group))
        return rows[entry.position]

    def load_frame(self, row: int, frame: int, width: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Decodes a frame: image (W, W, 3) uint8 RGB and its landmarks (68, 2) in pixels of W.

        W is the stored side, or ``width`` if that is smaller (shrunk by area averaging). Raises ShardError where the
        image is not a square JPEG or PNG.
        """
        entry, clip = self.rows[row], self.read(row)
        stored = decode_image(clip.images[frame])
        if stored is None:
            raise ShardError(
                f"{entry.shard}: clip {entry.clip_id!r}, frame {entry.frames[frame]}: image is not a square JPEG or "
                "PNG; write the shard again"
            )
        image = stored if width is None else shrink(stored, width)
        return image, clip.landmarks[frame] * np.float32(image.shape[0] / stored.shape[0])

    def read_mattes(self, row: int) -> tuple[bytes, ...] | None:
        """The encoded mattes of a row: its own, or those of its matte shard; None if it has neither."""
        entry, own = self.rows[row], self.read(row).matte
        if own is not None or self.mattes is None:
            return own
        uri = matte_shard(self.mattes, entry.shard)
        groups = self._matte_groups.get((uri, entry.group), lambda: read_matte_group(uri, entry.group))
        if entry.position >= len(groups) or not groups[entry.position].belong_to(*entry.clip, entry.frames):
            raise ShardError(f"{uri}: has no mattes of clip {entry.clip_id!r}; run the stage `mattes` again")
        return groups[entry.position].matte

    def load_matte(self, row: int, frame: int, side: int) -> np.ndarray:
        """Decodes the matte (side, side) uint8 of a frame; side: of the frame's image as ``load_frame`` gave it.

        Raises ShardError where the frame has no matte or a damaged one.
        """
        entry, mattes = self.rows[row], self.read_mattes(row)
        name = f"{entry.shard}: clip {entry.clip_id!r}, frame {entry.frames[frame]}"
        if mattes is None:
            raise ShardError(f"{name}: has no matte; the stage `mattes` makes them")
        stored = decode_matte(mattes[frame])
        matte = None if stored is None else shrink(stored, side)
        if matte is None or len(matte) != side:
            raise ShardError(f"{name}: matte is not a PNG of the image's side; run the stage `mattes` again")
        return matte

    def split(self, hold_out: int) -> tuple[ClipSource, ClipSource]:
        """Splits the rows into (training, held-out): one identity in ``hold_out`` is held out, by the hash of its name.

        Raises ShardError where there are fewer than two identities.
        """
        ranked = sorted(self.identities, key=lambda name: hashlib.sha256(name.encode()).digest())
        if len(ranked) < 2:
            raise ShardError(f"{self.name}: holding out identities needs at least two, found {len(ranked)}; add clips")
        held_out = set(ranked[: max(1, round(len(ranked) / hold_out))])
        return self._only(set(ranked) - held_out), self._only(held_out)

    def without(self, identities: Iterable[str]) -> ClipSource:
        """The rows of all other identities. Raises ShardError if there is none."""
        others = set(self.identities) - set(identities)
        if not others:
            raise ShardError(f"{self.name}: every identity is in the test clips too; add clips of other people")
        return self._only(others)

    def with_pairs(self) -> ClipSource:
        """The rows of clips that have two frames or more. Raises ShardError if there is none."""
        frames: Counter[tuple[str, str]] = Counter()
        for row in self.rows:
            frames[row.clip] += len(row.frames)
        paired = self._subset([row for row in self.rows if frames[row.clip] > 1])
        if not paired.rows:
            raise ShardError(f"{self.name}: no clip has two frames, which the training of a reenactor needs; add clips")
        return paired

    def _only(self, identities: set[str]) -> ClipSource:
        return self._subset([row for row in self.rows if row.identity in identities])

    def _subset(self, rows: list[RowEntry]) -> ClipSource:
        subset = object.__new__(ClipSource)
        subset.name, subset.mattes, subset.rows = self.name, self.mattes, rows
        subset._groups, subset._matte_groups = self._groups, self._matte_groups
        return subset

    def __getstate__(self) -> dict:
        return {"name": self.name, "rows": self.rows, "mattes": self.mattes, "cache_bytes": self._groups.budget}

    def __setstate__(self, state: dict) -> None:
        self.name, self.rows, self.mattes = state["name"], state["rows"], state["mattes"]
        self._groups, self._matte_groups = _group_caches(state["cache_bytes"])


class ClipLoader:
    """Endless batches from ``start_step`` on; each sample is a (source, driving) pair of frames of one clip.

    A batch is a dict of
        source_image, driving_image          (B, 3, S, S) float32 RGB in [0, 1]
        source_landmarks, driving_landmarks  (B, 68, 2) float32, pixels of S, NaN where undetected
        source_matte, driving_matte          (B, 1, S, S) float32 in [0, 1], only with ``mattes``
        sample_id                            list of B names, ``clip_id/source frame/driving frame``
        offset                               index of this rank's first sample in the global batch
    where B is this rank's part of the global batch. An epoch uses every frame once as the source; the driving frame is
    another frame of the same clip, in any row, or the source itself if the clip has only one. The global batch of step
    t depends on (seed, t) alone.

    Mirroring and colour gains are drawn per pair, shift, scale and roll per frame; with ``paired_augmentation`` both
    frames share shift, scale and roll, so that their backgrounds stay aligned. ``jitter`` 0 disables everything but
    mirroring. ``mattes`` (clips without them raise ShardError) changes nothing else; they are cropped and mirrored like
    their images. decoded_bytes: budget of the cache of decoded images; those that do not fit are decoded each time.
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
        mattes: bool = False,
        decoded_bytes: int = 1 << 29,
    ) -> None:
        if not len(source):
            raise ShardError(f"{source.name}: no rows to train on")
        self.source, self.seed, self.size, self.start_step = source, seed, size, start_step
        self.jitter, self.paired_augmentation, self.mattes = jitter, paired_augmentation, mattes
        self._row_starts = np.cumsum([0] + [len(entry.frames) for entry in source.rows])
        self._clips = _samples_by_clip(source.rows, self._row_starts)
        self.schedule = Schedule(source.frame_count, batch_size, seed, rank, world)
        self._decoded: ByteBudgetCache[tuple[np.ndarray, ...]] = ByteBudgetCache(
            decoded_bytes, lambda frame: sum(array.nbytes for array in frame)
        )

    def __iter__(self) -> Iterator[dict]:
        return prefetch(self.batch, self.start_step)

    def batch(self, step: int) -> dict:
        """The batch of one step, loaded on the calling thread."""
        samples = [self._sample(draw) for draw in self.schedule.step(step)]
        gains = [sample["gain"] for sample in samples]
        batch: dict = {"sample_id": [sample["sample_id"] for sample in samples], "offset": self.schedule.offset}
        for role in ("source", "driving"):
            batch[f"{role}_image"] = to_tensor([sample[f"{role}_image"] for sample in samples], gains)
            batch[f"{role}_landmarks"] = torch.from_numpy(np.stack([sample[f"{role}_landmarks"] for sample in samples]))
            if self.mattes:
                batch[f"{role}_matte"] = to_tensor([sample[f"{role}_matte"][..., None] for sample in samples])
        return batch

    def _sample(self, draw: Draw) -> dict:
        source = self._frame(draw.sample)
        entry = self.source.rows[source.row]
        rng = np.random.default_rng([self.seed, draw.epoch, draw.sample])
        clip, driving = self._clips[entry.clip], source
        if len(clip) > 1:
            index = int(np.searchsorted(clip, draw.sample))
            driving = self._frame(int(clip[(index + int(rng.integers(1, len(clip)))) % len(clip)]))
        mirrored, gain = bool(rng.integers(2)), draw_gain(rng, self.jitter)
        source_framing, driving_framing = Framing.draw(rng, self.jitter), Framing.draw(rng, self.jitter)
        if self.paired_augmentation:
            driving_framing = source_framing
        numbers = [self.source.rows[ref.row].frames[ref.frame] for ref in (source, driving)]
        sample = {"gain": gain, "sample_id": f"{entry.clip_id}/{numbers[0]}/{numbers[1]}"}
        for role, ref, framing in (("source", source, source_framing), ("driving", driving, driving_framing)):
            image, landmarks, *matte = self._decoded_frame(ref)
            sample[f"{role}_image"] = frame_image(image, framing, mirrored, self.size)
            sample[f"{role}_landmarks"] = frame_landmarks(landmarks, image.shape[0], framing, mirrored, self.size)
            if matte:
                sample[f"{role}_matte"] = frame_image(matte[0], framing, mirrored, self.size)
        return sample

    def _frame(self, sample: int) -> FrameRef:
        row = int(np.searchsorted(self._row_starts, sample, side="right")) - 1
        return FrameRef(row, sample - int(self._row_starts[row]))

    def _decoded_frame(self, ref: FrameRef) -> tuple[np.ndarray, ...]:
        """The decoded frame, a little larger than the batch's images, its landmarks in its pixels and its matte, if
        mattes are asked for."""

        def load() -> tuple[np.ndarray, ...]:
            image, landmarks = self.source.load_frame(*ref, working_width(self.size))
            return image, landmarks, *((self.source.load_matte(*ref, len(image)),) if self.mattes else ())

        return self._decoded.get(ref, load)


def _samples_by_clip(rows: Sequence[RowEntry], row_starts: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
    """Ascending sample indices of each clip's frames; a clip may span several rows."""
    samples: dict[tuple[str, str], list[np.ndarray]] = {}
    for entry, start in zip(rows, row_starts):
        samples.setdefault(entry.clip, []).append(np.arange(start, start + len(entry.frames)))
    return {clip: np.concatenate(indices) for clip, indices in samples.items()}


def _group_caches(budget: int) -> tuple[ByteBudgetCache[list[ClipRow]], ByteBudgetCache[list[RowMattes]]]:
    """Caches of row groups, and of those of matte shards."""
    return (
        ByteBudgetCache(budget, lambda rows: sum(row.encoded_bytes for row in rows)),
        ByteBudgetCache(budget // 2, lambda rows: sum(len(matte) for row in rows for matte in row.matte)),
    )
