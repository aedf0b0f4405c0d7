"""Pair shards are pure functions of their index: same bytes whoever makes them, whatever else is made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from jr2net.config import SynthesisConfig
from jr2net.data.clips import ClipSource
from jr2net.data.pairs import read_pairs, write_pair_shard
from jr2net.data.pictures import encode_jpeg
from jr2net.data.shards import ClipRow, write_clips
from jr2net.data.tracks import Track
from jr2net.face.camera import Camera
from jr2net.synthesis import PairMaker, shard_count, shard_name, shard_range

SIZE = 32
SETTINGS = SynthesisConfig(pairs=10, pairs_per_shard=4, batch_size=3)


class Painter:
    """Stands for RecNet and DCNet: darkens the source by the expression's mean."""

    camera = Camera.default(SIZE)
    model = SimpleNamespace(mean=torch.zeros(1, 3))

    def express(self, source_image: Tensor, expression: Tensor) -> Tensor:
        return source_image * (1 - expression.mean(1))[:, None, None, None]


@pytest.fixture
def maker(tmp_path: Path) -> PairMaker:
    """Three people of two frames each."""
    rng = np.random.default_rng(0)
    rows = []
    for person in range(3):
        pictures = [cv2.resize(rng.integers(0, 255, (4, 4, 3), np.uint8), (SIZE, SIZE)) for _ in range(2)]
        rows.append(
            ClipRow(
                clip_id=f"clip {person}",
                identity=f"person {person}",
                fps=25.0,
                frame=np.arange(2, dtype=np.int32),
                images=tuple(encode_jpeg(picture) for picture in pictures),
                landmarks=np.zeros((2, 68, 2), np.float32),
            )
        )
    write_clips(f"{tmp_path}/clips.parquet", rows)
    return PairMaker(Painter(), ClipSource(f"{tmp_path}/clips.parquet"), (), SETTINGS, 0, {"recnet": "abc"})  # type: ignore[arg-type]


def test_shards_hold_every_pair_once(maker: PairMaker) -> None:
    assert shard_count(SETTINGS) == 3
    assert [shard_range(SETTINGS, index) for index in range(3)] == [(0, 4), (4, 8), (8, 10)]
    pairs = [pair for index in range(3) for pair in maker.shard(index)]
    assert len({pair.pair_id for pair in pairs}) == len(pairs) == 10
    assert all(pair.expression.min() >= 0 and pair.expression.max() <= 1 for pair in pairs)


def test_a_shard_is_the_same_bytes_whenever_it_is_made(maker: PairMaker, tmp_path: Path) -> None:
    for place in ("one", "other"):
        write_pair_shard(f"{tmp_path}/{place}/{shard_name(1)}", maker.shard(1))
        maker.shard(2)
    one, other = (tmp_path / place / shard_name(1) for place in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()
    assert [pair.pair_id for pair in read_pairs(str(one))] == sorted(pair.pair_id for pair in maker.shard(1))


def test_seed_and_networks_make_other_pairs(maker: PairMaker) -> None:
    planned = maker.plan(0)
    for other in (replace(maker, seed=1), replace(maker, digests={"recnet": "abd"})):
        assert other.plan(0).pair_id != planned.pair_id


def test_captured_tracks_replace_the_sampler(maker: PairMaker) -> None:
    track = Track("take", np.random.default_rng(0).random((5, 51), np.float32), 30.0)
    pair = replace(maker, tracks=[track]).shard(0)[0]
    assert pair.track == "take"
    np.testing.assert_array_equal(pair.expression, track.expression[pair.frame])
