"""Rates and numbers of one caller, by a clock that the test turns."""

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


def _refused(access: AccessControl, name: str = "a") -> Problem:
    with pytest.raises(Problem) as refused, access.admit(name):
        pass
    return refused.value


def test_a_burst_then_the_rate(access, clock):
    for _ in range(4):
        with access.admit("a"):
            pass
    assert _refused(access).status == 429 and int(_refused(access).headers["Retry-After"]) >= 1
    clock.now += 0.5
    with access.admit("a"):
        pass
    assert _refused(access).status == 429
    clock.now += 1000
    for _ in range(4):
        with access.admit("a"):
            pass
    assert _refused(access).status == 429, "the bucket holds no more than a burst"


def test_callers_do_not_spend_each_others(access):
    for _ in range(4):
        with access.admit("a"):
            pass
    _refused(access)
    with access.admit("b"):
        pass


def test_only_so_many_at_once(access):
    with access.admit("a"), access.admit("a"):
        assert "2 requests of this key are under way" in _refused(access).detail
    with pytest.raises(RuntimeError), access.admit("a"):
        raise RuntimeError
    with access.admit("a"):
        pass


def test_keys_are_kept_as_digests(monkeypatch):
    monkeypatch.setenv("JR2NET_API_KEYS", "secret-one,secret-two")
    access = AccessControl.from_environment(Limits(), "bearer")
    assert "secret" not in repr(access)
    assert access.name("Bearer secret-two", "") != access.name("bearer secret-one", "")
    for wrong in (None, "", "Bearer", "Bearer ", "Bearer secret", "Basic secret-one", "secret-one"):
        with pytest.raises(Problem) as refused:
            access.name(wrong, "")
        assert refused.value.status == 401
