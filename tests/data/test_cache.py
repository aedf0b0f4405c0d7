from __future__ import annotations

from jr2net.data.cache import KeepWhileFits


def test_keeps_what_fits_and_the_last_of_the_rest() -> None:
    made: list[str] = []
    cache: KeepWhileFits[str] = KeepWhileFits(budget=5, size=len)

    def get(key: str) -> str:
        return cache.get(key, lambda: made.append(key) or key)

    for key in ("aaa", "bbb", "bbb", "cc", "aaa", "cc", "bbb", "bbb"):
        assert get(key) == key
    assert made == ["aaa", "bbb", "cc"]
    assert [get(key) for key in ("ddd", "bbb")] == ["ddd", "bbb"]
    assert made == ["aaa", "bbb", "cc", "ddd", "bbb"]
