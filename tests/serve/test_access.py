"""Rate limits, limits on requests in flight, and keys; with a fake clock."""

from __future__ import annotations

import pytest

from serve.access import AccessControl
from serve.problems import Problem
from serve.settings import Limits


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(clock) -> AccessControl:
    return AccessControl(Limits(requests_per_second=2, burst=4, concurrent=2), None, clock)


def _rejection(access: AccessControl, name: str = "a") -> Problem:
    with pytest.raises(Problem) as refused, access.admit(name):
        pass
    return refused.value


def test_requests_are_limited_to_a_burst_and_then_the_rate(access, clock):
    for _ in range(4):
        with access.admit("a"):
            pass
    assert _rejection(access).status == 429 and int(_rejection(access).headers["Retry-After"]) >= 1
    clock.now += 0.5
    with access.admit("a"):
        pass
    assert _rejection(access).status == 429
    clock.now += 1000
    for _ in range(4):
        with access.admit("a"):
            pass
    assert _rejection(access).status == 429, "the bucket holds no more than a burst"


def test_callers_have_separate_limits(access):
    for _ in range(4):
        with access.admit("a"):
            pass
    _rejection(access)
    with access.admit("b"):
        pass


def test_requests_in_flight_are_limited(access):
    with access.admit("a"), access.admit("a"):
        assert "2 requests of this key are in flight" in _rejection(access).detail
    with pytest.raises(RuntimeError), access.admit("a"):
        raise RuntimeError
    with access.admit("a"):
        pass


def test_only_digests_of_keys_are_stored(monkeypatch):
    monkeypatch.setenv("JR2NET_API_KEYS", "secret-one,secret-two")
    access = AccessControl.from_environment(Limits(), "bearer")
    assert "secret" not in repr(access)
    assert access.authenticate("Bearer secret-two", "") != access.authenticate("bearer secret-one", "")
    for wrong in (None, "", "Bearer", "Bearer ", "Bearer secret", "Basic secret-one", "secret-one"):
        with pytest.raises(Problem) as refused:
            access.authenticate(wrong, "")
        assert refused.value.status == 401
