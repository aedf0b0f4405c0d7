"""Work that is lost with a replica is given to another; what a network itself refuses is not."""

from __future__ import annotations

import asyncio

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError
from ray.serve.exceptions import BackPressureError

from serve import deployments
from serve.deployments import Handles
from serve.problems import Unavailable


class Handle:
    """A deployment handle whose method raises these, one a call, and then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.calls = list(errors), 0
        self.fit = self

    async def remote(self, items: list[str]) -> list[str]:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return [f"answer to {item}" for item in items]


def _fit(handle: Handle, attempts: int = 3) -> list[str]:
    return asyncio.run(Handles(handle, handle, attempts).fit(["picture"]))


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(deployments, "_PAUSES", (0.0,))


def test_lost_work_is_asked_for_again():
    handle = Handle(ActorDiedError(), ActorUnavailableError("gone", None))
    assert _fit(handle) == ["answer to picture"] and handle.calls == 3


def test_not_for_ever():
    handle = Handle(*[ActorDiedError() for _ in range(9)])
    with pytest.raises(Unavailable, match="lost 3 times"):
        _fit(handle)
    assert handle.calls == 3


def test_a_full_queue_is_said_at_once():
    handle = Handle(BackPressureError(num_queued_requests=9, max_queued_requests=9))
    with pytest.raises(Unavailable, match="more requests wait"):
        _fit(handle)
    assert handle.calls == 1


def test_errors_of_the_network_are_not_repeated():
    handle = Handle(RayTaskError("fit", "Traceback …", ValueError("wrong")))
    with pytest.raises(RayTaskError):
        _fit(handle)
    assert handle.calls == 1
