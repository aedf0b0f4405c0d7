"""What 1 is in a capture's file: coefficients of 0 to 1, 0 to 100 or 0 to 255, and angles in radians or degrees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from jr2net.expressions.columns import TrackError
from jr2net.face.arkit import ARKIT_NAMES

_LARGEST_OF_UNIT = 2.0  # amplified captures exceed 1; they are clamped
_SMALLEST_OF_HUNDRED = 20.0  # blinks and gaze reach it within seconds; what stays below may be on another scale
_MOST_NEGATIVE = 0.02  # of all coefficients: solvers undershoot 0 a little and rarely, a scale of -1 to 1 often


def find_scale(shapes: np.ndarray, lines: Sequence[int], source: str, percent: bool = False) -> float:
    """What coefficients (N, 51) have to be divided by: 1, 100 or 255.

    lines    (N,) of the rows in the file, for the error
    percent  whether the file says that they are percentages
    Raises TrackError where it is none of them, naming the coefficient.
    """
    top, bottom = float(np.nanmax(shapes)), float(np.nanmin(shapes))
    scale = 100.0 if percent else 1.0 if top <= _LARGEST_OF_UNIT else _large_scale(shapes, top)
    mostly_tiny = scale > 1 and not percent and (shapes > 1).sum() < 0.1 * (shapes > 1e-6).sum()
    if not scale or mostly_tiny or top > 2 * scale:
        raise _unclear(shapes, int(np.nanargmax(shapes)), lines, source)
    if bottom < -scale or (shapes < -0.1 * scale).mean() > _MOST_NEGATIVE:
        raise _unclear(shapes, int(np.nanargmin(shapes)), lines, source)
    return scale


def bring_to_units(extra: Mapping[str, np.ndarray], scale: float) -> tuple[dict[str, np.ndarray], list[str]]:
    """The columns besides the blendshapes: the tongue in [0, 1], rotations in radians; and what was done, in words.

    Rotations of which one exceeds half a turn of radians are plainly degrees.
    """
    angles = [np.nanmax(np.abs(values)) for name, values in extra.items() if name != "tongueOut"]
    degrees = bool(angles) and float(max(angles)) > np.pi + 0.1
    notes = ["rotations in degrees are turned into radians"] if degrees else []
    units = {name: np.deg2rad(values) if degrees else values for name, values in extra.items()}
    if "tongueOut" in extra:
        units["tongueOut"] = (extra["tongueOut"] / np.float32(scale)).clip(0, 1)
    return units, notes


def _large_scale(shapes: np.ndarray, top: float) -> float:
    """100 or 255, whichever the largest coefficient plainly belongs to; 0: neither.

    Integers that reach little beyond 100 may be either.
    """
    if _SMALLEST_OF_HUNDRED <= top <= 105:
        return 100.0
    if (shapes == np.rint(shapes))[np.isfinite(shapes)].all():
        return 255.0 if 130 < top <= 255 else 0.0
    return 100.0 if 105 < top <= 130 else 0.0


def _unclear(shapes: np.ndarray, cell: int, lines: Sequence[int], source: str) -> TrackError:
    row, shape = divmod(cell, len(ARKIT_NAMES))
    return TrackError(
        f"{source}: line {lines[row]}, {ARKIT_NAMES[shape]}: {shapes[row, shape]:g} fits no scale that is known (0 to "
        "1, 0 to 100, integers from 0 to 255); correct it, or bring the columns to 0 to 1"
    )
