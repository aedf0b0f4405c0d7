"""Errors of head pose and landmarks by how far a head is turned, as publications on AFLW2000-3D report them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ANGLES = ("pitch", "yaw", "roll")
LARGEST = 99.0
"""Heads of which an angle is larger, in degrees, are left out of the pose error (Ruiz et al. 2018), 31 of 2,000."""

YAW_BINS: Mapping[str, tuple[float, float]] = {"[0, 30]": (-1, 30), "[30, 60]": (30, 60), "[60, 90]": (60, np.inf)}
"""Degrees of absolute yaw; a bin holds its upper bound, and the last all that is above 60 (Zhu et al. 2016)."""


def pose_errors(predicted: Array, truth: Array) -> dict[str, float]:
    """Mean absolute error in degrees of pitch, yaw and roll (M, 3) radians, and ``mae``, the mean of the three.

    Angles of the same convention. Differences are taken the shorter way round. Faces with a true angle above LARGEST
    degrees are left out; NaN where none is left.
    """
    chosen = np.abs(np.degrees(truth)).max(1) <= LARGEST
    if not chosen.any():
        return dict.fromkeys((*ANGLES, "mae"), float("nan"))
    gap = np.degrees(predicted[chosen] - truth[chosen])
    errors = np.abs((gap + 180) % 360 - 180).mean(0)
    return {**{name: float(error) for name, error in zip(ANGLES, errors)}, "mae": float(errors.mean())}


def by_yaw(values: Array, yaw: Array) -> dict[str, float]:
    """Mean of values (M,) in every bin of YAW_BINS by yaw (M,) radians, ``mean`` of the three means and their ``std``;
    NaN for a bin without faces or with a value that is NaN, and then for the mean and the deviation too."""
    means = {}
    for name, chosen in _bins(yaw).items():
        means[name] = float(values[chosen].mean()) if chosen.any() else float("nan")
    each = np.array(list(means.values()))
    return {**means, "mean": float(each.mean()), "std": float(each.std())}


def count_by_yaw(yaw: Array) -> dict[str, int]:
    """Number of faces in every bin of YAW_BINS by yaw (M,) radians."""
    return {name: int(chosen.sum()) for name, chosen in _bins(yaw).items()}


def _bins(yaw: Array) -> dict[str, NDArray[np.bool_]]:
    turned = np.abs(np.degrees(yaw))
    return {name: (turned > low) & (turned <= high) for name, (low, high) in YAW_BINS.items()}
