"""When the rows of a capture were recorded: timecodes and timestamps of every kind, and the frames that they mean.

A timecode ``HH:MM:SS:FF.fff`` counts FF ticks of a clock that may be faster than the capture: its numbers may step by
two. With ``;`` before FF it is drop-frame timecode (SMPTE 12M): the clock runs at 29.97 or 59.94 Hz, and two or four
numbers are skipped at the start of each minute but every tenth. ``HH:MM:SS.fff`` has a fraction of a second instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jr2net.expressions.columns import TrackError

DEFAULT_FPS = 30.0
LONGEST_PAUSE_S = 60.0
"""A longer jump of the times, without a row in between, is taken for a restart: the pause is left out."""

_TIMECODE = re.compile(r"(\d+):(\d+):(\d+)(?:([:;.,])(\d+(?:\.\d+)?))?\s*$")
_CLOCKS = (12, 15, 20, 24, 25, 30, 48, 50, 60, 100, 120, 240)
_NOMINAL_RATES = (24.0, 25.0, 30.0, 50.0, 60.0, 120.0)
_DAY_S = 86400
_FASTEST, _SLOWEST = 480.0, 1.0  # plausible frame rates
_MAX_RESAMPLED_FPS = 120.0
_MOST_FRAMES = 500_000  # of a capture with few rows, whose gaps would be filled
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


@dataclass(frozen=True)
class Timeline:
    """The frames of a capture.

    rows      (M,) int: the rows that are used, in the order of time
    position  (M,) float: where each of them lies, in frames; without missing frames 0, 1, 2, …
    fps       frames per second
    notes     what was found and done, in words
    """

    rows: np.ndarray
    position: np.ndarray
    fps: float
    notes: tuple[str, ...] = ()


def timeline(cells: Sequence[str], unit: str, lines: Sequence[int], source: str) -> Timeline:
    """The frames that times mean, one cell per row; without any or with senseless ones, rows at ``DEFAULT_FPS``.

    unit   s, ms, us or ns; "frame": frame numbers; empty: timecodes, or a unit that follows from the steps
    lines  of the rows in the file, for the error
    Raises TrackError where a second capture begins, or where one consists of pauses.
    """
    seconds = _seconds(cells, unit) if len(cells) > 2 else None
    if seconds is None:
        note = (f"it tells no frame rate: {DEFAULT_FPS:g} frames a second are assumed",) * (len(cells) > 2)
        return Timeline(np.arange(len(cells)), np.arange(len(cells), dtype=float), DEFAULT_FPS, note)
    notes = []
    order = np.argsort(seconds, kind="stable")
    _check_one_take(seconds, order, lines, source)
    if (np.diff(order) < 0).any():
        notes.append("rows that were out of order are sorted by their times")
    order, seconds, repeated = _separate(order, seconds[order])
    if repeated:
        notes.append(f"rows that repeat a time, left out: {repeated}")
    steps = np.diff(seconds)
    step = _typical(steps)
    paused = steps > max(LONGEST_PAUSE_S, 2 * step)
    if paused.any():
        notes.append(f"pauses of more than {LONGEST_PAUSE_S:g} s, left out: {paused.sum()}")
        steps[paused] = step
    position, fps = _frames(steps, step)
    if position[-1] > max(_MOST_FRAMES, 2 * len(cells)):
        raise TrackError(
            f"{source}: {len(cells)} rows over {position[-1] / fps / 3600:.1f} hours; split the capture at its pauses"
        )
    if unit == "frame":
        notes.append(f"frames are numbered but not timed: {DEFAULT_FPS:g} a second are assumed")
    return Timeline(order, position, fps, tuple(notes))


def infer_fps(timecodes: Sequence[str]) -> float:
    """Frames per second from timecodes or timestamps; ``DEFAULT_FPS`` where they are missing or make no sense."""
    return timeline(timecodes, "", range(len(timecodes)), "times").fps


def _seconds(cells: Sequence[str], unit: str) -> np.ndarray | None:
    """(N,) seconds from the beginning of a day, or any other; None where they cannot be told."""
    stamps = [_TIMECODE.search(cell) for cell in cells]
    if 2 * sum(map(bool, stamps)) > len(cells):
        seconds = _from_timecodes(stamps)
    else:
        seconds = _from_numbers(np.array([_number(cell) for cell in cells]), unit)
    if seconds is None:
        return None
    known = np.isfinite(seconds)
    seconds = np.interp(np.arange(len(cells)), np.flatnonzero(known), seconds[known])
    return seconds if _SLOWEST <= 1 / _typical(np.diff(np.unique(seconds))) <= _FASTEST else None


def _from_timecodes(stamps: Sequence[re.Match[str] | None]) -> np.ndarray | None:
    fields = [(int(m[1]), int(m[2]), int(m[3])) if m else (np.nan,) * 3 for m in stamps]
    whole = np.array(fields) @ np.array([3600, 60, 1])
    if np.nanmax(whole) - np.nanmin(whole) > _DAY_S / 2:  # over midnight
        whole = whole + _DAY_S * (whole < _DAY_S / 2)
    marks = {m[4] for m in stamps if m} - {None}
    if not marks & {":", ";"}:  # a fraction of a second
        return whole + np.array([float(f"0.{m[5]}") if m and m[5] else 0.0 for m in stamps])
    ticks = np.array([float(m[5] or 0) if m else np.nan for m in stamps])
    known = np.isfinite(ticks)
    clock = _clock(whole[known], ticks[known])
    if clock is None:
        return None
    if ";" in marks and clock in (30, 60):
        minutes = whole // 60
        return (whole * clock + ticks - clock // 15 * (minutes - minutes // 10)) * 1.001 / clock
    return whole + ticks / clock


def _clock(whole: np.ndarray, ticks: np.ndarray) -> int | None:
    """Ticks per second of the timecodes' clock: the one whose steps are most even across full seconds."""
    rates = [rate for rate in _CLOCKS if rate > ticks.max()]

    def unevenness(rate: int) -> float:
        steps = np.diff(np.unique(whole + ticks / rate))
        return float(np.minimum(np.abs(steps - np.median(steps)), 1).mean()) if len(steps) else 0.0

    if not rates:
        return None
    best = min(rates, key=unevenness)
    crosses_second = whole.max() > whole.min()
    return best if crosses_second or ticks.max() >= best / 2 else None


