"""Waiting for tasks: in order, one error ends it, and the effort is linear in their number."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from threading import Timer
from typing import Any

import pytest
import ray

from jobs import tasks
from jobs.tasks import wait_for_all


class Task:
    """Stands for an ObjectRef; counts how often somebody looks at it."""

    looks = 0

    def __init__(self) -> None:
        self.ended: Future[Any] = Future()

    def future(self) -> Future[Any]:
        Task.looks += 1
        return self.ended


def started(count: int, monkeypatch: pytest.MonkeyPatch) -> Sequence[Any]:
    monkeypatch.setattr(Task, "looks", 0)
    return [Task() for _ in range(count)]


def test_every_task_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    waited_for = started(2000, monkeypatch)

    def end() -> None:
        for number in reversed(range(2000)):
            waited_for[number].ended.set_result(number)

    Timer(0.05, end).start()
    assert wait_for_all(waited_for, "prepare", "filmed") == list(range(2000))
    assert Task.looks == 2000


def test_the_first_error_cancels_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    waited_for, cancelled = started(4, monkeypatch), []
    monkeypatch.setattr(ray, "cancel", lambda task, force: cancelled.append(task))
    waited_for[0].ended.set_result(0)
    waited_for[2].ended.set_exception(ValueError("damaged"))
    with pytest.raises(ValueError, match="damaged"):
        wait_for_all(waited_for, "prepare", "filmed")
    assert cancelled == [waited_for[1], waited_for[3]]


def test_progress_has_the_time_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    waited_for = started(3, monkeypatch)
    for task in waited_for:
        task.ended.set_result(None)
    monkeypatch.setattr(tasks, "INTERVAL", -1.0)
    wait_for_all(waited_for, "mattes", "made")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"[mattes] {count} of 3 shards made" for count in (1, 2, 3)]


def test_tasks_of_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    ray.init("local", num_cpus=1, include_dashboard=False, logging_level="ERROR")
    try:

        @ray.remote
        def halve(number: int) -> int:
            if number % 2:
                raise ValueError(f"{number} is odd")
            return number // 2

        assert wait_for_all([halve.remote(number) for number in (4, 2, 0)], "prepare", "filmed") == [2, 1, 0]
        with pytest.raises(ValueError, match="3 is odd"):
            wait_for_all([halve.remote(number) for number in (2, 3)], "prepare", "filmed")
    finally:
        ray.shutdown()
