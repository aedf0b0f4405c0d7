from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from blob_clips import make_row

from jr2net.data.clips import ClipSource, FrameRef
from jr2net.data.evaluation_frames import (
    cross_identity_pairs,
    evenly_spaced,
    load_frames,
    same_identity_pairs,
    spaced_frames,
)
from jr2net.data.index import SCHEMA, ClipIndex
from jr2net.data.shards import write_clips
from jr2net.storage.parquet import ShardError


@pytest.fixture(scope="module")
def source(clip_folder: Path) -> ClipSource:
    return ClipSource(str(clip_folder))


def test_frames_are_in_order_and_not_augmented(source: ClipSource) -> None:
    batch = load_frames(source, spaced_frames(source, 1000), size=64)
    clips = [source.read(row) for row in range(len(source))]
    assert batch["sample_id"] == [f"{clip.clip_id}/{frame}" for clip in clips for frame in clip.frame]
    image, landmarks = source.load_frame(0, 0, 64)
    assert torch.equal(batch["image"][0], torch.from_numpy(image).permute(2, 0, 1) / 255)
    assert torch.equal(batch["landmarks"][0], torch.from_numpy(landmarks))
    assert not any(name.startswith("truth_") for name in batch)


def test_ground_truth_is_loaded(truth_folder: Path) -> None:
    source = ClipSource(str(truth_folder))
    batch = load_frames(source, spaced_frames(source, 1000)[2:4], size=200)
    truth = source.read(1).truth
    assert truth is not None and batch["image"].shape == (2, 3, 200, 200)
    assert torch.equal(batch["truth_identity"], torch.from_numpy(truth.identity).expand(2, -1))
    assert torch.equal(batch["truth_expression"], torch.from_numpy(truth.expression))
    assert batch["truth_light"].shape == (2, 9, 3) and batch["truth_albedo"].shape == (2, 64)


def test_same_identity_pairs_are_fixed_and_far_apart(source: ClipSource) -> None:
    pairs = same_identity_pairs(source, 40, seed=3)
    assert len(pairs) == 40 and pairs == same_identity_pairs(source, 40, seed=3)
    assert pairs != same_identity_pairs(source, 40, seed=4)
    for one, other in pairs:
        assert source.rows[one.row].clip_id == source.rows[other.row].clip_id
        assert abs(one.frame - other.frame) >= source.rows[one.row].frames / 2
    assert {source.rows[one.row].clip_id for one, _ in pairs} == {r.clip_id for r in source.rows if r.frames > 1}


def test_cross_identity_pairs_are_fixed_and_of_two_people(source: ClipSource) -> None:
    pairs = cross_identity_pairs(source, 40, seed=3)
    assert len(pairs) == 40 and pairs == cross_identity_pairs(source, 40, seed=3)
    people = [(source.rows[one.row].identity, source.rows[other.row].identity) for one, other in pairs]
    assert all(one != other for one, other in people)
    assert {one for one, _ in people} == set(source.identities)


def test_impossible_pairs_raise(tmp_path: Path) -> None:
    write_clips(str(tmp_path / "clips.parquet"), [make_row(1, 1)])
    source = ClipSource(str(tmp_path))
    with pytest.raises(ShardError, match="no clip has two frames"):
        same_identity_pairs(source, 1, seed=0)
    with pytest.raises(ShardError, match="needs two identities, found 1"):
        cross_identity_pairs(source, 1, seed=0)


def by_lists(source: ClipSource, names: np.ndarray) -> dict[int, list[FrameRef]]:
    """All frames of a source by clip or identity: what no code may make of large sets."""
    frames: dict[int, list[FrameRef]] = {}
    for row, count in enumerate(source.rows.frames.tolist()):
        frames.setdefault(int(names[row]), []).extend(FrameRef(row, frame) for frame in range(count))
    return frames


