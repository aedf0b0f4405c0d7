"""How late a tracked signal is: the shift at which it correlates best with what it follows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_STEADY = 1e-6

ALIKE = 0.5
"""Signals that correlate less than this at every shift have no delay: where one follows the other is chance."""


def delay(signal: Array, reference: Array, limit: int) -> float:
    """Frames by which ``signal`` (T, C) comes after ``reference`` (T, C), both at a constant rate.

    The maximum, over shifts of up to ``limit`` frames in both directions, of the normalised cross-correlation summed
    over the columns, refined to a fraction of a frame by the parabola through it and its neighbours. Columns that are
    constant in either decide nothing. NaN where none is left, where the signals are not ALIKE at any shift, or where T
    is at most 2 ``limit``.
    """
    frames = len(reference)
    moves = (signal.std(0) > _STEADY) & (reference.std(0) > _STEADY)
    if frames <= 2 * limit or not moves.any():
        return float("nan")
    signal, reference = signal[:, moves], reference[:, moves]
    shifts = range(-limit, limit + 1)
    scores = np.array([_similarity(signal, reference, shift) for shift in shifts])
    best = int(scores.argmax())
    if scores[best] < ALIKE:
        return float("nan")
    if 0 < best < len(scores) - 1:
        before, peak, after = scores[best - 1 : best + 2]
        bend = before - 2 * peak + after
        return float(shifts[best] + (0.5 * (before - after) / bend if bend < 0 else 0.0))
    return float(shifts[best])


def _similarity(signal: Array, reference: Array, shift: int) -> float:
    """Correlation over the frames that both have once the signal is moved back by ``shift``, over all columns at once,
    so that columns count by how much they move."""
    frames = len(reference)
    a = signal[max(shift, 0) : frames + min(shift, 0)]
    b = reference[max(-shift, 0) : frames - max(shift, 0)]
    a, b = a - a.mean(0), b - b.mean(0)
    size = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / size) if size > 0 else -1.0
