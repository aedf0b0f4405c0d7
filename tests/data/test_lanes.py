"""The order of samples: a function of seed, step and global batch; every epoch has every sample once."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from synthetic_runs import SyntheticRuns

from jr2net.data.lanes import Draw, Lanes
from jr2net.data.stream import epoch_order

ONE_WINDOW = SyntheticRuns([4, 1, 7, 5, 6])
MANY = SyntheticRuns(np.random.default_rng(0).integers(1, 9, 600))
"""With shuffle_bytes=600, these have windows of about 600 / batch samples."""


def numbers(draws: list[Draw]) -> list[tuple[int, int]]:
    return [(draw.epoch, draw.sample) for draw in draws]


def lanes(runs: SyntheticRuns, batch_size: int, rank: int = 0, world: int = 1, seed: int = 3) -> Lanes:
    return Lanes(runs, batch_size, seed, rank, world, shuffle_bytes=600)


@pytest.mark.parametrize(("runs", "batch_size"), [(ONE_WINDOW, 64), (MANY, 64), (MANY, 65)])
@pytest.mark.parametrize("world", [1, 2, 3, 5, 64])
def test_ranks_split_the_global_batch_in_order(runs: SyntheticRuns, batch_size: int, world: int) -> None:
    whole = lanes(runs, batch_size)
    parts = [lanes(runs, batch_size, rank, world) for rank in range(world)]
    for step in (0, 1, 2, 40, 500):
        assert [number for part in parts for number in numbers(part.step(step))] == numbers(whole.step(step))
    sizes = [len(part.step(0)) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert [part.offset for part in parts] == [sum(sizes[:rank]) for rank in range(world)]


@pytest.mark.parametrize("runs", [ONE_WINDOW, MANY])
@pytest.mark.parametrize("batch_size", [1, 4, 7, 30])
def test_every_epoch_has_every_sample_once_in_another_order(runs: SyntheticRuns, batch_size: int) -> None:
    stream = lanes(runs, batch_size)
    orders: dict[int, list[int]] = {}
    for step in range(6 * runs.samples // batch_size):
        for draw in stream.step(step):
            orders.setdefault(draw.epoch, []).append(draw.sample)
    for epoch in range(4):
        assert sorted(orders[epoch]) == list(range(runs.samples))
    assert len({tuple(orders[epoch]) for epoch in range(4)}) == 4
    other = [draw.sample for step in range(9) for draw in lanes(runs, batch_size, seed=4).step(step)]
    assert other != orders[0][: len(other)]


def test_an_epoch_has_every_sample_once_when_the_number_of_workers_changes() -> None:
    worlds = [2, 2, 1, 3, 3, 1, 2, 4]  # number of workers, in turn
    workers = {(rank, world): lanes(MANY, 12, rank, world) for world in set(worlds) for rank in range(world)}
    drawn = Counter(
        number
        for step in range(4 * MANY.samples // 12)
        for rank in range(worlds[step % len(worlds)])
        for number in numbers(workers[rank, worlds[step % len(worlds)]].step(step))
    )
    for epoch in range(2):
        assert all(drawn[epoch, sample] == 1 for sample in range(MANY.samples))


@pytest.mark.parametrize("runs", [ONE_WINDOW, MANY])
@pytest.mark.parametrize("start", [1, 57, 333, 2000])
def test_a_worker_that_starts_in_mid_epoch_continues_the_sequence(runs: SyntheticRuns, start: int) -> None:
    whole, resumed = lanes(runs, 16, 1, 3), lanes(runs, 16, 1, 3)
    for step in range(start):
        whole.step(step)
    for step in (start, start + 1, start + 90, start - 1):
        assert numbers(resumed.step(step)) == numbers(whole.step(step))


def test_a_small_data_set_is_permuted_uniformly() -> None:
    stream = lanes(ONE_WINDOW, 1)
    assert stream.in_one_window
    for epoch in range(4):
        drawn = [stream.step(epoch * 23 + position)[0].sample for position in range(23)]
        assert drawn == list(epoch_order(23, 3, epoch))


def test_batches_may_be_larger_than_the_data() -> None:
    draws = Lanes(SyntheticRuns([2, 1]), batch_size=8, seed=0).step(0)
    assert [draw.epoch for draw in draws] == [0, 0, 0, 1, 1, 1, 2, 2]


def test_every_place_has_a_lane_of_its_own_if_there_are_enough_runs() -> None:
    assert [lanes(runs, 12).count for runs in (ONE_WINDOW, MANY)] == [1, 12]
    few = SyntheticRuns([400] * 5)
    assert [lanes(few, batch_size).count for batch_size in (3, 4, 8, 10, 7)] == [3, 4, 4, 5, 1]


def test_no_run_is_read_by_two_workers_in_an_epoch() -> None:
    """So that all workers together read what one would read alone."""
    workers = [lanes(MANY, 12, rank, 4) for rank in range(4)]
    read: list[set[int]] = []
    for worker in workers:
        windows = {draw.window for step in range(MANY.samples // 12) for draw in worker.step(step)}
        read.append({run for window in windows if window.epoch == 0 for run in window.runs.tolist()})
    assert sum(map(len, read)) == len(set.union(*read))


def test_a_window_is_shuffled_and_read_before_it_is_drawn_from() -> None:
    stream = lanes(MANY, 12)
    for step in range(200):
        draws = stream.step(step)
        present, following = stream.windows()[:12], stream.windows()[12:]
        assert [draw.window for draw in draws] == present
        assert all(one.last == other.first for one, other in zip(present, following))
        for window in present:
            spans = MANY.spans(window.runs)
            assert sorted(window.samples) == [sample for start, end in spans for sample in range(start, end)]
            assert 5 <= len(window.runs) <= 15
    jumps = [abs(two - one) for window in stream.windows() for one, two in pairwise(window.samples)]
    assert np.mean(np.array(jumps) <= 1) < 0.2


def test_runs_are_needed_in_the_order_in_which_they_are_drawn_from() -> None:
    window = lanes(MANY, 12).step(0)[3].window
    needs = sorted(window.needs())
    drawn = [window.find(sample)[0] for sample in window.samples.tolist()]
    assert [run for _, run in needs] == list(dict.fromkeys(drawn))
    assert [position - window.first for position, _ in needs] == [drawn.index(run) for _, run in needs]
    run, position = window.find(int(window.samples[0]))
    assert MANY.starts[run] + position == window.samples[0]


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"rank": 2, "world": 2}, {"world": 9}, {"runs": ()}])
def test_invalid_lanes_raise(wrong: dict) -> None:
    settings: dict = {"runs": (5, 5), "batch_size": 8, "seed": 0, **wrong}
    with pytest.raises(ValueError, match="lanes of"):
        Lanes(SyntheticRuns(settings.pop("runs")), **settings)


def test_the_order_is_pinned() -> None:
    """A run started with an earlier version resumes with the same data."""
    assert numbers(lanes(MANY, 12).step(700)) == [
        (2, 2478),
        (3, 2316),
        (2, 1795),
        (2, 775),
        (2, 2204),
        (2, 2418),
        (3, 581),
        (2, 2644),
        (3, 504),
        (2, 2283),
        (3, 1578),
        (3, 310),
    ]
    assert list(epoch_order(8, 7, 2)) == list(np.random.default_rng([7, 2]).permutation(8))
