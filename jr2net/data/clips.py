"""Clips for training: random access to frames (``ClipSource``) and endless batches (``ClipLoader``)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from jr2net.data.augmentation import Framing, draw_gain, frame_image, frame_landmarks
from jr2net.data.cache import ByteBudgetCache
from jr2net.data.index import ClipIndex, index_shards
from jr2net.data.lanes import SHUFFLE_BYTES, Draw
from jr2net.data.loader import Batch, LaneLoader
from jr2net.data.mattes import RowMattes, matte_shard, matte_shards, parse_mattes, read_matte_group, row_mattes
from jr2net.data.runs import RUN_BYTES, ClipRuns
from jr2net.data.shards import COLUMNS, EXPRESSION, list_shards, parse_rows, read_group
from jr2net.data.shares import repeated_runs
from jr2net.face.arkit import MIRROR_ORDER
from jr2net.images.arrays import decode_image, decode_matte, shrink, to_tensor, working_width
from jr2net.images.clip import ClipRow
from jr2net.storage.open_shards import OpenShards
from jr2net.storage.parquet import ShardError


class FrameRef(NamedTuple):
    """Index ``frame`` within row ``row`` of a source."""

    row: int
    frame: int


class ClipSource:
    """Random access to the rows of clip shards; reads metadata at once and images on demand. Thread-safe.

    shards: a folder, a shard, or a list of shards (paths or storage URIs). mattes: folder of the matte shards of clips
    that have no mattes of their own (``data/mattes.py``). index: file of the folder's index (``data/index.py``); if it
    is None, every shard is opened. cache_bytes: budget of the cache of compressed images; rows that do not fit are read
    again each time.
    """

    def __init__(
        self,
        shards: str | Sequence[str],
        cache_bytes: int = 1 << 30,
        mattes: str | None = None,
        index: str | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        if index is not None:
            rows = ClipIndex.open(index, shards if isinstance(shards, str) else "")
        else:
            names = list_shards(shards) if isinstance(shards, str) else list(shards)
            if not names:
                raise ShardError("clips: an empty list of shards; name at least one")
            rows = index_shards(names)
        self.name = shards if isinstance(shards, str) else " and ".join([shards[0], *["others"] * (len(shards) > 1)])
        self.weights = weights
        self._set(rows, mattes, _group_caches(cache_bytes))

    def _set(self, rows: ClipIndex, mattes: str | None, caches: tuple) -> None:
        self.rows, self.mattes = rows, mattes
        self._groups, self._matte_groups = caches

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    @property
    def identities(self) -> list[str]:
        """Sorted names of all identities."""
        return self.rows.identities

    @property
    def frame_count(self) -> int:
        return int(self.rows.starts[-1])

    def locate(self, number: int) -> FrameRef:
        """A frame by its number, in the order of the shards."""
        row = int(np.searchsorted(self.rows.starts, number, side="right")) - 1
        return FrameRef(row, number - int(self.rows.starts[row]))

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
        return decode_frame(self.rows[row].shard, self.read(row), frame, width)

    def read_mattes(self, row: int) -> tuple[bytes, ...] | None:
        """The encoded mattes of a row: its own, or those of its matte shard; None if it has neither."""
        entry, clip = self.rows[row], self.read(row)
        if clip.matte is not None or self.mattes is None:
            return clip.matte
        uri = matte_shard(self.mattes, entry.shard)
        group = self._matte_groups.get((uri, entry.group), lambda: read_matte_group(uri, entry.group))
        return row_mattes(uri, group, entry.position, clip)

    def load_matte(self, row: int, frame: int, side: int) -> np.ndarray:
        """Decodes the matte (side, side) uint8 of a frame; side: of the frame's image as ``load_frame`` gave it.

        Raises ShardError where the frame has no matte or a damaged one.
        """
        clip = replace(self.read(row), matte=self.read_mattes(row))
        return decode_frame_matte(self.rows[row].shard, clip, frame, side)

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
        rows = self.rows
        frames = np.bincount(rows.clip, rows.frames)  # of each clip, in all of its rows
        paired = rows.only(frames[rows.clip] > 1)
        if not len(paired):
            raise ShardError(f"{self.name}: no clip has two frames, which the training of a reenactor needs; add clips")
        return self._subset(paired)

    def _only(self, identities: set[str]) -> ClipSource:
        return self._subset(self.rows.of(identities))

    def _subset(self, rows: ClipIndex) -> ClipSource:
        subset = object.__new__(ClipSource)
        subset.name, subset.weights = self.name, self.weights
        subset._set(rows, self.mattes, (self._groups, self._matte_groups))
        return subset

    def __getstate__(self) -> dict:
        state = {"name": self.name, "weights": self.weights, "rows": self.rows, "mattes": self.mattes}
        return state | {"cache_bytes": self._groups.budget}

    def __setstate__(self, state: dict) -> None:
        self.name, self.weights = state["name"], state["weights"]
        self._set(state["rows"], state["mattes"], _group_caches(state["cache_bytes"]))


def decode_frame(shard: str, clip: ClipRow, frame: int, width: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """``ClipSource.load_frame`` of a row that was read; shard: its URI, for messages."""
    stored = decode_image(clip.images[frame])
    if stored is None:
        raise ShardError(
            f"{shard}: clip {clip.clip_id!r}, frame {clip.frame[frame]}: image is not a square JPEG or PNG; write the "
            "shard again"
        )
    image = stored if width is None else shrink(stored, width)
    return image, clip.landmarks[frame] * np.float32(image.shape[0] / stored.shape[0])


def decode_frame_matte(shard: str, clip: ClipRow, frame: int, side: int) -> np.ndarray:
    """``ClipSource.load_matte`` of a row that was read with its mattes; shard: its URI, for messages."""
    name = f"{shard}: clip {clip.clip_id!r}, frame {clip.frame[frame]}"
    if clip.matte is None:
        raise ShardError(f"{name}: has no matte; the stage `mattes` makes them")
    stored = decode_matte(clip.matte[frame])
    matte = None if stored is None else shrink(stored, side)
    if matte is None or len(matte) != side:
        raise ShardError(f"{name}: matte is not a PNG of the image's side; run the stage `mattes` again")
    return matte


class ClipLoader(LaneLoader):
    """Endless batches from ``start_step`` on; each sample is a (source, driving) pair of frames of one clip.

    A batch is a dict of
        source_image, driving_image          (B, 3, S, S) float32 RGB in [0, 1]
        source_landmarks, driving_landmarks  (B, 68, 2) float32, pixels of S, NaN where undetected
        source_matte, driving_matte          (B, 1, S, S) float32 in [0, 1], only with ``mattes``
        source_expression, driving_expression  (B, 51) float32, only with ``expressions``, of synthesised images
        sample_id                            list of B names, ``clip_id/source frame/driving frame``
        offset                               index of this rank's first sample in the global batch
    where B is this rank's part of the global batch. An epoch uses every frame once as the source, or, with the source's
    ``weights``, as often as these ask for. The driving frame is another frame of the same clip: of those in the lane's
    window, or, if they are in none, of all; it is the source itself only where the clip has no other frame.

    Mirroring and colour gains are drawn per pair, shift, scale and roll per frame; with ``paired_augmentation`` both
    frames share shift, scale and roll, so that their backgrounds stay aligned. ``jitter`` 0 disables everything but
    mirroring. ``mattes`` and ``expressions`` (clips without them raise ShardError) change nothing else; both are
    mirrored like their images, mattes also cropped. decoded_bytes: budget of the cache of decoded images, if all clips
    fit in one window; those that do not fit are decoded each time.
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
        expressions: bool = False,
        decoded_bytes: int = 1 << 29,
        threads: int = 1,
        device: torch.device | str = "cpu",
        shuffle_bytes: int = SHUFFLE_BYTES,
        run_bytes: int = RUN_BYTES,
    ) -> None:
        if not len(source):
            raise ShardError(f"{source.name}: no rows to train on")
        self.source, self.size = source, size
        self.jitter, self.paired_augmentation = jitter, paired_augmentation
        self.mattes, self.expressions = mattes, expressions
        self.runs = ClipRuns(source.rows, run_bytes)
        self.dealt = self.runs if source.weights is None else repeated_runs(source.rows, self.runs, source.weights)
        optional = {"matte": mattes, EXPRESSION: expressions}
        self._shards, self._matte_shards = OpenShards(COLUMNS, lambda name: optional.get(name, False)), matte_shards()
        self._decoded: ByteBudgetCache[tuple[np.ndarray, ...]] = ByteBudgetCache(
            decoded_bytes, lambda frame: sum(array.nbytes for array in frame)
        )
        super().__init__(
            self.dealt,
            seed=seed,
            batch_size=batch_size,
            rank=rank,
            world=world,
            start_step=start_step,
            threads=threads,
            device=device,
            shuffle_bytes=shuffle_bytes,
        )

    def _read(self, run: int) -> list[ClipRow]:
        return self._read_run(int(self.dealt.original(np.array(run))))

    def _read_run(self, run: int) -> list[ClipRow]:
        """The rows of a run, with their mattes if these are asked for."""
        index, rows, (first, last) = self.source.rows, self.runs.run_rows(run), self.runs.groups[run].tolist()
        shard = index.shard_uri(index.shard[rows[0]])
        table, starts = self._shards.read(shard, first, last)
        positions = (starts[index.group[rows] - first] + index.position[rows]).tolist()
        parsed = parse_rows(table, shard)
        clips = [parsed[position] for position in positions]
        if not self.mattes or self.source.mattes is None or clips[0].matte is not None:
            return clips
        uri = matte_shard(self.source.mattes, shard)
        mattes = parse_mattes(self._matte_shards.read(uri, first, last)[0])
        return [replace(clip, matte=row_mattes(uri, mattes, at, clip)) for at, clip in zip(positions, clips)]

    def _make(self, draws: Sequence[Draw]) -> Batch:
        samples = [self._sample(draw) for draw in draws]
        gains = [sample["gain"] for sample in samples]
        batch: Batch = {"sample_id": [sample["sample_id"] for sample in samples], "offset": self.lanes.offset}
        for role in ("source", "driving"):
            batch[f"{role}_image"] = to_tensor([sample[f"{role}_image"] for sample in samples], gains)
            batch[f"{role}_landmarks"] = torch.from_numpy(np.stack([sample[f"{role}_landmarks"] for sample in samples]))
            if self.mattes:
                batch[f"{role}_matte"] = to_tensor([sample[f"{role}_matte"][..., None] for sample in samples])
            if self.expressions:
                batch[f"{role}_expression"] = torch.from_numpy(
                    np.stack([sample[f"{role}_expression"] for sample in samples])
                )
        return batch

    def _sample(self, draw: Draw) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, draw.epoch, draw.sample])
        source = self.source.locate(self.dealt.frame(draw.sample))
        driving = self._driving(draw, source, rng)
        mirrored, gain = bool(rng.integers(2)), draw_gain(rng, self.jitter)
        source_framing, driving_framing = Framing.draw(rng, self.jitter), Framing.draw(rng, self.jitter)
        if self.paired_augmentation:
            driving_framing = source_framing
        sample, names = {"gain": gain}, []
        for role, ref, framing in (("source", source, source_framing), ("driving", driving, driving_framing)):
            clip = self._row(draw, ref.row)
            names.append(clip.frame[ref.frame])
            image, landmarks, *matte = self._decode(ref, clip)
            sample[f"{role}_image"] = frame_image(image, framing, mirrored, self.size)
            sample[f"{role}_landmarks"] = frame_landmarks(landmarks, image.shape[0], framing, mirrored, self.size)
            if matte:
                sample[f"{role}_matte"] = frame_image(matte[0], framing, mirrored, self.size)
            if self.expressions:
                sample[f"{role}_expression"] = self._expression(clip, ref.frame, mirrored)
        return sample | {"sample_id": f"{clip.clip_id}/{names[0]}/{names[1]}"}

    def _expression(self, clip: ClipRow, frame: int, mirrored: bool) -> np.ndarray:
        if clip.expression is None:
            raise ShardError(f"{self.source.name}: clip {clip.clip_id!r} has no {EXPRESSION}: it was not synthesised")
        return clip.expression[frame][list(MIRROR_ORDER)] if mirrored else clip.expression[frame]

    def _driving(self, draw: Draw, source: FrameRef, rng: np.random.Generator) -> FrameRef:
        """Another frame of the source's clip, in the draw's window if it has one, or the source if there is none."""
        index = self.source.rows
        rows = index.rows_of_clip(index.clip[source.row])
        if len(rows) > 1 and not self.lanes.in_one_window:
            near = rows[np.isin(self.runs.of_rows(rows), self.dealt.original(draw.window.runs))]
            rows = near if index.frames[near].sum() > 1 else rows
        ends = np.cumsum(index.frames[rows])
        if ends[-1] == 1:
            return source
        before = int(np.searchsorted(rows, source.row))
        number = source.frame + (int(ends[before - 1]) if before else 0)
        number = (number + int(rng.integers(1, ends[-1]))) % int(ends[-1])
        row = int(np.searchsorted(ends, number, side="right"))
        return FrameRef(int(rows[row]), number - (int(ends[row - 1]) if row else 0))

    def _row(self, draw: Draw, row: int) -> ClipRow:
        """A row from the draw's window, or read anew if it lies elsewhere, as few do."""
        run, position = self.runs.find(row)
        copies = draw.window.runs[self.dealt.original(draw.window.runs) == run].tolist()
        read = next((found for copy in copies if (found := draw.window.contents.get(copy)) is not None), None)
        return (self._read_run(run) if read is None else read.result())[position]

    def _decode(self, ref: FrameRef, clip: ClipRow) -> tuple[np.ndarray, ...]:
        """The decoded frame, a little larger than the batch's images, its landmarks in its pixels and its matte, if
        mattes are asked for."""

        def decode() -> tuple[np.ndarray, ...]:
            shard = self.source.rows.shard_uri(self.source.rows.shard[ref.row])
            image, landmarks = decode_frame(shard, clip, ref.frame, working_width(self.size))
            mattes = (decode_frame_matte(shard, clip, ref.frame, len(image)),) if self.mattes else ()
            return image, landmarks, *mattes

        return self._decoded.get(ref, decode) if self.lanes.in_one_window else decode()


def _group_caches(budget: int) -> tuple[ByteBudgetCache[list[ClipRow]], ByteBudgetCache[list[RowMattes]]]:
    """Caches of row groups, and of those of matte shards."""
    return (
        ByteBudgetCache(budget, lambda rows: sum(row.encoded_bytes for row in rows)),
        ByteBudgetCache(budget // 2, lambda rows: sum(len(matte) for row in rows for matte in row.matte)),
    )
