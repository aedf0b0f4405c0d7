"""When the rows of a capture were recorded, and the frames that they mean: rate, gaps, order, repeated times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jr2net.expressions.clocks import Seconds, read_times, typical_step
from jr2net.expressions.columns import TrackError

DEFAULT_FPS = 30.0
LONGEST_PAUSE_S = 60.0
"""A longer jump of the times, without a row in between, is taken for a restart: the pause is left out."""

_NOMINAL_RATES = (10.0, 12.0, 12.5, 15.0, 20.0, 24.0, 25.0, 30.0, 48.0, 50.0, 60.0, 90.0, 100.0, 120.0, 240.0)
_OF_FILM = tuple(rate / 1.001 for rate in (24.0, 30.0, 60.0))
_MAX_RESAMPLED_FPS = 120.0
_MOST_FRAMES = 500_000  # of a capture with few rows, whose gaps would be filled


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


def timeline(
    columns: Sequence[tuple[Sequence[str], str]], lines: Sequence[int], source: str, stated: float = 0.0
) -> Timeline:
    """The frames that times mean; without any or with senseless ones, rows at the stated rate or ``DEFAULT_FPS``.

    columns  a cell per row, and the unit (``Columns.times``), of each column of times; the first with sense counts
    lines    of the rows in the file, for the error
    stated   frames per second, where the file states it outside its rows; 0: it does not
    Raises TrackError where a second capture begins, or where one consists of pauses.
    """
    rate = stated or DEFAULT_FPS
    found = [times for cells, unit in columns if (times := read_times(cells, unit, rate))] if len(lines) > 2 else []
    if not found:
        note = (f"it tells no frame rate: {rate:g} frames a second are assumed",) * int(len(lines) > 2 and not stated)
        return Timeline(np.arange(len(lines)), np.arange(len(lines), dtype=float), rate, note)
    times = found[0]
    notes = [] if stated or not times.numbered else [_numbered(rate)]
    notes += _disagreement(found)
    seconds = _complete(times.values)
    order = np.argsort(seconds, kind="stable")
    _check_one_take(seconds, order, lines, source)
    if (np.diff(order) < 0).any():
        notes.insert(0, "rows that were out of order are sorted by their times")
    seconds = seconds[order]
    if fps := _even_rate(seconds, times.quantum):
        return Timeline(order, np.arange(len(order), dtype=float), fps, tuple(notes))
    order, seconds, repeated = _separate(order, seconds)
    if repeated:
        notes.append(f"rows that repeat a time, left out: {repeated}")
    steps = np.diff(seconds)
    step = typical_step(steps)
    paused = steps > max(LONGEST_PAUSE_S, 2 * step)
    if paused.any():
        notes.append(f"pauses of more than {LONGEST_PAUSE_S:g} s, left out: {paused.sum()}")
        steps[paused] = step
    position, fps = _frames(steps, step, times.quantum)
    if position[-1] > max(_MOST_FRAMES, 2 * len(lines)):
        raise TrackError(
            f"{source}: {len(lines)} rows over {position[-1] / fps / 3600:.1f} hours; split the capture at its pauses"
        )
    return Timeline(order, position, fps, tuple(notes))


def infer_fps(timecodes: Sequence[str]) -> float:
    """Frames per second from timecodes or timestamps; ``DEFAULT_FPS`` where they are missing or make no sense."""
    return timeline([(timecodes, "")], range(len(timecodes)), "times").fps


def _numbered(rate: float) -> str:
    return f"frames are numbered but not timed: {rate:g} a second are assumed"


def _disagreement(found: Sequence[Seconds]) -> list[str]:
    """A note where two columns of times tell different durations."""
    spans = [float(np.nanmax(times.values) - np.nanmin(times.values)) for times in found if not times.numbered]
    other = next((span for span in spans[1:] if abs(span - spans[0]) > 0.05 * spans[0] + 0.1), None)
    return [f"its columns of times disagree ({spans[0]:.1f} s, {other:.1f} s); the first is used"] if other else []


def _complete(seconds: np.ndarray) -> np.ndarray:
    known = np.isfinite(seconds)
    return np.interp(np.arange(len(seconds)), np.flatnonzero(known), seconds[known])


def _check_one_take(seconds: np.ndarray, order: np.ndarray, lines: Sequence[int], source: str) -> None:
    """Raises TrackError where the times begin anew: sorting would interleave two captures frame by frame.

    Rows that are merely out of order change places a few times for each step back.
    """
    back = np.diff(seconds) < 0
    ascent = np.concatenate([[0], np.cumsum(back)])[order]
    if (np.diff(ascent) != 0).sum() > 10 * back.sum():
        line = lines[int(np.argmin(np.diff(seconds))) + 1]
        raise TrackError(f"{source}: line {line}: the time begins anew; put each capture into a file of its own")


def _even_rate(seconds: np.ndarray, quantum: float) -> float:
    """The rate of rows without a gap whose times are rounded coarsely; 0 where they are not."""
    frames = np.arange(len(seconds))
    slope = float(np.polyfit(frames, seconds, 1)[0])
    if not slope > 0 or quantum < 0.25 * slope:
        return 0.0
    if slope > 0.9 * quantum and (np.diff(seconds) < 1e-6).any():  # not faster than the clock: rows sent twice
        return 0.0
    resolved = quantum / (slope * len(seconds) ** 1.5) < 5e-4  # whether 29.97 is told from 30
    rates = (*_NOMINAL_RATES, *_OF_FILM) if resolved else _NOMINAL_RATES
    nearest = min(rates, key=lambda rate: abs(rate * slope - 1))
    for step in (1 / nearest, slope):
        if _is_rounded(seconds, frames * step, quantum):
            return round(1 / step, 3)
    return 0.0


def _is_rounded(seconds: np.ndarray, exact: np.ndarray, quantum: float, share: float = 1.0) -> bool:
    """Whether times are the exact ones, up to a common offset, rounded to multiples of ``quantum``."""
    error = seconds - exact
    error -= np.quantile(error, [(1 - share) / 2, (1 + share) / 2]).mean()
    return bool((np.abs(error) <= 0.52 * quantum + 1e-6).mean() >= share)


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
    slots = np.maximum(counts, int(np.median(counts)))
    within = np.arange(len(run)) - np.flatnonzero(begins)[run]
    within = within + (run == 0) * (slots[0] - counts[0])  # the first number's first rows are what is missing of it
    return order, seconds + within / slots[run] * typical_step(np.diff(seconds[begins])), 0


def _frames(steps: np.ndarray, step: float, quantum: float) -> tuple[np.ndarray, float]:
    """Where each row lies in frames, and the frame rate.

    Rows at multiples of one step are frames as they are, with gaps where some are missing. Others are resampled.
    """
    seconds = np.concatenate([[0.0], np.cumsum(steps)])
    if quantum > 0.25 * step:  # too coarse to measure the step: is it one of those in use?
        for rate in (rate for rate in (*_NOMINAL_RATES, *_OF_FILM) if rate * quantum < 0.7):
            frames = np.rint(seconds * rate)
            if (np.diff(frames) > 0).all() and _is_rounded(seconds, frames / rate, quantum, 0.97):
                return frames, round(rate, 3)
    multiples = np.rint(steps / step)
    if (np.abs(steps / step - multiples) < 0.25).mean() >= 0.95:
        position = np.concatenate([[0.0], np.cumsum(np.maximum(multiples, 1))])
        return position, _nominal(position[-1] / steps.sum())
    fps = min(1 / float(np.median(steps)), _MAX_RESAMPLED_FPS)
    return seconds * fps, round(fps, 3)


def _nominal(fps: float) -> float:
    """The rate as measured, or the nominal one that it hardly differs from (29.97 differs from 30 by twice as much)."""
    return next((rate for rate in _NOMINAL_RATES if abs(fps / rate - 1) < 5e-4), round(fps, 3))
