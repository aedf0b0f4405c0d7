from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from jr2net.data.cache import ByteBudgetCache, RecentCache


def test_values_within_the_budget_and_the_latest_other_are_cached() -> None:
    loaded: list[str] = []
    cache: ByteBudgetCache[str] = ByteBudgetCache(budget=5, size=len)

    def get(key: str) -> str:
        return cache.get(key, lambda: loaded.append(key) or key)

    for key in ("aaa", "bbb", "bbb", "cc", "aaa", "cc", "bbb", "bbb"):
        assert get(key) == key
    assert loaded == ["aaa", "bbb", "cc"]
    assert [get(key) for key in ("ddd", "bbb")] == ["ddd", "bbb"]
    assert loaded == ["aaa", "bbb", "cc", "ddd", "bbb"]


def test_values_are_loaded_at_the_same_time_and_each_once() -> None:
    """No lock is held while a value is loaded: two loads that wait for each other succeed."""
    cache: ByteBudgetCache[str] = ByteBudgetCache(budget=100, size=len)
    together, loaded = threading.Barrier(2, timeout=10), []

    def get(key: str) -> str:
        def load() -> str:
            loaded.append(key)
            together.wait()
            return key

        return cache.get(key, load)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(get, ["a", "b", "a", "b", "a", "b"])) == ["a", "b", "a", "b", "a", "b"]
    assert sorted(loaded) == ["a", "b"]


def test_a_load_that_fails_is_tried_again() -> None:
    cache: ByteBudgetCache[str] = ByteBudgetCache(budget=100, size=len)

    def fail() -> str:
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        cache.get("a", fail)
    assert cache.get("a", lambda: "value") == "value"


def test_recent_values_stay() -> None:
    cache: RecentCache[bytes] = RecentCache(10, len)
    loaded: list[int] = []

    def load(key: int) -> bytes:
        loaded.append(key)
        return bytes(4)

    for key in (1, 2, 1, 3, 1, 2):
        cache.get(key, lambda key=key: load(key))  # type: ignore[misc]
    assert loaded == [1, 2, 3, 2]
    assert len(cache.get(9, lambda: bytes(99))) == 99  # more than the budget
    assert cache.get(9, lambda: b"") != b""
