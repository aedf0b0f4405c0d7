"""A cache for values that are expensive to load."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class ByteBudgetCache(Generic[V]):
    """Keeps values until ``budget`` bytes are used and never evicts them; of the others it keeps only the latest.

    Shuffled epochs need every value equally often, so eviction would not raise the hit rate. Thread-safe.
    ``size``: bytes of a value.
    """

    def __init__(self, budget: int, size: Callable[[V], int]) -> None:
        self.budget = budget
        self._size, self._free_bytes = size, budget
        self._entries: dict[Hashable, V] = {}
        self._last: tuple[Hashable, V] | None = None
        self._lock = threading.Lock()

    def get(self, key: Hashable, load: Callable[[], V]) -> V:
        with self._lock:
            if key in self._entries:
                return self._entries[key]
            if self._last is not None and self._last[0] == key:
                return self._last[1]
            value = load()
            size = self._size(value)
            if size <= self._free_bytes:
                self._free_bytes -= size
                self._entries[key] = value
            else:
                self._last = (key, value)
            return value
