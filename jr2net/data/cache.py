"""Memory for what is expensive to get again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class KeepWhileFits(Generic[V]):
    """Keeps what is made until ``budget`` bytes are full; after that, of the rest, only what was made last.

    Shuffled epochs return to everything equally often, so that evicting one entry for another would gain nothing.
    Safe to share between threads.
    """

    def __init__(self, budget: int, size: Callable[[V], int]) -> None:
        self.budget = budget
        self._size, self._room = size, budget
        self._kept: dict[Hashable, V] = {}
        self._last: tuple[Hashable, V] | None = None
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        with self._lock:
            if key in self._kept:
                return self._kept[key]
            if self._last is not None and self._last[0] == key:
                return self._last[1]
            value = make()
            size = self._size(value)
            if size <= self._room:
                self._room -= size
                self._kept[key] = value
            else:
                self._last = (key, value)
            return value
