"""When a training saves its state and when it stops, and which failures end it. Ray is replaced by stand-ins."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import ray.train
from ray.exceptions import RayActorError
from ray.train import WorkerGroupError

from jobs import notices, train
from jobs.notices import Notices, Request, StateBeforeResize, StopAtSignal
from jr2net.config import load
from jr2net.run.cascade import NETWORK_FILES
from jr2net.training import NonFiniteLoss
from jr2net.training.state import StateWriter

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.yaml"


@pytest.fixture(autouse=True)
def events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "_stop", threading.Event())
    monkeypatch.setattr(notices, "_ended", threading.Event())


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The clock: a list of one number."""
    clock = [0.0]
    monkeypatch.setattr(notices.time, "monotonic", lambda: clock[0])
    yield clock


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What Ray answers when it is asked for machines that leave; empty: none does."""
    answers: list[object] = []
    monkeypatch.setattr(ray.train, "get_preemption_info", lambda: answers.pop(0) if answers else None)
    return answers


def after_a_step(asked: Notices) -> Request:
    asked.ask()
    return asked.answer()


def test_a_state_is_due_after_a_time(now: list[float], looks: list[object]) -> None:
    asked = Notices(0, 300.0)
    assert after_a_step(asked) == Request.NOTHING
    now[0] = 299.0
    assert after_a_step(asked) == Request.NOTHING
    now[0] = 300.0
    assert after_a_step(asked) == Request.SAVE
    asked.saved()
    assert after_a_step(asked) == Request.NOTHING
    now[0] = 600.0
    assert after_a_step(asked) == Request.SAVE


def test_the_clock_of_worker_0_counts_and_zero_means_never(now: list[float], looks: list[object]) -> None:
    for asked in (Notices(1, 300.0), Notices(0, 0.0)):
        now[0] += 10_000.0
        assert after_a_step(asked) == Request.NOTHING


def test_a_machine_that_leaves_stops_the_training(now: list[float], looks: list[object]) -> None:
    asked = Notices(0, 300.0)
    looks[:] = [None, "leaves"]
    now[0] = 1.5
    assert after_a_step(asked) == Request.NOTHING
    assert after_a_step(asked) == Request.NOTHING and len(looks) == 1  # not asked at every step
    now[0] = 3.0
    assert after_a_step(asked) == Request.STOP


def test_workers_that_are_asked_to_stop_are_waited_for(now: list[float]) -> None:
    asked = Notices(1, 300.0)
    assert not notices.stop_and_wait(0.0)
    assert after_a_step(asked) == Request.STOP
    notices.ended()
    assert notices.stop_and_wait(0.0)


def test_a_first_sigterm_stops_the_training_and_not_the_process(now: list[float]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    StopAtSignal().after_init_train_context()
    signal.raise_signal(signal.SIGTERM)
    assert after_a_step(Notices(1, 300.0)) == Request.STOP
    assert signal.getsignal(signal.SIGTERM) == before  # for the next one


class Group:
    """Of workers, each of which answers with ``True`` or an error."""

    def __init__(self, answers: list[object], errors: object = None, finished: bool = False) -> None:
        self.answers, self.status = answers, SimpleNamespace(errors=errors, finished=finished)
        self.asked = 0

    def get_latest_poll_status(self) -> SimpleNamespace:
        return self.status

    def execute_async(self, function: Callable, timeout_s: float) -> list[object]:
        assert function is notices.stop_and_wait
        self.asked += 1
        return list(self.answers)


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(ready: list[object]) -> None:
        if isinstance(ready[0], Exception):
            raise ready[0]

    monkeypatch.setattr(ray, "wait", lambda pending, timeout: (pending[:1], pending[1:]))
    monkeypatch.setattr(ray, "get", get)


@pytest.mark.parametrize("answers", [[True, True], [RayActorError(), True]])
def test_before_a_resize_workers_stop(answers: list[object], without_ray: None) -> None:
    callback, group = StateBeforeResize(), Group(answers)
    callback.before_controller_execute_resize_decision(None)  # before the first group there is nothing to save
    callback.after_worker_group_start(group)
    callback.before_controller_execute_resize_decision(None)
    assert group.asked == 1


@pytest.mark.parametrize("group", [Group([], errors={0: "lost"}), Group([], finished=True)])
def test_workers_that_failed_or_finished_are_not_asked(group: Group) -> None:
    callback = StateBeforeResize()
    callback.after_worker_group_start(group)
    callback.before_controller_execute_resize_decision(None)
    callback.after_worker_group_shutdown(None)
    callback.before_controller_execute_resize_decision(None)
    assert not group.asked


def training_with(outcomes: list[Any], folder: Path, max_failures: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """``train`` with what its attempts end with: an error, the step at which it stopped, None if it finished."""

    def fit() -> SimpleNamespace:
        outcome = outcomes.pop(0)
        if callable(outcome):
            outcome = outcome()
        if isinstance(outcome, Exception):
            raise WorkerGroupError(str(outcome), {0: outcome})
        return SimpleNamespace(return_value=outcome)

    monkeypatch.setattr(train, "trainer", lambda *arguments: SimpleNamespace(fit=fit))
    config = load(SMOKE, [f"storage={folder}", f"scaling.max_failures={max_failures}", "scaling.workers=1"])
    run = SimpleNamespace(config=config, folder=lambda stage: str(folder), digests=lambda stage: {}, seconds_after=None)
    return train.train(run, "recnet")  # type: ignore[arg-type]


LOST = RuntimeError("Connection closed by peer [127.0.0.1]:4711")


def test_equal_errors_are_counted_like_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert training_with([LOST, LOST, LOST, None], tmp_path, 3, monkeypatch) == list(NETWORK_FILES)
    with pytest.raises(WorkerGroupError, match="Connection closed"):
        training_with([LOST, LOST, None], tmp_path, 1, monkeypatch)


def test_a_newer_state_is_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def after_a_state(step: int) -> Callable[[], Exception]:
        def attempt() -> Exception:
            StateWriter(str(tmp_path), 2).store(step, {"step": step})
            return LOST

        return attempt

    outcomes = [after_a_state(1), after_a_state(2), after_a_state(3), None]
    assert training_with(outcomes, tmp_path, 1, monkeypatch)


def test_machines_that_leave_are_no_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert training_with([5, 9, None], tmp_path, 0, monkeypatch)


def test_a_user_error_ends_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NonFiniteLoss):
        training_with([NonFiniteLoss("l1 is NaN")], tmp_path, 3, monkeypatch)
