"""Evaluation data: frames of a source without augmentation, and fixed (source, driving) pairs.

Frames and pairs are drawn as numbers, by the counts of the index: no list of them is made, however many there are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from jr2net.data.clips import ClipSource, FrameRef
from jr2net.data.index import ClipIndex
from jr2net.images.arrays import resize, to_tensor
from jr2net.storage.parquet import ShardError


def evenly_spaced(count: int, limit: int) -> np.ndarray:
    """At most ``limit`` evenly spaced numbers below ``count``, ascending; int64."""
    return np.linspace(0, count - 1, min(count, limit)).round().astype(np.int64)


def spaced_frames(source: ClipSource, limit: int) -> list[FrameRef]:
    """At most ``limit`` evenly spaced frames, in the order of the shards."""
    return [source.locate(number) for number in evenly_spaced(source.frame_count, limit).tolist()]


def load_frames(source: ClipSource, refs: Sequence[FrameRef], size: int, mattes: bool = False) -> dict:
    """Loads a batch of frames without augmentation:
        image (B, 3, S, S) float32 in [0, 1]; landmarks (B, 68, 2) in pixels of S, NaN where undetected;
        sample_id, identity: lists of B names
    and, if the shards have ground truth, ``truth_identity`` (B, K), ``truth_expression`` (B, 51), ``truth_albedo``
    (B, A), ``truth_rotation`` (B, 3), ``truth_translation`` (B, 3), ``truth_light`` (B, 9, 3). With ``mattes``, if all
    of the frames have one: ``matte`` (B, 1, S, S) in [0, 1].
    """
    decoded = [source.load_frame(*ref, size) for ref in refs]
    images = [resize(image, size) for image, _ in decoded]
    landmarks = [points * np.float32(size / image.shape[0]) for image, points in decoded]
    clips = [source.read(ref.row) for ref in refs]
    batch: dict = {
        "image": to_tensor(images),
        "landmarks": torch.from_numpy(np.stack(landmarks)),
        "sample_id": [f"{clip.clip_id}/{clip.frame[ref.frame]}" for clip, ref in zip(clips, refs)],
        "identity": [clip.identity for clip in clips],
    }
    if mattes and all(source.read_mattes(ref.row) is not None for ref in refs):
        sides = [len(image) for image, _ in decoded]
        stored = [source.load_matte(*ref, side) for ref, side in zip(refs, sides)]
        batch["matte"] = to_tensor([resize(matte, size)[..., None] for matte in stored])
    truths = [clip.truth for clip in clips if clip.truth is not None]
    if len(truths) == len(refs):
        for name in ("identity", "albedo"):
            batch[f"truth_{name}"] = torch.from_numpy(np.stack([getattr(truth, name) for truth in truths]))
        for name in ("expression", "rotation", "translation", "light"):
            values = [getattr(truth, name)[ref.frame] for truth, ref in zip(truths, refs)]
            batch[f"truth_{name}"] = torch.from_numpy(np.stack(values))
    return batch


def same_identity_pairs(source: ClipSource, count: int, seed: int) -> list[tuple[FrameRef, FrameRef]]:
    """``count`` (source, driving) pairs, each within one clip and at least half of the clip apart.

    A pure function of the rows and the seed; every clip is used equally often. Clips of one frame have no pairs.
    Raises ShardError where no clip has two frames.
    """
    rows = source.rows
    clips, firsts = np.unique(rows.clip, return_index=True)
    clips = clips[np.argsort(firsts)]  # in the order of the rows
    usable = clips[_frames_by(rows.clip, rows)[clips] > 1]
    if not len(usable):
        raise ShardError(f"{source.name}: no clip has two frames, which self-reenactment needs; add clips")
    rng = np.random.default_rng([seed, 1])
    order = rng.permutation(len(usable))
    pairs = []
    for turn in range(count):
        runs = rows.rows_of_clip(usable[order[turn % len(usable)]])
        runs = runs[np.argsort(rows.first[runs], kind="stable")]  # rows are runs of the footage: in its order
        frames = int(rows.frames[runs].sum())
        gap = int(rng.integers((frames + 1) // 2, frames))
        first = int(rng.integers(0, frames - gap))
        pair = (_frame(rows, runs, first), _frame(rows, runs, first + gap))
        pairs.append(pair if rng.integers(2) else pair[::-1])
    return pairs


def turned_pairs(
    source: ClipSource, count: int, seed: int, degrees: tuple[float, float] = (30.0, 60.0)
) -> list[tuple[FrameRef, FrameRef]]:
    """``count`` (source, driving) pairs, each within one clip, whose true yaw differs by an angle in ``degrees``.

    A pure function of the rows and the seed; every usable clip is used equally often, and no pair twice before all
    pairs of its clip are used. Raises ShardError where there is no such pair.
    """
    rng = np.random.default_rng([seed, 3])
    clips: list[list[tuple[FrameRef, FrameRef]]] = []
    for row in rng.permutation(len(source)).tolist():
        truth = source.read(row).truth
        yaw = np.degrees(truth.rotation[:, 1]) if truth is not None else np.zeros(0)
        turn = np.abs(yaw[:, None] - yaw)
        usable = np.argwhere((turn >= degrees[0]) & (turn <= degrees[1]))
        pairs = [(FrameRef(row, int(one)), FrameRef(row, int(other))) for one, other in rng.permutation(usable)]
        clips += [pairs] if pairs else []
        if len(clips) == count:  # others have no turn
            break
    if not clips:
        raise ShardError(f"{source.name}: no clip turns by {degrees[0]:g}° to {degrees[1]:g}°; set evaluation.turned")
    return [clips[turn % len(clips)][turn // len(clips) % len(clips[turn % len(clips)])] for turn in range(count)]


def cross_identity_pairs(source: ClipSource, count: int, seed: int) -> list[tuple[FrameRef, FrameRef]]:
    """``count`` (source, driving) pairs of two identities each; a pure function of the rows and the seed.

    Raises ShardError where there are fewer than two identities.
    """
    rows = source.rows
    frames = _frames_by(rows.identity, rows)
    people = sorted(np.unique(rows.identity).tolist(), key=rows.identity_name)
    if len(people) < 2:
        raise ShardError(f"{source.name}: cross-identity reenactment needs two identities, found {len(people)}")
    rng = np.random.default_rng([seed, 2])
    order = rng.permutation(len(people))
    pairs = []
    for turn in range(count):
        position = turn % len(people)
        other = (position + 1 + int(rng.integers(len(people) - 1))) % len(people)
        chosen = [people[order[position]], people[order[other]]]
        numbers = [int(rng.integers(frames[identity])) for identity in chosen]
        source_frame, driving_frame = (
            _frame(rows, rows.rows_of_identity(identity), number) for identity, number in zip(chosen, numbers)
        )
        pairs.append((source_frame, driving_frame))
    return pairs


def _frames_by(names: np.ndarray, rows: ClipIndex) -> np.ndarray:
    """Number of frames of every clip or identity, from the numbers (rows,) that the rows have of them; int64."""
    return np.bincount(names, rows.frames).astype(np.int64)


def _frame(index: ClipIndex, rows: np.ndarray, number: int) -> FrameRef:
    """Frame ``number`` of all frames of some rows, in their order."""
    ends = np.cumsum(index.frames[rows])
    run = int(np.searchsorted(ends, number, side="right"))
    return FrameRef(int(rows[run]), number - (int(ends[run - 1]) if run else 0))
