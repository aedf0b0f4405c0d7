"""A loss that is no number or a thousand times what it was stops the training; a mean face is told."""

from __future__ import annotations

import math

import pytest

from jr2net.training.guard import ExplodingLoss, LossWatch, NonFiniteLoss, collapse_warning


def watched(steps: int, value: float = 1.0) -> LossWatch:
    watch = LossWatch()
    for step in range(steps):
        watch.check({"l1": value / 2, "landmark": value / 2}, step, ["a"])
    return watch


def test_an_explosion_names_term_step_and_samples() -> None:
    with pytest.raises(ExplodingLoss, match=r"step 150: the loss is 5000, 1000 times.*landmark \(5000\).*samples b, c"):
        watched(150).check({"l1": 0.5, "landmark": 4999.5}, 150, ["b", "c"])


def test_growth_is_no_explosion_and_neither_are_the_first_steps() -> None:
    watched(150).check({"l1": 900.0}, 150, [])
    watched(20).check({"l1": 1e6}, 20, [])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_stops_at_any_step(value: float) -> None:
    with pytest.raises(NonFiniteLoss, match="step 3: l1 became NaN or infinite on samples unknown"):
        LossWatch().check({"l1": value, "landmark": 1.0}, 3, [])


def records(first: int, deviation: float) -> list[dict]:
    return [{"step": step, "losses": {"expression_deviation": deviation}} for step in range(first, first + 10)]


def test_one_expression_for_every_face_is_told() -> None:
    assert "steps 501 to 510: expressions deviate by 1e-05" in (collapse_warning(records(501, 1e-5)) or "")
    assert collapse_warning(records(501, 0.01)) is None
    assert collapse_warning(records(1, 0.0)) is None
    assert collapse_warning([{"step": 501, "losses": {"l1": 0.0}}]) is None
