"""A pair depends on its number, the seed and the digests alone; sources are used in turn."""

from __future__ import annotations

from collections import Counter

import numpy as np
from darkening_maker import SETTINGS, MakeMaker

from jr2net.expressions.tracks import Track
from jr2net.synthesis.plan import shard_count, shard_range


def test_shards_hold_every_pair_once(make_maker: MakeMaker) -> None:
    assert shard_count(SETTINGS) == 3
    assert [shard_range(SETTINGS, index) for index in range(3)] == [(0, 4), (4, 8), (8, 10)]
    planned = [pair for index in range(3) for pair in make_maker().plan.shard(index)]
    assert len({pair.pair_id for pair in planned}) == len(planned) == 10
    assert all(pair.expression.min() >= 0 and pair.expression.max() <= 1 for pair in planned)


def test_seed_and_digests_change_the_pairs(make_maker: MakeMaker) -> None:
    first = make_maker().plan.shard(0)[0].pair_id
    assert make_maker().plan.shard(0)[0].pair_id == first
    assert make_maker(seed=1).plan.shard(0)[0].pair_id != first
    assert make_maker(digests={"recnet": "abd"}).plan.shard(0)[0].pair_id != first


def test_a_source_is_reused_only_after_all_others(make_maker: MakeMaker) -> None:
    plan = make_maker(pairs=24, pairs_per_shard=8, pairs_per_source=2).plan
    sources = [pair.source for index in range(3) for pair in plan.shard(index)]
    assert sources[::2] == sources[1::2]
    assert sorted(sources[:12:2]) == sorted(sources[12::2]) == list(range(6))


def test_pairs_are_spread_evenly_by_default(make_maker: MakeMaker) -> None:
    assert make_maker(pairs=6).plan.pairs_per_source == 1
    assert make_maker(pairs=7, pairs_per_shard=100).plan.pairs_per_source == 2
    assert make_maker(pairs=10_000, pairs_per_shard=500).plan.pairs_per_source == 16
    assert make_maker(pairs=10_000, pairs_per_shard=500, pairs_per_source=50).plan.pairs_per_source == 50


def test_captured_tracks_replace_the_sampler(make_maker: MakeMaker) -> None:
    track = Track("take", np.random.default_rng(0).random((5, 51), np.float32), 30.0)
    for pair in make_maker(tracks=(track,)).plan.shard(0):
        assert pair.track == "take"
        np.testing.assert_array_equal(pair.expression, track.expression[pair.frame])


def test_kinds_are_drawn_by_weight(make_maker: MakeMaker) -> None:
    plan = make_maker(pairs=400, pairs_per_shard=400, expressions={"sweep": 3.0, "extreme": 1.0}).plan
    drawn = Counter(pair.track for pair in plan.shard(0))
    assert set(drawn) == {"sampler/sweep", "sampler/extreme"}
    assert 2 < drawn["sampler/sweep"] / drawn["sampler/extreme"] < 4.5