def _from_numbers(values: np.ndarray, unit: str) -> np.ndarray | None:
    known = np.isfinite(values)
    if 2 * known.sum() <= len(values) or len(np.unique(values[known])) < 2:
        return None
    step = _typical(np.diff(np.unique(values[known])))
    if unit == "frame" or (not unit and 1 <= step < 2):
        return values / DEFAULT_FPS
    if not unit:  # of steps of 2 ms to 600 ms
        unit = next((name for name, scale in _PER_SECOND.items() if 0.002 <= step / scale < 0.6), "")
    return (values - np.nanmin(values)) / _PER_SECOND[unit] if unit else None


def _number(cell: str) -> float:
    try:
        return float(cell.replace(",", "."))
    except ValueError:
        return np.nan


def _typical(steps: np.ndarray) -> float:
    """The step between neighbouring frames, where some may be missing; infinite without any."""
    if not len(steps):
        return np.inf
    short = max(float(np.quantile(steps, 0.2)), 1e-9)
    return max(float(steps[steps < 1.5 * short].mean()), 1e-9)


def _check_one_take(seconds: np.ndarray, order: np.ndarray, lines: Sequence[int], source: str) -> None:
    """Raises TrackError where the times begin anew: sorting would interleave two captures frame by frame.

    Rows that are merely out of order change places a few times for each step back.
    """
    back = np.diff(seconds) < 0
    ascent = np.concatenate([[0], np.cumsum(back)])[order]
    if (np.diff(ascent) != 0).sum() > 10 * back.sum():
        line = lines[int(np.argmin(np.diff(seconds))) + 1]
        raise TrackError(f"{source}: line {line}: the time begins anew; put each capture into a file of its own")


def _separate(order: np.ndarray, seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Rows that share a time, told apart: (order, seconds, number of rows left out).

    A capture that is faster than its timecode's clock repeats most numbers: its rows are spread over each number's
    time. A few repeated rows are left out, but for the last.
    """
    begins = np.concatenate([[True], np.diff(seconds) > 1e-6])
    if begins.all():
        return order, seconds, 0
    run = np.cumsum(begins) - 1
    counts = np.bincount(run)
    if (counts > 1).mean() < 0.25:
        last = np.concatenate([begins[1:], [True]])
        return order[last], seconds[last], int(len(last) - last.sum())
    within = np.arange(len(run)) - np.flatnonzero(begins)[run]
    return order, seconds + within / counts[run] * _typical(np.diff(seconds[begins])), 0


def _frames(steps: np.ndarray, step: float) -> tuple[np.ndarray, float]:
    """Where each row lies in frames, and the frame rate.

    Rows at multiples of one step are frames as they are, with gaps where some are missing. Others are resampled.
    """
    multiples = np.rint(steps / step)
    if (np.abs(steps / step - multiples) < 0.25).mean() >= 0.95:
        position = np.concatenate([[0.0], np.cumsum(np.maximum(multiples, 1))])
        return position, _nominal(position[-1] / steps.sum())
    fps = min(1 / float(np.median(steps)), _MAX_RESAMPLED_FPS)
    return np.concatenate([[0.0], np.cumsum(steps)]) * fps, round(fps, 3)


def _nominal(fps: float) -> float:
    """The rate as measured, or the nominal one that it hardly differs from (29.97 differs from 30 by twice as much)."""
    return next((rate for rate in _NOMINAL_RATES if abs(fps / rate - 1) < 5e-4), round(fps, 3))
