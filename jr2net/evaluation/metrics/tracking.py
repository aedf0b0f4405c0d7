"""Metrics of tracked expressions: coefficients against truth by blendshape, by group, by side; blinks; gaze.

All functions take predicted and true coefficients (M, 51) in the order of ``ARKIT_NAMES`` and return NaN where the
truth does not decide a figure.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from jr2net.face.arkit import ARKIT_NAMES, MIRROR_ORDER

Array = NDArray[np.float64]

VARIES = 0.02
"""A blendshape varies if the standard deviation of its true coefficient is above this."""

CLOSED = 0.5
"""An eye is closed from this coefficient of its blink on."""

APART = 0.2
"""Left and right, or the two eyes of a wink, differ from this difference of their coefficients on."""


def _starting(*beginnings: str) -> tuple[str, ...]:
    return tuple(name for name in ARKIT_NAMES if name.startswith(beginnings))


_NAMED = {
    "blinks": _starting("eyeBlink"),
    "gaze": _starting("eyeLook"),
    "lids": _starting("eyeSquint", "eyeWide"),
    "brows": _starting("brow"),
    "smiles": _starting("mouthSmile"),
    "jaw": _starting("jaw"),
    "upper lip": _starting("mouthUpperUp"),
    "lower lip": _starting("mouthLowerDown"),
    "cheeks and nose": _starting("cheek", "nose"),
}
_GROUPED = frozenset(name for names in _NAMED.values() for name in names)

GROUPS: dict[str, tuple[str, ...]] = _NAMED | {"mouth": tuple(name for name in ARKIT_NAMES if name not in _GROUPED)}
"""Group -> its blendshapes; every one is in exactly one. ``mouth`` is what no other group has."""

PAIRS: tuple[tuple[int, int], ...] = tuple(
    (index, MIRROR_ORDER[index]) for index, name in enumerate(ARKIT_NAMES) if name.endswith("Left")
)
"""Indices of the left and the right blendshape of every pair; ``jawLeft`` and ``mouthLeft`` are sides of one motion."""


def shape_errors(predicted: Array, truth: Array) -> dict[str, Array]:
    """Metric -> (51,): ``mae``; ``bias``, the mean of prediction less truth; ``correlation`` (Pearson's r).

    A blendshape that does not vary in the truth has no correlation (NaN). One that varies there and not in the
    prediction has 0: never moving a blendshape must not be an advantage.
    """
    error = predicted - truth
    return {
        "mae": np.abs(error).mean(0),
        "bias": error.mean(0),
        "correlation": correlation(predicted, truth, VARIES),
    }


def correlation(predicted: Array, truth: Array, varies: float = 1e-6) -> Array:
    """Pearson's r of every column of (M, C) arrays: (C,). NaN where the truth's standard deviation is at most
    ``varies``, 0 where the prediction is constant."""
    std, true_std = predicted.std(0), truth.std(0)
    covariance = ((predicted - predicted.mean(0)) * (truth - truth.mean(0))).mean(0)
    moves = std > 1e-6
    r = np.where(moves, covariance / np.where(moves, std * np.maximum(true_std, 1e-12), 1), 0.0)
    return np.where(true_std > varies, r, np.nan)


def group_mean(values: Array, names: Iterable[str] | None = None) -> float:
    """Mean of (51,) over the blendshapes of a group (None: all) for which there is a value; NaN if there is none."""
    chosen = values if names is None else values[[ARKIT_NAMES.index(name) for name in names]]
    known = chosen[np.isfinite(chosen)]
    return float(known.mean()) if len(known) else float("nan")


def side_errors(predicted: Array, truth: Array) -> dict[str, Array]:
    """How well left and right are told apart. Metric -> (51,), the same for both blendshapes of a pair; NaN for others.

    With d the left coefficient less the right one,
    side_correlation  correlation of predicted and true d, where it varies
    side_accuracy     of the frames whose true |d| is at least APART, the fraction with a predicted d of the same sign
    side_bias         mean of predicted less true d: above 0, the left is favoured
    """
    left, right = (list(side) for side in zip(*PAIRS))
    predicted_gap, true_gap = predicted[:, left] - predicted[:, right], truth[:, left] - truth[:, right]
    apart = np.abs(true_gap) >= APART
    found = (apart & (predicted_gap * true_gap > 0)).sum(0)
    count = apart.sum(0)
    by_pair = {
        "side_correlation": correlation(predicted_gap, true_gap, VARIES),
        "side_accuracy": np.where(count > 0, found / np.maximum(count, 1), np.nan),
        "side_bias": (predicted_gap - true_gap).mean(0),
    }
    errors = {metric: np.full(len(ARKIT_NAMES), np.nan) for metric in by_pair}
    for metric, values in by_pair.items():
        errors[metric][left] = errors[metric][right] = values
    return errors


def closure_errors(predicted: Array, truth: Array) -> dict[str, float]:
    """Closed eyes, and one eye closed alone.

    blink_correlation  of the mean of both blinks
    blink_recall       of the eyes that are closed (CLOSED), the fraction that is found closed
    blink_precision    of the eyes that are found closed, the fraction that is
    blink_auc          probability that a closed eye is found more closed than an open one (area under the ROC curve):
                       it does not depend on the scale of the answers
    wink_correlation   of the difference of the two blinks, where it varies
    wink_recall        of the frames in which one eye is closed and the other is not, and they differ by at least APART,
                       the fraction in which the same eye is found more closed, by at least APART
    wink_side          the same, by however little
    closed, winks      numbers of closed eyes and of such frames in the truth
    """
    blinks = [ARKIT_NAMES.index(name) for name in ("eyeBlinkLeft", "eyeBlinkRight")]
    predicted, truth = predicted[:, blinks], truth[:, blinks]
    closed, found = truth >= CLOSED, predicted >= CLOSED
    gap, true_gap = predicted[:, 0] - predicted[:, 1], truth[:, 0] - truth[:, 1]
    winks = (closed.sum(1) == 1) & (np.abs(true_gap) >= APART)
    return {
        "blink_correlation": float(correlation(predicted.mean(1)[:, None], truth.mean(1)[:, None], VARIES)[0]),
        "blink_recall": _fraction(closed & found, closed),
        "blink_precision": _fraction(closed & found, found),
        "wink_correlation": float(correlation(gap[:, None], true_gap[:, None], VARIES)[0]),
        "wink_recall": _fraction(winks & (gap * np.sign(true_gap) >= APART), winks),
        "wink_side": _fraction(winks & (gap * true_gap > 0), winks),
        "blink_auc": _area_under_roc(predicted.ravel(), closed.ravel()),
        "closed": float(closed.sum()),
        "winks": float(winks.sum()),
    }


def gaze(expression: Array) -> Array:
    """Gaze (M, 2) of coefficients (M, 51): to the subject's left and upwards, mean of both eyes, in coefficients."""

    def shape(name: str) -> Array:
        return expression[:, ARKIT_NAMES.index(f"eyeLook{name}")]

    sideways = shape("OutLeft") - shape("InLeft") + shape("InRight") - shape("OutRight")
    upwards = shape("UpLeft") - shape("DownLeft") + shape("UpRight") - shape("DownRight")
    return np.stack([sideways, upwards], 1) / 2


def gaze_errors(predicted: Array, truth: Array) -> dict[str, float]:
    """``gaze_sideways``, ``gaze_upwards``: correlations of the directions; ``gaze_mae``: of both, in coefficients."""
    directions, true_directions = gaze(predicted), gaze(truth)
    sideways, upwards = correlation(directions, true_directions, VARIES)
    return {
        "gaze_sideways": float(sideways),
        "gaze_upwards": float(upwards),
        "gaze_mae": float(np.abs(directions - true_directions).mean()),
    }


def _fraction(chosen: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    return float(chosen.sum() / among.sum()) if among.any() else float("nan")


def _area_under_roc(scores: Array, positive: NDArray[np.bool_]) -> float:
    """By the ranks of the positives (Mann and Whitney 1947); ties count half."""
    count = int(positive.sum())
    if not 0 < count < len(scores):
        return float("nan")
    ranks = rankdata(scores)[positive].sum() - count * (count + 1) / 2
    return float(ranks / (count * (len(scores) - count)))
