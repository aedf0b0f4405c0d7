"""Non-finite and exploding losses stop the training; collapse to the mean face gives a warning."""

from __future__ import annotations

import math

import pytest

from jr2net.training.guard import ExplodingLoss, LossMonitor, NonFiniteLoss, collapse_warning


def monitor_after(steps: int, value: float = 1.0) -> LossMonitor:
    monitor = LossMonitor()
    for step in range(steps):
        monitor.check({"l1": value / 2, "landmark": value / 2}, step, ["a"])
    return monitor


def test_explosion_error_names_term_step_and_samples() -> None:
    with pytest.raises(
        ExplodingLoss, match=r"step 150: the loss exploded to 5000.*1000 times.*landmark \(5000\).*samples b, c"
    ):
        monitor_after(150).check({"l1": 0.5, "landmark": 4999.5}, 150, ["b", "c"])


def test_moderate_growth_and_the_first_steps_raise_nothing() -> None:
    monitor_after(150).check({"l1": 900.0}, 150, [])
    monitor_after(20).check({"l1": 1e6}, 20, [])


def test_a_loss_of_nothing_does_not_explode() -> None:
    monitor_after(150, 0.0).check({"matte": 1.5e-7}, 150, [])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_losses_raise_at_any_step(value: float) -> None:
    with pytest.raises(NonFiniteLoss, match="step 3: l1 became NaN or infinite on samples unknown"):
        LossMonitor().check({"l1": value, "landmark": 1.0}, 3, [])


def records(first: int, deviation: float) -> list[dict]:
    return [{"step": step, "losses": {"expression_deviation": deviation}} for step in range(first, first + 10)]


def test_collapse_to_one_expression_gives_a_warning() -> None:
    assert "steps 501 to 510: expressions deviate by 1e-05" in (collapse_warning(records(501, 1e-5)) or "")
    assert collapse_warning(records(501, 0.01)) is None
    assert collapse_warning(records(1, 0.0)) is None
    assert collapse_warning([{"step": 501, "losses": {"l1": 0.0}}]) is None
