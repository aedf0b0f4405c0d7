"""Items that are ready wait for those on their way, and for nothing else; then they go together."""

from __future__ import annotations

import asyncio

import pytest

from serve.batcher import Batcher


class Network:
    """Doubles numbers, and remembers the groups in which they came; refuses groups with a 13."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []

    async def __call__(self, numbers: list[int]) -> list[int]:
        self.groups.append(sorted(numbers))
        await asyncio.sleep(0.01)
        if 13 in numbers:
            raise RuntimeError("13")
        return [2 * number for number in numbers]


def groups_of(max_batch_size: int, max_wait_s: float, delays: list[float]) -> list[list[int]]:
    """The groups in which requests go, of which each is prepared for its delay, in two pieces."""
    network = Network()
    batcher = Batcher(network, max_batch_size, max_wait_s)

    async def request(number: int) -> None:
        for _ in range(2):
            with batcher.preparing():
                await asyncio.sleep(delays[number] / 2)
        assert await batcher(number) == 2 * number

    async def all_of_them() -> None:
        await asyncio.gather(*(request(number) for number in range(len(delays))))

    asyncio.run(all_of_them())
    return network.groups


def test_a_lone_item_does_not_wait() -> None:
    network = Network()

    async def alone() -> None:
        batcher = Batcher(network, max_batch_size=8, max_wait_s=60)
        with batcher.preparing():
            pass
        assert await asyncio.wait_for(batcher(1), 5) == 2

    asyncio.run(alone())
    assert network.groups == [[1]]


@pytest.mark.parametrize(
    ("max_batch_size", "max_wait_s", "delays", "groups"),
    [
        (8, 60, [0.0, 0.2, 0.1], [[0, 1, 2]]),  # all wait for the last that is on its way
        (2, 60, [0.0, 0.01, 0.4], [[0, 1], [2]]),  # a max_batch_size group waits for nobody
        (8, 0.1, [0.0, 0.6], [[0], [1]]),  # nor does anybody wait for ever
    ],
)
def test_items_go_together(
    max_batch_size: int, max_wait_s: float, delays: list[float], groups: list[list[int]]
) -> None:
    assert groups_of(max_batch_size, max_wait_s, delays) == groups


def test_a_request_that_fails_holds_nobody_up() -> None:
    async def two() -> list:
        batcher = Batcher(Network(), max_batch_size=8, max_wait_s=60)

        async def failing() -> None:
            with batcher.preparing():
                await asyncio.sleep(0.05)
                raise ValueError("no picture")

        async def ready() -> int:
            await asyncio.sleep(0.01)
            return await batcher(1)

        return await asyncio.wait_for(asyncio.gather(failing(), ready(), return_exceptions=True), 5)

    error, answer = asyncio.run(two())
    assert isinstance(error, ValueError) and answer == 2


def test_an_error_is_everybodys_and_the_next_group_is_answered() -> None:
    async def three() -> tuple[list, int]:
        batcher = Batcher(Network(), max_batch_size=2, max_wait_s=60)
        with batcher.preparing():
            together = await asyncio.gather(batcher(13), batcher(1), return_exceptions=True)
        return together, await batcher(2)

    together, later = asyncio.run(three())
    assert [str(error) for error in together] == ["13", "13"] and later == 4


def test_who_has_gone_is_not_asked_for_and_takes_nobody_along() -> None:
    network = Network()

    async def two() -> int:
        batcher = Batcher(network, max_batch_size=8, max_wait_s=60)
        with batcher.preparing():
            gone, stays = asyncio.ensure_future(batcher(1)), asyncio.ensure_future(batcher(2))
            await asyncio.sleep(0)
            gone.cancel()
            await asyncio.sleep(0)
        return await asyncio.wait_for(stays, 5)

    assert asyncio.run(two()) == 4
    assert network.groups == [[2]]


def test_while_two_groups_are_under_way_only_a_full_one_follows() -> None:
    groups: list[list[int]] = []

    async def requests() -> list[int]:
        free = asyncio.Event()

        async def slow(numbers: list[int]) -> list[int]:
            groups.append(numbers)
            await free.wait()
            return numbers

        batcher = Batcher(slow, max_batch_size=3, max_wait_s=0.01)
        under_way = []
        for number in range(7):
            under_way.append(asyncio.ensure_future(batcher(number)))
            await asyncio.sleep(0.02)
        free.set()
        return await asyncio.wait_for(asyncio.gather(*under_way), 5)

    assert asyncio.run(requests()) == list(range(7))
    assert groups == [[0], [1], [2, 3, 4], [5, 6]]


def test_too_few_answers_are_an_error_and_leave_nobody_waiting() -> None:
    async def two() -> list:
        async def forgetful(numbers: list[int]) -> list[int]:
            return numbers[1:]

        batcher = Batcher(forgetful, max_batch_size=2, max_wait_s=60)
        with batcher.preparing():
            return await asyncio.wait_for(asyncio.gather(batcher(1), batcher(2), return_exceptions=True), 5)

    assert [type(error) for error in asyncio.run(two())] == [ValueError, ValueError]
