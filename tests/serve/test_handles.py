"""Retries: calls that fail with their replica are retried on another one, errors of the network itself are not."""

from __future__ import annotations

import asyncio

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError
from ray.serve.exceptions import BackPressureError

from serve import deployments
from serve.deployments import NetworkHandles
from serve.problems import NetworkUnavailable


class FakeHandle:
    """A deployment handle whose method raises the given errors, one per call, and then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.calls = list(errors), 0
        self.fit = self

    async def remote(self, items: list[str]) -> list[str]:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return [f"result of {item}" for item in items]


def _fit(handle: FakeHandle, attempts: int = 3) -> list[str]:
    return asyncio.run(NetworkHandles(handle, handle, attempts).fit(["crop"]))


@pytest.fixture(autouse=True)
def no_delays(monkeypatch):
    monkeypatch.setattr(deployments, "_RETRY_DELAYS_S", (0.0,))


def test_calls_to_dead_replicas_are_retried():
    handle = FakeHandle(ActorDiedError(), ActorUnavailableError("gone", None))
    assert _fit(handle) == ["result of crop"] and handle.calls == 3


@pytest.mark.parametrize("code", [StatusCode.CANCELLED, StatusCode.UNKNOWN, StatusCode.INTERNAL])
def test_calls_whose_connection_breaks_are_retried(code):
    handle = FakeHandle(AioRpcError(code, Metadata(), Metadata(), "stream removed"))
    assert _fit(handle) == ["result of crop"] and handle.calls == 2


def test_the_number_of_attempts_is_limited():
    handle = FakeHandle(*[ActorDiedError() for _ in range(9)])
    with pytest.raises(NetworkUnavailable, match="died 3 times"):
        _fit(handle)
    assert handle.calls == 3


def test_a_full_queue_is_not_retried():
    handle = FakeHandle(BackPressureError(num_queued_requests=9, max_queued_requests=9))
    with pytest.raises(NetworkUnavailable, match="queue is full"):
        _fit(handle)
    assert handle.calls == 1


def test_errors_of_the_network_are_not_retried():
    handle = FakeHandle(RayTaskError("fit", "Traceback …", ValueError("wrong")))
    with pytest.raises(RayTaskError):
        _fit(handle)
    assert handle.calls == 1
