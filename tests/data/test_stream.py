from __future__ import annotations

import threading

import numpy as np
import pytest

from jr2net.data.stream import Schedule, epoch_order, prefetch


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_ranks_split_the_global_batch_in_order(world: int) -> None:
    whole = Schedule(samples=23, batch_size=7, seed=3)
    parts = [Schedule(23, 7, 3, rank, world) for rank in range(world)]
    for step in (0, 3, 4, 1000):
        assert [draw for part in parts for draw in part.step(step)] == whole.step(step)
    sizes = [len(part.step(0)) for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_every_epoch_has_every_sample_once_in_another_order() -> None:
    schedule = Schedule(samples=10, batch_size=4, seed=0)
    draws = [draw for step in range(5) for draw in schedule.step(step)]
    orders = [[draw.sample for draw in draws if draw.epoch == epoch] for epoch in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(10))
    assert orders[0] != orders[1]
    assert orders[0] != list(epoch_order(10, 1, 0))


def test_an_epoch_has_every_sample_once_when_the_number_of_workers_changes() -> None:
    worlds = [2, 2, 1, 3, 3, 1, 2, 4]  # number of workers at each step
    drawn = [
        draw for step, world in enumerate(worlds) for rank in range(world)
        for draw in Schedule(16, 6, 7, rank, world).step(step)
    ]  # fmt: skip
    for epoch in range(3):
        assert sorted(draw.sample for draw in drawn if draw.epoch == epoch) == list(range(16))


def test_batches_may_be_larger_than_the_data() -> None:
    draws = Schedule(samples=3, batch_size=8, seed=0).step(0)
    assert [draw.epoch for draw in draws] == [0, 0, 0, 1, 1, 1, 2, 2]


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"batch_size": 0}, {"rank": 2, "world": 2}, {"world": 9}])
def test_invalid_schedules_raise(wrong: dict) -> None:
    with pytest.raises(ValueError, match="Schedule"):
        Schedule(**{"samples": 5, "batch_size": 8, "seed": 0, **wrong})


def test_prefetch_keeps_order_and_stays_bounded() -> None:
    loaded: list[int] = []
    stream = prefetch(lambda step: loaded.append(step) or step * 10, start=4, depth=2)
    assert [next(stream) for _ in range(5)] == [40, 50, 60, 70, 80]
    assert len(loaded) <= 5 + 2 + 1
    stream.close()
    assert "prefetch" not in [thread.name for thread in threading.enumerate()]


def test_prefetch_raises_errors_in_order() -> None:
    def load(step: int) -> int:
        if step == 2:
            raise KeyError("broken")
        return step

    stream = prefetch(load, start=0)
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(KeyError, match="broken"):
        next(stream)


def test_order_is_pinned() -> None:
    """A run started with an earlier version resumes with the same data."""
    assert list(epoch_order(8, 7, 2)) == list(np.random.default_rng([7, 2]).permutation(8))
