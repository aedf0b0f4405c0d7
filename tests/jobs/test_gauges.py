"""Gauges are set again and again: Ray forgets those that are not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import ray
from ray.util.metrics import Gauge

from jobs import gauges
from jobs.gauges import INTERVAL_S, LastingGauges
from jobs.progress import Watched, wants_workers

Seen = dict[tuple[str, str], float]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """What was set since the test has last emptied it: value by name and the rest of the tags."""
    values: Seen = {}

    def set_value(gauge: Gauge, value: float, tags: dict[str, str] | None = None) -> None:
        values[gauge.info["name"], (tags or {}).get("term", "")] = value

    monkeypatch.setattr(Gauge, "set", set_value)
    monkeypatch.setattr(gauges, "INTERVAL_S", 0.01)
    yield values


def comes(found: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not (there := found()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return there


def test_several_times_between_two_reports() -> None:
    assert ray._config.metrics_report_interval_ms() / 1000 > 2 * INTERVAL_S


def test_a_training_that_does_nothing_is_seen_until_it_ends(seen: Seen) -> None:
    watched = Watched("recnet", step=6, planned=100, workers=2)
    assert comes(lambda: ("jr2net_training_step", "") in seen), "before the first step"
    watched.add_step(7, {"forward": 0.1})
    watched.set_losses({"loss/landmark": 0.5, "learning_rate": 1e-4})
    watched.set_state_time()
    state_time = seen["jr2net_training_state_time", ""]
    seen.clear()
    expected = {
        ("jr2net_training_step", ""): 7,
        ("jr2net_training_planned_steps", ""): 100,
        ("jr2net_training_workers", ""): 2,
        ("jr2net_training_state_time", ""): state_time,
        ("jr2net_training_loss", "loss/landmark"): 0.5,
    }
    assert comes(lambda: seen == expected), seen
    watched.close()
    seen.clear()
    time.sleep(0.1)
    assert not seen


def test_the_driver_says_that_it_wants_workers(seen: Seen) -> None:
    with pytest.raises(KeyboardInterrupt), wants_workers("recnet", 8):
        seen.clear()
        assert comes(lambda: seen == {("jr2net_training_wanted_workers", ""): 8})
        raise KeyboardInterrupt
    seen.clear()
    time.sleep(0.1)
    assert not seen


def test_the_newest_value_counts(seen: Seen) -> None:
    lasting = LastingGauges()
    gauge = Gauge("jr2net_of_this_test", "a number")
    for value in range(200):
        lasting.set(gauge, value)
        time.sleep(0.001)
        assert seen["jr2net_of_this_test", ""] == value
    lasting.close()
