"""Cells of a capture's time column, as seconds: timecodes, times of day, dates and numbers of every unit.

A timecode ``HH:MM:SS:FF.fff`` counts FF ticks of a clock that may be faster than the capture: its numbers may step by
two. With ``;`` before FF it is drop-frame timecode (SMPTE 12M): the clock runs at 29.97 or 59.94 Hz, and two or four
numbers are skipped at the start of each minute but every tenth; some write ``HH;MM;SS;FF``. ``HH:MM:SS.fff`` has a
fraction of a second instead, and ``MM:SS.f`` is what spreadsheets make of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jr2net.expressions.columns import UNITS

FASTEST, SLOWEST = 480.0, 1.0
"""Plausible frame rates."""

_TIMECODE = re.compile(
    r"(?<![\d:;])(?:(\d{1,3})[:;])?(\d{1,2})[:;](\d{1,2})(?:([:;.,])(\d{1,9}(?:[.,]\d{1,9})?))?"
    r"\s*(?:Z|UTC|[AP]M|[+-]\d\d:?\d\d)?\s*$",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"([-+]?\d*[.,]?\d+(?:e[-+]?\d+)?)\s*([a-zµ]*)", re.IGNORECASE)
_CLOCKS = (5, 8, 10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 100, 120, 240, 1000)
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9, "ticks": 1e7, "days": 1 / 86400}
_EPOCHS = {"s": 1.0e9, "ms": 1.0e12, "us": 1.0e15, "ns": 1.0e18, "ticks": 6.2e17}
"""The year 2001 in each unit; in ticks of 100 ns since the year 1 (.NET), 1965."""
_GRIDS = (1.0, 0.1, 0.01, 0.001)


@dataclass(frozen=True)
class Seconds:
    """The times of a capture's rows.

    values   (N,) from the beginning of a day, or any other; NaN where a cell holds no time
    quantum  what they are rounded to, in seconds; 0: unknown, or fine
    numbered whether they are frame numbers, whose rate is assumed
    """

    values: np.ndarray
    quantum: float = 0.0
    numbered: bool = False


def read_times(cells: Sequence[str], unit: str, rate: float) -> Seconds | None:
    """Seconds, one for each cell; None where they cannot be told, or make no sense.

    unit  as of ``Columns.times``
    rate  frames per second, for frame numbers
    """
    stamps = [_TIMECODE.search(cell) for cell in cells]
    are_timecodes = 2 * sum(map(bool, stamps)) > len(cells)
    times = _from_timecodes(stamps) if are_timecodes else _from_numbers(cells, unit, rate)
    if times is None:
        return None
    step = typical_step(np.diff(np.unique(times.values[np.isfinite(times.values)])))
    return times if SLOWEST <= 1 / step <= FASTEST else None


def is_timecode(cell: str) -> bool:
    """Whether a cell holds hours, minutes and seconds."""
    match = _TIMECODE.search(cell)
    return bool(match and match[1])


def typical_step(steps: np.ndarray) -> float:
    """The step between neighbouring frames, where some may be missing; infinite without any."""
    if not len(steps):
        return np.inf
    short = max(float(np.quantile(steps, 0.2)), 1e-9)
    return max(float(steps[steps < 1.5 * short].mean()), 1e-9)


def _from_timecodes(stamps: Sequence[re.Match[str] | None]) -> Seconds | None:
    fields = np.array([(int(m[1] or 0), int(m[2]), int(m[3])) if m else (np.nan,) * 3 for m in stamps])
    marks = {m[4] for m in stamps if m} - {None}
    hours = any(m and m[1] for m in stamps)
    if not hours and not marks and _mostly_differ(fields[:, 2]):  # SS:FF
        return _from_ticks(fields[:, 1], fields[:, 2], False)
    whole = fields @ np.array([3600, 60, 1])
    period = 86400 if hours else 3600
    if np.nanmax(whole) - np.nanmin(whole) > period / 2:  # over midnight, or over the hour
        whole = whole + period * (whole < period / 2)
    if not marks:
        return Seconds(whole, 1.0)
    digits = [m[5].replace(",", ".") if m and m[5] else "0" for m in stamps]
    ticks = np.array([float(text) if m else np.nan for text, m in zip(digits, stamps)])
    if marks & {":", ";"}:
        return _from_ticks(whole, ticks, ";" in marks)
    if all(len(text) == 2 for m, text in zip(stamps, digits) if m and m[4]) and np.nanmax(ticks) < 60:
        return _from_ticks(whole, ticks, False)  # HH:MM:SS.FF
    fraction = np.array([float(f"0.{text.replace('.', '')}") for text in digits])
    return Seconds(whole + fraction, 10.0 ** -max(map(len, digits)))


def _mostly_differ(values: np.ndarray) -> bool:
    return bool((np.diff(values) != 0).mean() > 0.9) if len(values) > 1 else False


def _from_ticks(whole: np.ndarray, ticks: np.ndarray, drop_frame: bool) -> Seconds | None:
    """Seconds of timecodes: whole seconds and ticks of a clock."""
    known = np.isfinite(ticks)
    clock = _clock(whole[known], ticks[known])
    if clock is None:
        return None
    quantum = 1 / clock if (ticks[known] == np.rint(ticks[known])).all() else 0.0
    if drop_frame and clock in (30, 60):
        minutes = whole // 60
        return Seconds((whole * clock + ticks - clock // 15 * (minutes - minutes // 10)) * 1.001 / clock, quantum)
    return Seconds(whole + ticks / clock, quantum)


def _clock(whole: np.ndarray, ticks: np.ndarray) -> int | None:
    """Ticks per second of the timecodes' clock: the one whose steps are most even across full seconds.

    Within one second only numbers that are too large for 30 ticks tell it.
    """
    rates = [rate for rate in _CLOCKS if rate > ticks.max()]

    def unevenness(rate: int) -> float:
        steps = np.diff(np.unique(whole + ticks / rate))
        return float(np.minimum(np.abs(steps - np.median(steps)), 1).mean()) if len(steps) else 0.0

    if not rates:
        return None
    if whole.max() > whole.min():
        return min(rates, key=unevenness)
    return next(rate for rate in (60, 120, 240, 1000) if rate in rates) if ticks.max() >= 30 else None


def _from_numbers(cells: Sequence[str], unit: str, rate: float) -> Seconds | None:
    values, written = _numbers(cells)
    values[~(known := np.isfinite(values))] = np.nan
    if 2 * known.sum() <= len(values):
        return None
    if unit.startswith("delta"):
        return _from_numbers([str(value) for value in np.nancumsum(values)], unit[6:] or written, rate)
    step = typical_step(np.diff(np.unique(values[known])))
    unit = unit or written
    if unit == "frame" or (not unit and 1 <= step < 2):
        return Seconds(values / rate, numbered=True)
    unit = unit or _likely_unit(float(np.nanmin(values)), step)
    if not unit:
        return None
    seconds = (values - np.nanmin(values)) / _PER_SECOND[unit]
    fits = (grid for grid in _GRIDS if np.allclose(seconds[known] / grid, np.rint(seconds[known] / grid), atol=1e-3))
    return Seconds(seconds, next(fits, 0.0))


def _numbers(cells: Sequence[str]) -> tuple[np.ndarray, str]:
    """Numbers, NaN for other cells, and the unit that is written behind them, if any."""
    try:
        return np.array([float(cell) for cell in cells]), ""
    except ValueError:
        matches = [_NUMBER.fullmatch(cell) for cell in cells]
    values = [float(match[1].replace(",", ".")) if match else np.nan for match in matches]
    written = next((match[2].lower() for match in matches if match and match[2]), "")
    return np.array(values), UNITS.get(written, "")


def _likely_unit(first: float, step: float) -> str:
    """The unit of numbers, by their size if they count from 1970, and by the frame rate that their steps mean."""
    rates = {name: scale / step for name, scale in _PER_SECOND.items()}
    for name, epoch in _EPOCHS.items():
        if epoch <= first < (1.1 if name == "ticks" else 4.2) * epoch and SLOWEST < rates[name] <= FASTEST:
            return name
    del rates["ticks"]  # only told by their size
    for slowest, fastest in ((8, 250), (1.7, FASTEST + 20)):
        for name, rate in rates.items():
            if slowest < rate <= fastest:
                return name
    return ""
