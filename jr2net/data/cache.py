"""Caches for values that are expensive to load."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

V = TypeVar("V")


class ByteBudgetCache(Generic[V]):
    """Keeps values until ``budget`` bytes are used and never evicts them; of the others it keeps only the latest.

    Shuffled epochs need every value equally often, so eviction would not raise the hit rate. Thread-safe: threads load
    different values at the same time, and wait for one that another thread is loading.
    ``size``: bytes of a value.
    """

    def __init__(self, budget: int, size: Callable[[V], int]) -> None:
        self.budget = budget
        self._size, self._free_bytes = size, budget
        self._entries: dict[Hashable, V] = {}
        self._last: tuple[Hashable, V] | None = None
        self._loading: dict[Hashable, Future[V]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, load: Callable[[], V]) -> V:
        with self._lock:
            if key in self._entries:
                return self._entries[key]
            if self._last is not None and self._last[0] == key:
                return self._last[1]
            others = self._loading.get(key)
            if others is None:
                ours: Future[V] = Future()
                self._loading[key] = ours
        if others is not None:
            return others.result()
        try:
            value = load()
            size = self._size(value)
        except BaseException as error:
            with self._lock:
                del self._loading[key]
            ours.set_exception(error)
            raise
        with self._lock:
            del self._loading[key]
            if size <= self._free_bytes:
                self._free_bytes -= size
                self._entries[key] = value
            else:
                self._last = (key, value)
        ours.set_result(value)
        return value


class RecentCache(Generic[V]):
    """Keeps the values that were used last, ``budget`` bytes of them and at least one. Thread-safe.

    ``size``: bytes of a value.
    """

    def __init__(self, budget: int, size: Callable[[V], int]) -> None:
        self.budget = budget
        self._size, self._bytes = size, 0
        self._entries: OrderedDict[Hashable, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, load: Callable[[], V]) -> V:
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        value = load()
        with self._lock:
            if key not in self._entries:
                self._entries[key] = value
                self._bytes += self._size(value)
                while self._bytes > self.budget and len(self._entries) > 1:
                    self._bytes -= self._size(self._entries.popitem(last=False)[1])
        return value
