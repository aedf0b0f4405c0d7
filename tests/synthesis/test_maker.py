"""Shards are pure functions of their index; unusable sources and rejected pairs are counted by reason."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from darkening_maker import SIZE, DarkeningGenerator, MakeMaker

from jr2net.data.clips import ClipSource
from jr2net.data.pairs import encode_pair_shard
from jr2net.data.shards import read_clips, write_clips
from jr2net.data.sources import ClipFrames
from jr2net.face.parameters import FaceParameters
from jr2net.synthesis.gates import COLUMNS
from jr2net.synthesis.pair_generator import in_halves


def test_a_shard_always_has_the_same_bytes(make_maker: MakeMaker) -> None:
    maker = make_maker()
    first = encode_pair_shard("a", maker.shard(1).pairs)
    maker.shard(2)
    assert encode_pair_shard("b", maker.shard(1).pairs) == first == encode_pair_shard("c", make_maker().shard(1).pairs)


def test_threads_share_a_maker(make_maker: MakeMaker) -> None:
    maker, result = make_maker(pairs=40, pairs_per_shard=4), {}
    threads = [threading.Thread(target=lambda i=i: result.update({i: maker.shard(i)})) for i in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = make_maker(pairs=40, pairs_per_shard=4)
    for index in range(10):
        assert encode_pair_shard("a", result[index].pairs) == encode_pair_shard("a", alone.shard(index).pairs)


def test_a_source_is_reconstructed_once(make_maker: MakeMaker) -> None:
    generator = DarkeningGenerator()
    result = make_maker(generator=generator, pairs=48, pairs_per_shard=48, pairs_per_source=8).shard(0)
    assert len(result.pairs) == 48 and generator.reconstructed == 6
    assert result.licenses == {"CC0": 48}


def test_an_unreadable_source_is_quarantined(make_maker: MakeMaker, clips: str) -> None:
    rows = list(read_clips(clips))
    rows[1] = replace(rows[1], images=(b"not an image", rows[1].images[1]))
    damaged = clips.replace("clips.", "damaged.")
    write_clips(damaged, rows)
    sources = ClipFrames(ClipSource(damaged), SIZE)
    result = make_maker(sources=sources, pairs=12, pairs_per_shard=12, pairs_per_source=2).shard(0)
    assert len(result.pairs) == 10 and result.rejected == {"source": 2}
    (name, reason), *others = result.quarantined.items()
    assert name == "person 1/clip 1/0" and not others
    assert "not a square JPEG or PNG" in reason and str(Path(damaged).parent) not in reason


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("score_covisible", 0.1, "covisible"),
        ("score_identity", 0.0, "identity"),
        ("score_expression", -0.9, "expression"),
        ("score_saturation", 0.95, "saturation"),
        ("score_identity", float("nan"), "not_finite"),
    ],
)
def test_pairs_that_fail_a_gate_are_rejected_and_counted(
    make_maker: MakeMaker, column: str, value: float, reason: str
) -> None:
    scores = dict.fromkeys(COLUMNS, 0.5) | {column: value}
    result = make_maker(generator=DarkeningGenerator(scores=scores)).shard(0)
    assert result.pairs == [] and result.rejected[reason] == result.planned == 4


def test_scores_are_columns(make_maker: MakeMaker) -> None:
    assert all(set(pair.scores) == set(COLUMNS) for pair in make_maker().shard(0).pairs)


def test_reenactment_uses_pose_and_light_of_driving_clips(make_maker: MakeMaker, clips: str) -> None:
    driving = ClipFrames(ClipSource(clips), SIZE)
    reenacted, plain = make_maker(driving=driving).shard(0), make_maker().shard(0)
    assert len(reenacted.pairs) == 4
    others = {pair.pair_id: pair for pair in plain.pairs}
    assert any(pair.image != others[pair.pair_id].image for pair in reenacted.pairs)
    for pair in reenacted.pairs:
        np.testing.assert_array_equal(pair.expression, others[pair.pair_id].expression)


def test_a_batch_too_large_for_the_gpu_is_split() -> None:
    batch_sizes = []

    def work(images: torch.Tensor, faces: FaceParameters) -> torch.Tensor:
        assert len(images) == len(faces)
        if len(images) > 2:
            raise torch.cuda.OutOfMemoryError("out of memory")
        batch_sizes.append(len(images))
        return images

    faces = FaceParameters(*(torch.zeros(7, 3) for _ in range(6)))
    images = torch.arange(7)
    assert torch.equal(torch.cat(in_halves(work, images, faces)), images)
    assert batch_sizes == [1, 2, 2, 2]


def test_a_single_image_too_large_for_the_gpu_raises() -> None:
    def work(images: torch.Tensor) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("out of memory")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        in_halves(work, torch.zeros(4))
