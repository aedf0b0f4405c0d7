from __future__ import annotations

from pathlib import Path

import pytest
import torch
from blob_clips import make_row

from jr2net.data.clips import ClipSource
from jr2net.data.evaluation_frames import (
    all_frames,
    cross_identity_pairs,
    load_frames,
    same_identity_pairs,
)
from jr2net.data.shards import write_clips
from jr2net.storage.parquet import ShardError


@pytest.fixture(scope="module")
def source(clip_folder: Path) -> ClipSource:
    return ClipSource(str(clip_folder))


def test_frames_are_in_order_and_not_augmented(source: ClipSource) -> None:
    batch = load_frames(source, all_frames(source), size=64)
    clips = [source.read(row) for row in range(len(source))]
    assert batch["sample_id"] == [f"{clip.clip_id}/{frame}" for clip in clips for frame in clip.frame]
    image, landmarks = source.load_frame(0, 0, 64)
    assert torch.equal(batch["image"][0], torch.from_numpy(image).permute(2, 0, 1) / 255)
    assert torch.equal(batch["landmarks"][0], torch.from_numpy(landmarks))
    assert not any(name.startswith("truth_") for name in batch)


def test_ground_truth_is_loaded(truth_folder: Path) -> None:
    source = ClipSource(str(truth_folder))
    batch = load_frames(source, all_frames(source)[2:4], size=200)
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
