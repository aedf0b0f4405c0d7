"""Fills the frames of a capture in which no face was seen, or that are missing.

A gap of up to half a second is bridged linearly. A longer one holds the last values and moves to the next ones within
its last half second. Frames stay at their time.
"""

from __future__ import annotations

import numpy as np

BRIDGE_S = 0.5


def fill(position: np.ndarray, values: np.ndarray, fps: float) -> np.ndarray:
    """Values (M, K) at ``position`` (M,), in frames and ascending, to values (T, K) at frames 0, 1, 2, …

    NaN are filled too, in each column by its own neighbours; every column has at least one number. Before the first
    number and after the last one, it is held.
    """
    frames = np.arange(int(np.ceil(position[-1] - 1e-6)) + 1)
    if len(frames) == len(position) and np.isfinite(values).all() and (position == frames).all():
        return values
    reach = BRIDGE_S * fps
    filled = np.empty((len(frames), values.shape[1]), np.float32)
    for column, cells in enumerate(values.T):
        known = np.isfinite(cells)
        filled[:, column] = np.interp(frames, *_with_holds(position[known], cells[known], reach))
    return filled


def seen_frames(position: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(T,) bool: the frames less than a frame from a row with a face."""
    frames = np.arange(int(np.ceil(position[-1] - 1e-6)) + 1)
    known = position[seen]
    after = np.searchsorted(known, frames).clip(0, len(known) - 1)
    nearest = np.minimum(np.abs(known[after] - frames), np.abs(known[(after - 1).clip(0)] - frames))
    return nearest < 0.99


def _with_holds(position: np.ndarray, values: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """The points with one more in each gap that is longer than ``reach``: the last value, until ``reach`` before the
    gap's end."""
    (long,) = np.nonzero(np.diff(position) > reach + 1)
    return (
        np.insert(position, long + 1, position[long + 1] - reach),
        np.insert(values, long + 1, values[long]),
    )
