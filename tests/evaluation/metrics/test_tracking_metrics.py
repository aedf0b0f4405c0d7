"""Metrics of tracked expressions on cases with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from jr2net.evaluation.metrics.delay import delay
from jr2net.evaluation.metrics.tracking import (
    GROUPS,
    PAIRS,
    closure_errors,
    gaze,
    gaze_errors,
    group_mean,
    shape_errors,
    side_errors,
)
from jr2net.face.arkit import ARKIT_NAMES, MIRROR_ORDER

LEFT, RIGHT = ARKIT_NAMES.index("eyeBlinkLeft"), ARKIT_NAMES.index("eyeBlinkRight")


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1, (60, len(ARKIT_NAMES)))


def test_every_blendshape_is_in_one_group() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(ARKIT_NAMES)
    assert "mouthFunnel" in GROUPS["mouth"] and "mouthSmileLeft" in GROUPS["smiles"]
    assert len(PAIRS) == 20
    assert all(ARKIT_NAMES[right] == ARKIT_NAMES[left].replace("Left", "Right") for left, right in PAIRS)


def test_errors_by_blendshape_agree_with_numpy(truth: np.ndarray) -> None:
    predicted = np.clip(truth + np.random.default_rng(1).normal(0.1, 0.3, truth.shape), 0, 1)
    errors = shape_errors(predicted, truth)
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(predicted.T, truth.T)]
    np.testing.assert_allclose(errors["correlation"], expected)
    np.testing.assert_allclose(errors["mae"], np.abs(predicted - truth).mean(0))
    np.testing.assert_allclose(errors["bias"], (predicted - truth).mean(0))
    assert group_mean(errors["mae"], GROUPS["blinks"]) == pytest.approx(errors["mae"][[LEFT, RIGHT]].mean())


def test_never_moving_a_blendshape_is_no_advantage(truth: np.ndarray) -> None:
    truth[:, 3] = 0.4
    still = shape_errors(np.zeros_like(truth), truth)["correlation"]
    assert np.isnan(still[3]) and np.all(np.delete(still, 3) == 0)
    assert group_mean(still) == 0
    assert np.isnan(group_mean(still, [ARKIT_NAMES[3]]))


def test_sides_are_told_apart_or_not(truth: np.ndarray) -> None:
    right = side_errors(truth, truth)
    assert right["side_accuracy"][LEFT] == right["side_accuracy"][RIGHT] == 1
    assert right["side_correlation"][LEFT] == pytest.approx(1) and abs(right["side_bias"][LEFT]) < 1e-12
    assert np.isnan(right["side_accuracy"][ARKIT_NAMES.index("jawOpen")])
    swapped = side_errors(truth[:, list(MIRROR_ORDER)], truth)
    assert swapped["side_accuracy"][LEFT] == 0 and swapped["side_correlation"][LEFT] == pytest.approx(-1)
    both = truth.copy()
    both[:, LEFT] = both[:, RIGHT] = truth[:, [LEFT, RIGHT]].mean(1)
    assert side_errors(both, truth)["side_correlation"][LEFT] == 0
    leaning = truth.copy()
    leaning[:, LEFT] += 0.1
    assert side_errors(leaning, truth)["side_bias"][LEFT] == pytest.approx(0.1)


def test_blinks_and_winks() -> None:
    truth, predicted = np.zeros((4, len(ARKIT_NAMES))), np.zeros((4, len(ARKIT_NAMES)))
    truth[:, [LEFT, RIGHT]] = [(0, 0), (1, 1), (0.9, 0.1), (0.1, 0.9)]
    predicted[:, [LEFT, RIGHT]] = [(0.6, 0), (0.7, 0.4), (0.4, 0.1), (0.2, 0.3)]
    errors = closure_errors(predicted, truth)
    assert errors["blink_recall"] == pytest.approx(1 / 4)  # of the eyes that are closed, the left one of the blink
    assert errors["blink_precision"] == pytest.approx(1 / 2)  # beside it the left one of the open eyes
    assert errors["wink_recall"] == pytest.approx(1 / 2)  # the second wink differs by 0.1 only
    assert errors["wink_side"] == 1 and (errors["closed"], errors["winks"]) == (4, 2)
    # Of the 16 comparisons of a closed eye (0.7, 0.4, 0.4, 0.3) with an open one (0.6, 0, 0.1, 0.2), three are lost.
    assert errors["blink_auc"] == pytest.approx(13 / 16)
    assert closure_errors(truth, truth)["wink_correlation"] == pytest.approx(1)
    none = closure_errors(predicted, np.zeros_like(truth))
    assert np.isnan([none["blink_recall"], none["wink_recall"], none["blink_correlation"]]).all()


def test_gaze_is_to_the_subjects_left_and_up() -> None:
    expression = np.zeros((2, len(ARKIT_NAMES)))
    for row, names in enumerate((("eyeLookOutLeft", "eyeLookInRight"), ("eyeLookUpLeft", "eyeLookUpRight"))):
        expression[row, [ARKIT_NAMES.index(name) for name in names]] = 0.5
    np.testing.assert_allclose(gaze(expression), [(0.5, 0), (0, 0.5)])
    np.testing.assert_allclose(gaze(expression[:, list(MIRROR_ORDER)])[0], (-0.5, 0))
    errors = gaze_errors(expression, expression)
    assert errors["gaze_sideways"] == pytest.approx(1) and errors["gaze_mae"] == 0


@pytest.mark.parametrize("late", [0.0, 1.0, 2.5, -3.0])
def test_a_known_delay_is_found(late: float) -> None:
    times = np.arange(200.0)
    speeds = np.array([0.11, 0.05, 0.23])

    def motion(at: np.ndarray) -> np.ndarray:
        return np.sin(at[:, None] * speeds) + 0.5 * np.sin(0.31 * at[:, None] * speeds + 1)

    assert delay(motion(times - late), motion(times), 8) == pytest.approx(late, abs=0.05)
    noise = np.random.default_rng(0).normal(size=(200, 3))
    assert np.isnan(delay(noise, motion(times), 8))
    still = np.zeros((200, 3))
    assert np.isnan(delay(still, motion(times), 8))
    assert np.isnan(delay(motion(times[:10]), motion(times[:10]), 8))
