from __future__ import annotations

import threading
import time

import pytest

from jr2net.data.stream import prefetch


def test_prefetch_keeps_order_and_stays_bounded() -> None:
    loaded: list[int] = []
    stream = prefetch(int, lambda step: loaded.append(step) or step * 10, start=4, depth=2)
    assert [next(stream) for _ in range(5)] == [40, 50, 60, 70, 80]
    assert len(loaded) <= 5 + 2 + 1
    stream.close()
    assert not any(thread.name.startswith("prefetch") for thread in threading.enumerate())


def test_prefetch_raises_errors_in_order() -> None:
    def load(step: int) -> int:
        if step == 2:
            raise KeyError("broken")
        return step

    stream = prefetch(int, load, start=0)
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(KeyError, match="broken"):
        next(stream)


def test_several_threads_keep_the_order() -> None:
    planned: list[int] = []
    busy, most, lock = [0], [0], threading.Lock()

    def make(step: int) -> int:
        with lock:
            busy[0] += 1
            most[0] = max(most[0], busy[0])
        time.sleep(0.02 if step % 2 else 0.001)
        with lock:
            busy[0] -= 1
        return step

    stream = prefetch(lambda step: planned.append(step) or step, make, start=0, threads=3)
    assert [next(stream) for _ in range(20)] == list(range(20))
    stream.close()
    assert planned == sorted(planned) and len(planned) <= 20 + 3 + 3
    assert most[0] == 3
