"""A pair depends on its number, the seed and the digests alone; sources are used in turn."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import numpy as np
import pytest
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


@pytest.mark.parametrize("pairs", [6, 12, 24, 48, 96, 192, 384])
def test_datasets_of_any_size_are_spread_evenly_by_default(make_maker: MakeMaker, pairs: int) -> None:
    """After each pass over the six sources all have been used equally often, by 16 adjacent pairs in the end."""
    plan = make_maker(pairs=pairs, pairs_per_shard=48).plan
    sources = [pair.source for index in range(shard_count(plan.settings)) for pair in plan.shard(index)]
    assert set(Counter(sources).values()) == {pairs // 6} and len(set(sources)) == 6
    last_pass = sources[-min(96, max(6, pairs // 2)) :]
    assert [len(list(group)) for _, group in groupby(last_pass)] == [len(last_pass) // 6] * 6


def test_places_are_counted_on_for_ever(make_maker: MakeMaker) -> None:
    plan = make_maker().plan
    passes = [0, 6, 12, 24, 48, 96, 192, 288]
    assert [plan.place(number) for number in passes] == [(number, 0) for number in range(8)]
    assert plan.place(192 + 16 * 2 + 5) == (6, 2)
    assert plan.place(96 * 10**9 + 95) == (10**9 + 4, 5)
    assert make_maker(pairs_per_source=50).plan.place(6 * 50 * 3 + 60) == (3, 1)


def test_a_larger_dataset_begins_with_the_pairs_of_a_smaller_one(make_maker: MakeMaker) -> None:
    plans = [make_maker(pairs=pairs).plan for pairs in (10, 50, 1000)]
    ids = [[pair.pair_id for index in range(2) for pair in plan.shard(index)] for plan in plans]
    assert ids[0] == ids[1] == ids[2]


@pytest.mark.parametrize(
    ("grown_from", "ranges"),
    [
        ((), [(0, 4), (4, 8), (8, 12), (12, 16), (16, 17)]),
        ((8,), [(0, 4), (4, 8), (8, 12), (12, 16), (16, 17)]),
        ((10,), [(0, 4), (4, 8), (8, 10), (10, 14), (14, 17)]),
        ((2, 10, 13), [(0, 2), (2, 6), (6, 10), (10, 13), (13, 17)]),
    ],
)
def test_a_grown_dataset_keeps_its_shards(grown_from: tuple[int, ...], ranges: list[tuple[int, int]]) -> None:
    settings = SETTINGS.model_copy(update={"pairs": 17})
    assert shard_count(settings, grown_from) == len(ranges)
    assert [shard_range(settings, index, grown_from) for index in range(len(ranges))] == ranges
    with pytest.raises(IndexError):
        shard_range(settings, len(ranges), grown_from)


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
