"""The result's numbers as tables: trivial rows first, and under each number how it compares with the best of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jr2net.report.result import TRIVIAL, is_number, look_up, test_sets


@dataclass(frozen=True)
class Metric:
    """How a number is shown. ``better`` is -1 where less is better, 1 where more is, 0 where neither."""

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
    "psnr": Metric("PSNR", 2, 1, "dB"),
    "ssim": Metric("SSIM", 3, 1),
    "fid": Metric("FID", 2, -1),
    "frechet": Metric("Fréchet", 3, -1),
    "efl_px": Metric("EFL", 2, -1, "px"),
    "csim": Metric("CSIM", 3, 1),
    "mae": Metric("MAE", 3, -1),
    "correlation": Metric("Correlation", 2, 1),
    "spread_ratio": Metric("Spread ÷ truth's", 2, 0),
}
"""Columns in the order in which tables show them; a metric not listed follows under its own name."""

SET_TITLES = {
    "natural": "Natural expressions",
    "large": "Large expressions",
    "same_identity": "Same identity",
    "cross_identity": "Cross identity",
    "held_out": "People never trained on",
    "photographs": "Photographs, after training in the studio alone",
}

_REQUIRED_TRIVIAL = {
    ("reconstruction", "natural"): ("MeanFace",),
    ("reconstruction", "large"): ("MeanFace",),
    ("reenactment", "same_identity"): ("CopySource", "WarpOnly"),
    ("reenactment", "cross_identity"): ("CopySource",),
}


@dataclass(frozen=True)
class Cell:
    """text: the number; comparison: against the best trivial row; best: no row of the table is better."""

    text: str
    comparison: str = ""
    best: bool = False


@dataclass(frozen=True)
class Row:
    label: str
    trivial: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    name: str
    title: str
    remarks: str
    columns: tuple[Metric, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Headline:
    """One sentence that matters: ``ratio`` of a method's error to what it must beat."""

    ratio: float
    sentence: str
    numbers: str

    @property
    def verdict(self) -> str:
        change = round(abs(self.ratio - 1) * 100)
        return "no difference" if change == 0 else f"{change} % {'lower' if self.ratio < 1 else 'higher'}"


_HEADLINES = (
    # (error, what it must beat: the least of these, sentence)
    (
        "reconstruction.natural.RecNet.rmse_mm",
        ("reconstruction.natural.MeanFace.rmse_mm",),
        "RecNet's aligned error over the mean face's, natural expressions",
    ),
    (
        "reconstruction.large.RecAugNet.expression_rmse_mm",
        ("reconstruction.large.RecNet.expression_rmse_mm",),
        "RecAugNet's expression error over RecNet's, large expressions",
    ),
    (
        "landmarks.held_out.RecNet.nme",
        ("landmarks.held_out.MeanLandmarks.nme",),
        "RecNet's landmark error over the mean landmarks', people never trained on",
    ),
    (
        "landmarks.photographs.RecNet.nme",
        ("landmarks.photographs.MeanLandmarks.nme",),
        "RecNet's landmark error over the mean landmarks', trained in the studio, judged on photographs",
    ),
    (
        "reenactment.same_identity.DCNet.l1",
        ("reenactment.same_identity.CopySource.l1", "reenactment.same_identity.WarpOnly.l1"),
        "DCNet's L1 over the better trivial answer's, whole picture",
    ),
    (
        "reenactment.same_identity.DCNet.l1_face",
        ("reenactment.same_identity.CopySource.l1_face", "reenactment.same_identity.WarpOnly.l1_face"),
        "DCNet's L1 over the better trivial answer's, on the face",
    ),
    (
        "reenactment.cross_identity.DCNet.efl_px",
        ("reenactment.cross_identity.CopySource.efl_px",),
        "DCNet's landmark error over the copied source's, cross identity",
    ),
)


def headlines(result: Mapping[str, Any]) -> list[Headline]:
    """Those of the sentences whose numbers the result has."""
    found = []
    for key, rivals, sentence in _HEADLINES:
        value = look_up(result, key)
        beaten = [rival for rival in (look_up(result, name) for name in rivals) if rival]
        if value is not None and beaten:
            metric = METRICS[key.rsplit(".", 1)[1]]
            numbers = f"{_number(value, metric)} against {_number(min(beaten), metric)} {metric.unit}".rstrip()
            found.append(Headline(value / min(beaten), sentence, numbers))
    return found


def section_tables(result: Mapping[str, Any], section: str) -> list[Table]:
    """One table for each test set of a section."""
    tables = []
    for name, methods, remarks in test_sets(result, section):
        for required in _REQUIRED_TRIVIAL.get((section, name), ()):
            methods.setdefault(required, {})
        title = SET_TITLES.get(name, name.replace("_", " ").capitalize())
        said = ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in remarks.items())
        columns = _columns(methods.values())
        tables.append(Table(name, title, said, tuple(map(_metric, columns)), _rows(methods, columns)))
    return tables


def _columns(methods: Sequence[Mapping] | Any) -> list[str]:
    present = {key: None for method in methods for key, value in method.items() if is_number(value) or value is None}
    return [key for key in METRICS if key in present] + [key for key in present if key not in METRICS]


def _metric(key: str) -> Metric:
    return METRICS.get(key, Metric(key.replace("_", " "), 3, 0))


def _rows(methods: Mapping[str, Mapping], columns: Sequence[str]) -> tuple[Row, ...]:
    ordered = sorted(methods, key=lambda label: TRIVIAL.index(label) if label in TRIVIAL else len(TRIVIAL))
    cells: dict[str, list[Cell]] = {label: [] for label in ordered}
    for column in columns:
        metric = _metric(column)
        values = {label: look_up(methods[label], column) for label in ordered}
        known = {label: value for label, value in values.items() if value is not None}
        bar = _best([value for label, value in known.items() if label in TRIVIAL], metric)
        best = _best(list(known.values()), metric)
        for label, value in values.items():
            if value is None:
                cells[label].append(Cell("–"))
                continue
            comparison = "" if label in TRIVIAL else _compare(value, bar, metric)
            cells[label].append(Cell(_number(value, metric), comparison, len(known) > 1 and value == best))
    return tuple(Row(label, label in TRIVIAL, tuple(cells[label])) for label in ordered)


def _best(values: Sequence[float], metric: Metric) -> float | None:
    if not values or metric.better == 0:
        return None
    return max(values) if metric.better > 0 else min(values)


def _compare(value: float, bar: float | None, metric: Metric) -> str:
    """An error as a multiple of the best trivial row's, a score as its distance from it."""
    if bar is None or (metric.better < 0 and bar == 0):
        return ""
    return f"{value / bar:.2f} ×" if metric.better < 0 else f"{value - bar:+.{metric.digits}f}"


def _number(value: float, metric: Metric) -> str:
    return f"{value:.{metric.digits}f}"
