"""Rates and numbers of one caller, by a clock that the test turns."""

from __future__ import annotations

import pytest

from serve.keys import Door
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
def door(clock) -> Door:
    return Door(Limits(requests_per_second=2, burst=4, concurrent=2), None, clock)


def _refused(door: Door, name: str = "a") -> Problem:
    with pytest.raises(Problem) as refused, door.admit(name):
        pass
    return refused.value


def test_a_burst_then_the_rate(door, clock):
    for _ in range(4):
        with door.admit("a"):
            pass
    assert _refused(door).status == 429 and int(_refused(door).headers["Retry-After"]) >= 1
    clock.now += 0.5
    with door.admit("a"):
        pass
    assert _refused(door).status == 429
    clock.now += 1000
    for _ in range(4):
        with door.admit("a"):
            pass
    assert _refused(door).status == 429, "the bucket holds no more than a burst"


def test_callers_do_not_spend_each_others(door):
    for _ in range(4):
        with door.admit("a"):
            pass
    _refused(door)
    with door.admit("b"):
        pass


def test_only_so_many_at_once(door):
    with door.admit("a"), door.admit("a"):
        assert "2 requests of this key are under way" in _refused(door).detail
    with pytest.raises(RuntimeError), door.admit("a"):
        raise RuntimeError
    with door.admit("a"):
        pass


def test_keys_are_kept_as_digests(monkeypatch):
    monkeypatch.setenv("JR2NET_API_KEYS", "secret-one,secret-two")
    door = Door.from_environment(Limits(), "bearer")
    assert "secret" not in repr(door)
    assert door.name("Bearer secret-two", "") != door.name("bearer secret-one", "")
    for wrong in (None, "", "Bearer", "Bearer ", "Bearer secret", "Basic secret-one", "secret-one"):
        with pytest.raises(Problem) as refused:
            door.name(wrong, "")
        assert refused.value.status == 401