def same_identity_by_lists(source: ClipSource, count: int, seed: int) -> Sequence[tuple[FrameRef, FrameRef]]:
    first, clips = source.rows.first, by_lists(source, source.rows.clip).values()
    usable = [sorted(refs, key=lambda ref: (first[ref.row], ref)) for refs in clips if len(refs) > 1]
    rng = np.random.default_rng([seed, 1])
    order, pairs = rng.permutation(len(usable)), []
    for turn in range(count):
        refs = usable[order[turn % len(usable)]]
        gap = int(rng.integers((len(refs) + 1) // 2, len(refs)))
        begin = int(rng.integers(0, len(refs) - gap))
        pairs.append((refs[begin], refs[begin + gap]) if rng.integers(2) else (refs[begin + gap], refs[begin]))
    return pairs


def cross_identity_by_lists(source: ClipSource, count: int, seed: int) -> Sequence[tuple[FrameRef, FrameRef]]:
    people = by_lists(source, source.rows.identity)
    names = sorted(people, key=source.rows.identity_name)
    rng = np.random.default_rng([seed, 2])
    order, pairs = rng.permutation(len(names)), []
    for turn in range(count):
        position = turn % len(names)
        other = (position + 1 + int(rng.integers(len(names) - 1))) % len(names)
        refs = (people[names[order[position]]], people[names[order[other]]])
        pairs.append((refs[0][int(rng.integers(len(refs[0])))], refs[1][int(rng.integers(len(refs[1])))]))
    return pairs


def synthetic_source(clips: int, rows_per_clip: int, frames: int, identities: int) -> ClipSource:
    """A source of which there is an index only; the rows of a clip lie apart and not in the footage's order."""
    rng = np.random.default_rng(0)
    rows = clips * rows_per_clip
    clip = np.tile(rng.permutation(clips), rows_per_clip).astype(np.int32)
    first = (frames * rng.permuted(np.repeat(np.arange(rows_per_clip)[:, None], clips, 1), axis=0)).reshape(-1)

    def names(numbers: np.ndarray, count: int) -> pa.Array:
        return pa.DictionaryArray.from_arrays(
            pa.array(numbers, pa.int32()),
            pa.array([f"{number * 7 % count:07d}" for number in range(count)], "large_utf8"),
        )

    zeros = np.zeros(rows, np.int32)
    columns = {
        "shard": names(zeros, 1),
        "group": zeros,
        "position": zeros,
        "group_bytes": zeros.astype(np.int64),
        "footer_bytes": zeros,
        "identity": names(clip % identities, identities),
        "clip": names(clip, clips),
        "first": first.astype(np.int32),
        "frames": rng.integers(1, 2 * frames, rows).astype(np.int32),
    }
    table = pa.table({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA)
    source = object.__new__(ClipSource)
    source.name, source.rows = "synthetic", ClipIndex(table)
    return source


@pytest.mark.parametrize("seed", [0, 5])
def test_pairs_are_those_of_lists_of_all_frames(source: ClipSource, seed: int) -> None:
    part = source._only({"person-1", "person-3", "person-6"})
    for chosen in (source, part, synthetic_source(200, 3, 4, 13)):
        assert same_identity_pairs(chosen, 300, seed) == same_identity_by_lists(chosen, 300, seed)
        assert cross_identity_pairs(chosen, 300, seed) == cross_identity_by_lists(chosen, 300, seed)


def test_evenly_spaced_frames_have_both_ends(source: ClipSource) -> None:
    everything = [FrameRef(row, frame) for row, count in enumerate(source.rows.frames) for frame in range(count)]
    assert spaced_frames(source, 1000) == everything
    assert spaced_frames(source, 4) == [everything[0], everything[7], everything[13], everything[20]]
    for count in (1, 2, 21, 9000, 212_600_000):
        numbers = evenly_spaced(count, 500)
        assert len(numbers) == min(count, 500) and (numbers[0], numbers[-1]) == (0, count - 1)
        assert np.all(np.diff(numbers) > 0)


def test_drawing_does_not_depend_on_the_number_of_frames() -> None:
    """A tenth of VoxCeleb2, whose lists of frames would take gigabytes and half a minute."""
    source = synthetic_source(100_000, 2, 100, 600)
    start = time.process_time()
    assert source.frame_count > 19_000_000
    assert len(spaced_frames(source, 500)) == 500
    assert len(same_identity_pairs(source, 200, 0)) == len(cross_identity_pairs(source, 200, 0)) == 200
    assert time.process_time() - start < 2
