"""Loss curves of a training log as inline SVG charts, one per loss term."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jr2net.report.result import is_number

WIDTH, HEIGHT, POINTS = 240, 96, 120


@dataclass(frozen=True)
class Curve:
    """One loss term of a training: steps (T,) ascending, values (T,) finite."""

    term: str
    steps: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class TrainingLog:
    """Curves of one training and a text about its throughput."""

    stage: str
    curves: tuple[Curve, ...]
    throughput: str = ""


def training_log(stage: str, records: Iterable[Mapping[str, Any]]) -> TrainingLog:
    """Records of ``jr2net.training.log`` (``step`` and ``losses`` by name) to curves.

    Non-finite values are skipped, so that a training that stopped because of one can be shown.
    """
    records = list(records)
    terms: dict[str, list[tuple[float, float]]] = {}
    for record in records:
        for term, value in record["losses"].items():
            if is_number(value) and math.isfinite(value):
                terms.setdefault(term, []).append((record["step"], value))
    curves = tuple(Curve(term, *np.array(points, dtype=float).T) for term, points in terms.items())
    return TrainingLog(stage, curves, _throughput(records))


def _throughput(records: Sequence[Mapping[str, Any]]) -> str:
    """Text such as ``210 images/s; data 2 %, step 95 %, report 3 % of the time``."""
    rates = [record["images_per_second"] for record in records if "images_per_second" in record]
    phases: dict[str, float] = {}
    for record in records:
        for phase, seconds in record.get("seconds", {}).items():
            phases[phase] = phases.get(phase, 0.0) + seconds
    texts = [f"{np.median(rates):.0f} images/s"] if rates else []
    if total := sum(phases.values()):
        texts.append(
            ", ".join(f"{phase} {100 * value / total:.0f} %" for phase, value in phases.items()) + " of the time"
        )
    return "; ".join(texts)


def svg(curve: Curve) -> str:
    """SVG chart: mean over bins of steps as a line, their range as a band; logarithmic if values span more than a
    factor of 30. Colours come from the page (classes ``band``, ``line``, ``axis``)."""
    bins = np.array_split(np.arange(len(curve.steps)), min(POINTS, len(curve.steps)))
    steps = np.array([curve.steps[b].mean() for b in bins])
    low, mean, high = (np.array([f(curve.values[b]) for b in bins]) for f in (np.min, np.mean, np.max))
    logarithmic = bool(low.min() > 0 and high.max() / low.min() > 30)
    x = _scaled(steps, steps.min(), steps.max()) * WIDTH
    if logarithmic:
        low, mean, high = np.log(low), np.log(mean), np.log(high)
    bottom, top = low.min(), high.max()
    y_low, y_mean, y_high = (HEIGHT * (1 - _scaled(v, bottom, top)) for v in (low, mean, high))
    band = _path([*zip(x, y_high), *zip(x[::-1], y_low[::-1])])
    label = escape(f"{curve.term}: from {short(curve.values[0])} to {short(curve.values[-1])}")
    return (
        f'<svg viewBox="-1 -3 {WIDTH + 2} {HEIGHT + 6}" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f'<path class="axis" d="M0 {HEIGHT}H{WIDTH}"/><path class="band" d="{band}Z"/>'
        f'<path class="line" d="{_path([*zip(x, y_mean)])}"/></svg>'
    )


def ends(curve: Curve) -> tuple[str, str]:
    """Mean of the first and of the last tenth of the values, as text."""
    tenth = max(1, len(curve.values) // 10)
    return short(float(curve.values[:tenth].mean())), short(float(curve.values[-tenth:].mean()))


def short(value: float) -> str:
    return f"{value:.3g}"


def _scaled(values: NDArray, low: float, high: float) -> NDArray:
    return (values - low) / (high - low) if high > low else np.full_like(values, 0.5, dtype=float)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
