"""Tables of the report: baselines first, and below each of our values the comparison with the best baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jr2net.evaluation.samples import BASELINES
from jr2net.report.result import comparisons, for_reenactor, is_number, look_up, test_sets


@dataclass(frozen=True)
class Metric:
    """Format of a metric. ``better``: -1 if lower is better, 1 if higher is better, 0 if neither."""

    header: str
    digits: int
    better: int
    unit: str = ""


METRICS: dict[str, Metric] = {
    "rmse_mm": Metric("RMSE", 2, -1, "mm"),
    "std_mm": Metric("STD", 2, 0, "mm"),
    "median_mm": Metric("Median", 2, -1, "mm"),
    "p80_mm": Metric("80 %", 2, -1, "mm"),
    "expression_rmse_mm": Metric("Expression RMSE", 2, -1, "mm"),
    "vertex_rmse_mm": Metric("Vertex RMSE", 2, -1, "mm"),
    "mae_mm": Metric("MAE", 2, -1, "mm"),
    "mae_std_mm": Metric("MAE STD", 2, 0, "mm"),
    "nme": Metric("NME", 4, -1),
    "l1": Metric("L1", 4, -1),
    "l1_face": Metric("L1 on the face", 4, -1),
    "l1_outside": Metric("L1 outside the face", 4, -1),
    "l1_background": Metric("L1 on background of both frames", 4, -1),
    "l1_revealed": Metric("L1 on revealed background", 4, -1),
    "l1_turned": Metric("L1, yaw differs by more than 25°", 4, -1),
    "psnr": Metric("PSNR", 2, 1, "dB"),
    "ssim": Metric("SSIM", 3, 1),
    "fid": Metric("FID", 2, -1),
    "frechet": Metric("Fréchet", 3, -1),
    "efl": Metric("EFL / eye distance", 4, -1),
    "detected": Metric("Faces found", 3, 0),
    "efl_px": Metric("EFL, as RecAugNet reads it", 2, -1, "px"),
    "expression_mae": Metric("Expression read again against truth, MAE", 4, -1),
    "expression_gap": Metric("Expression read again against the driving image's, MAE", 4, -1),
    "csim": Metric("CSIM", 3, 1),
    "mae": Metric("MAE", 3, -1),
    "correlation": Metric("Correlation", 2, 1),
    "spread_ratio": Metric("STD ratio", 2, 0),
    "seconds": Metric("Time per image", 4, -1, "s"),
    "kept": Metric("Pixels kept", 3, 0),
    "kept_changed": Metric("Kept pixels that differ", 0, 0),
    "folded_voxels": Metric("Folded voxels", 4, 0),
    "cycle_px": Metric("Flow there and back, error", 3, 0, "px"),
}
"""Columns in the order of the tables; unknown metrics follow, titled by their key."""

SET_TITLES = {
    "natural": "Natural expressions",
    "large": "Large expressions",
    "captured": "Captured large expressions",
    "turned": "Turned heads, 30° to 60°",
    "same_identity": "Same identity",
    "cross_identity": "Cross identity",
    "held_out": "Held-out people",
    "photographs": "Photographs, trained in the studio only",
}

_REQUIRED_BASELINES = {
    ("reconstruction", "natural"): ("MeanFace",),
    ("reconstruction", "large"): ("MeanFace",),
    ("reenactment", "same_identity"): ("CopySource", "WarpOnly"),
    ("reenactment", "cross_identity"): ("CopySource",),
}


@dataclass(frozen=True)
class Cell:
    """text: the value; interval: over people; comparison: with the best baseline; best: whether no other row of the
    table is better."""

    text: str
    comparison: str = ""
    best: bool = False
    interval: str = ""


@dataclass(frozen=True)
class Row:
    label: str
    is_baseline: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Compared:
    """Two methods on the same people: the ratio and the difference of a metric, with intervals, and the test's p."""

    metric: str
    methods: str
    ratio: str
    difference: str
    p: str


@dataclass(frozen=True)
class Table:
    name: str
    title: str
    remarks: str
    columns: tuple[Metric, ...]
    rows: tuple[Row, ...]
    compared: tuple[Compared, ...] = ()


@dataclass(frozen=True)
class TextTable:
    """Cells as they are shown, below a text."""

    text: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Headline:
    """One key result: ``ratio`` of a method's error to the error of its reference.

    interval  of the ratio, over people; None: not known
    """

    ratio: float
    sentence: str
    numbers: str
    interval: tuple[float, float] | None = None

    @property
    def verdict(self) -> str:
        change = round(abs(self.ratio - 1) * 100)
        if change == 0:
            return "no difference"
        is_shown = self.interval is None or not self.interval[0] <= 1 <= self.interval[1]
        return f"{change} % {'lower' if self.ratio < 1 else 'higher'}{'' if is_shown else ', within chance'}"


_HEADLINES = (
    # (error, references: the lowest of these is used, sentence)
    (
        "reconstruction.natural.RecNet.rmse_mm",
        ("reconstruction.natural.MeanFace.rmse_mm",),
        "RecNet's geometric error relative to the mean face, natural expressions",
    ),
    (
        "reconstruction.large.RecAugNet.expression_rmse_mm",
        ("reconstruction.large.RecNet.expression_rmse_mm",),
        "RecAugNet's expression error relative to RecNet, large expressions",
    ),
    (
        "landmarks.held_out.RecNet.nme",
        ("landmarks.held_out.MeanLandmarks.nme",),
        "RecNet's landmark error relative to the mean landmarks, held-out people",
    ),
    (
        "landmarks.photographs.RecNet.nme",
        ("landmarks.photographs.MeanLandmarks.nme",),
        "RecNet's landmark error relative to the mean landmarks, trained in the studio, tested on photographs",
    ),
    (
        "reenactment.same_identity.{reenactor}.l1",
        ("reenactment.same_identity.CopySource.l1", "reenactment.same_identity.WarpOnly.l1"),
        "{reenactor}'s L1 relative to the best baseline, whole image",
    ),
    (
        "reenactment.same_identity.{reenactor}.l1_face",
        ("reenactment.same_identity.CopySource.l1_face", "reenactment.same_identity.WarpOnly.l1_face"),
        "{reenactor}'s L1 relative to the best baseline, on the face",
    ),
    (
        "reenactment.cross_identity.{reenactor}.efl",
        ("reenactment.cross_identity.CopySource.efl", "reenactment.cross_identity.WarpOnly.efl"),
        "{reenactor}'s landmark error relative to the best baseline, by an independent detector, cross identity",
    ),
)


