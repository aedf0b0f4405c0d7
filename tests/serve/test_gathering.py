"""Pictures that are ready wait for those on their way, and for nothing else."""

from __future__ import annotations

import asyncio

import pytest

from serve.gathering import Gathering


def passed_in(gate: Gathering, delays: list[float]) -> list[list[int]]:
    """Numbers of the requests that went through at the same moment, in order; each is prepared for its delay."""
    rounds: list[list[int]] = []

    async def request(number: int) -> None:
        with gate.preparing():
            await asyncio.sleep(delays[number] / 2)
        with gate.preparing():
            await asyncio.sleep(delays[number] / 2)
        await gate.together()
        now = asyncio.get_running_loop().time()
        if not rounds or now - moments[-1] > 0.02:
            rounds.append([])
        moments.append(now)
        rounds[-1].append(number)

    async def all_of_them() -> None:
        await asyncio.gather(*(request(number) for number in range(len(delays))))

    moments: list[float] = []
    asyncio.run(all_of_them())
    return [sorted(numbers) for numbers in rounds]


def test_a_lone_picture_does_not_wait():
    async def alone() -> None:
        gate = Gathering(full=8, patience=60)
        with gate.preparing():
            pass
        await asyncio.wait_for(gate.together(), 5)

    asyncio.run(alone())


@pytest.mark.parametrize(
    ("full", "patience", "delays", "rounds"),
    [
        (8, 60, [0.0, 0.2, 0.1], [[0, 1, 2]]),  # all wait for the last that is on its way
        (2, 60, [0.0, 0.01, 0.4], [[0, 1], [2]]),  # a full batch waits for nobody
        (8, 0.1, [0.0, 0.6], [[0], [1]]),  # nor does anybody wait for ever
    ],
)
def test_pictures_go_together(full, patience, delays, rounds):
    assert passed_in(Gathering(full, patience), delays) == rounds


def test_a_request_that_fails_holds_nobody_up():
    async def two() -> None:
        gate = Gathering(full=8, patience=60)

        async def failing() -> None:
            with gate.preparing():
                await asyncio.sleep(0.05)
                raise ValueError("no picture")

        async def ready() -> None:
            await asyncio.sleep(0.01)
            await gate.together()

        await asyncio.wait_for(asyncio.gather(failing(), ready(), return_exceptions=True), 5)

    asyncio.run(two())
