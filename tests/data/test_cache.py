from __future__ import annotations

from jr2net.data.cache import ByteBudgetCache


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