def headlines(result: Mapping[str, Any]) -> list[Headline]:
    """The headlines whose metrics are in the result."""
    found = []
    for key, references, sentence in _HEADLINES:
        key = for_reenactor(key, result)
        value = look_up(result, key)
        known = {name: error for name in references if (error := look_up(result, name))}
        if value is not None and known:
            best = min(known, key=known.__getitem__)
            metric = METRICS[key.rsplit(".", 1)[1]]
            numbers = f"{_number(value, metric)} against {_number(known[best], metric)} {metric.unit}".rstrip()
            interval = _ratio_interval(result, key, best)
            found.append(Headline(value / known[best], for_reenactor(sentence, result), numbers, interval))
    return found


def section_tables(result: Mapping[str, Any], section: str) -> list[Table]:
    """One table per test set of a section."""
    tables = []
    for name, methods, remarks in test_sets(result, section):
        for required in _REQUIRED_BASELINES.get((section, name), ()):
            methods.setdefault(required, {})
        title = SET_TITLES.get(name, name.replace("_", " ").capitalize())
        remarks_text = ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in remarks.items())
        columns = _columns(methods.values())
        rows, compared = _rows(methods, columns), tuple(_compared(each) for each in comparisons(result, section, name))
        tables.append(Table(name, title, remarks_text, tuple(map(_metric, columns)), rows, compared))
    return tables


def _columns(methods: Sequence[Mapping] | Any) -> list[str]:
    present = {key: None for method in methods for key, value in method.items() if is_number(value) or value is None}
    return [key for key in METRICS if key in present] + [key for key in present if key not in METRICS]


def _metric(key: str) -> Metric:
    return METRICS.get(key, Metric(key.replace("_", " "), 3, 0))


def _rows(methods: Mapping[str, Mapping], columns: Sequence[str]) -> tuple[Row, ...]:
    ordered = sorted(methods, key=lambda label: BASELINES.index(label) if label in BASELINES else len(BASELINES))
    cells: dict[str, list[Cell]] = {label: [] for label in ordered}
    for column in columns:
        metric = _metric(column)
        values = {label: look_up(methods[label], column) for label in ordered}
        known = {label: value for label, value in values.items() if value is not None}
        baseline = _best([value for label, value in known.items() if label in BASELINES], metric)
        best = _best(list(known.values()), metric)
        for label, value in values.items():
            if value is None:
                cells[label].append(Cell("–"))
                continue
            comparison = "" if label in BASELINES else _compare(value, baseline, metric)
            is_best, interval = len(known) > 1 and value == best, _interval(methods[label], column, metric)
            cells[label].append(Cell(_number(value, metric), comparison, is_best, interval))
    return tuple(Row(label, label in BASELINES, tuple(cells[label])) for label in ordered)


def _best(values: Sequence[float], metric: Metric) -> float | None:
    if not values or metric.better == 0:
        return None
    return max(values) if metric.better > 0 else min(values)


def _compare(value: float, baseline: float | None, metric: Metric) -> str:
    """The ratio to the best baseline for errors, the difference from it for scores."""
    if baseline is None or (metric.better < 0 and baseline == 0):
        return ""
    return f"{value / baseline:.2f} ×" if metric.better < 0 else f"{value - baseline:+.{metric.digits}f}"


def _interval(metrics: Mapping[str, Any], column: str, metric: Metric) -> str:
    low, high = (look_up(metrics, f"intervals.{column}.{end}") for end in ("low", "high"))
    return "" if low is None or high is None else f"{_number(low, metric)} to {_number(high, metric)}"


def _compared(comparison: Mapping[str, Any]) -> Compared:
    metric, paired = _metric(comparison["figure"]), comparison["paired"]
    unit = f" {metric.unit}" if metric.unit else ""
    return Compared(
        metric.header,
        f"{comparison['method']} / {comparison['reference']}",
        _estimate(paired["ratio"], Metric("", 3, 0)),
        f"{_estimate(paired['difference'], metric)}{unit}",
        f"{paired['p']:.2g}",
    )


def _estimate(estimate: Mapping[str, Any], metric: Metric) -> str:
    if estimate["value"] is None:
        return "–"
    value = _number(estimate["value"], metric)
    if estimate["low"] is None:
        return value
    return f"{value} [{_number(estimate['low'], metric)}, {_number(estimate['high'], metric)}]"


def _ratio_interval(result: Mapping[str, Any], key: str, reference: str) -> tuple[float, float] | None:
    """Of the ratio of two methods' metrics, by their dotted keys in the result."""
    section, name, method, metric = key.split(".")
    for each in comparisons(result, section, name):
        if (each["method"], each["reference"], each["figure"]) == (method, reference.split(".")[2], metric):
            ratio = each["paired"]["ratio"]
            return None if ratio["low"] is None else (ratio["low"], ratio["high"])
    return None


def _number(value: float, metric: Metric) -> str:
    return f"{value:.{metric.digits}f}"
