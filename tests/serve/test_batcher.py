"""Batching: items that are ready wait for those being prepared and for batches in flight, and are sent together."""

from __future__ import annotations

import asyncio

import pytest

from serve.batcher import Batcher


class FakeNetwork:
    """Doubles numbers and records the batches; raises an error for batches with a 13."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    async def __call__(self, numbers: list[int]) -> list[int]:
        self.batches.append(sorted(numbers))
        await asyncio.sleep(0.01)
        if 13 in numbers:
            raise RuntimeError("13")
        return [2 * number for number in numbers]


def batches_of(max_batch_size: int, max_wait_s: float, delays: list[float]) -> list[list[int]]:
    """The batches of requests that are prepared in two steps, each for half of its delay in seconds."""
    network = FakeNetwork()
    batcher = Batcher(network, max_batch_size, max_wait_s)

    async def request(number: int) -> None:
        for _ in range(2):
            with batcher.preparing():
                await asyncio.sleep(delays[number] / 2)
        assert await batcher(number) == 2 * number

    async def run_all() -> None:
        await asyncio.gather(*(request(number) for number in range(len(delays))))

    asyncio.run(run_all())
    return network.batches


def test_a_single_item_does_not_wait() -> None:
    network = FakeNetwork()

    async def run() -> None:
        batcher = Batcher(network, max_batch_size=8, max_wait_s=60)
        with batcher.preparing():
            pass
        assert await asyncio.wait_for(batcher(1), 5) == 2

    asyncio.run(run())
    assert network.batches == [[1]]


@pytest.mark.parametrize(
    ("max_batch_size", "max_wait_s", "delays", "batches"),
    [
        (8, 60, [0.0, 0.2, 0.1], [[0, 1, 2]]),  # all wait for the last one, which is being prepared
        (2, 60, [0.0, 0.01, 0.4], [[0, 1], [2]]),  # a full batch does not wait
        (8, 0.1, [0.0, 0.6], [[0], [1]]),  # nor does an item wait longer than max_wait_s
    ],
)
def test_items_are_sent_together(
    max_batch_size: int, max_wait_s: float, delays: list[float], batches: list[list[int]]
) -> None:
    assert batches_of(max_batch_size, max_wait_s, delays) == batches


def test_a_failed_preparation_does_not_block_others() -> None:
    async def two() -> list:
        batcher = Batcher(FakeNetwork(), max_batch_size=8, max_wait_s=60)

        async def failing() -> None:
            with batcher.preparing():
                await asyncio.sleep(0.05)
                raise ValueError("no photo")

        async def ready() -> int:
            await asyncio.sleep(0.01)
            return await batcher(1)

        return await asyncio.wait_for(asyncio.gather(failing(), ready(), return_exceptions=True), 5)

    error, result = asyncio.run(two())
    assert isinstance(error, ValueError) and result == 2


def test_an_error_fails_its_batch_only() -> None:
    async def three() -> tuple[list, int]:
        batcher = Batcher(FakeNetwork(), max_batch_size=2, max_wait_s=60)
        with batcher.preparing():
            together = await asyncio.gather(batcher(13), batcher(1), return_exceptions=True)
        return together, await batcher(2)

    together, later = asyncio.run(three())
    assert [str(error) for error in together] == ["13", "13"] and later == 4


def test_cancelled_items_are_removed_from_their_batch() -> None:
    network = FakeNetwork()

    async def two() -> int:
        batcher = Batcher(network, max_batch_size=8, max_wait_s=60)
        with batcher.preparing():
            cancelled, kept = asyncio.ensure_future(batcher(1)), asyncio.ensure_future(batcher(2))
            await asyncio.sleep(0)
            cancelled.cancel()
            await asyncio.sleep(0)
        return await asyncio.wait_for(kept, 5)

    assert asyncio.run(two()) == 4
    assert network.batches == [[2]]


def test_with_two_batches_in_flight_only_full_ones_are_sent() -> None:
    batches: list[list[int]] = []

    async def requests() -> list[int]:
        finish = asyncio.Event()

        async def slow(numbers: list[int]) -> list[int]:
            batches.append(numbers)
            await finish.wait()
            return numbers

        batcher = Batcher(slow, max_batch_size=3, max_wait_s=0.01)
        in_flight = []
        for number in range(7):
            in_flight.append(asyncio.ensure_future(batcher(number)))
            await asyncio.sleep(0.02)
        finish.set()
        return await asyncio.wait_for(asyncio.gather(*in_flight), 5)

    assert asyncio.run(requests()) == list(range(7))
    assert batches == [[0], [1], [2, 3, 4], [5, 6]]


def test_too_few_results_are_an_error_for_the_whole_batch() -> None:
    async def two() -> list:
        async def drop_first(numbers: list[int]) -> list[int]:
            return numbers[1:]

        batcher = Batcher(drop_first, max_batch_size=2, max_wait_s=60)
        with batcher.preparing():
            return await asyncio.wait_for(asyncio.gather(batcher(1), batcher(2), return_exceptions=True), 5)

    assert [type(error) for error in asyncio.run(two())] == [ValueError, ValueError]
