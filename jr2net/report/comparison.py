"""Tables of ``jobs/compare.py`` as Markdown: reenactors side by side, with ratios to CopySource and to DCNet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jr2net.evaluation.samples import BASELINES
from jr2net.report.result import is_number, look_up, test_sets
from jr2net.report.tables import METRICS, SET_TITLES

REFERENCE = "dcnet"


def error_ratios(methods: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Reenactor -> reference (CopySource, dcnet) -> error metric -> its ratio to the reference's, below 1 if better."""
    ratios: dict[str, dict[str, dict[str, float]]] = {}
    for name, reference in [(n, r) for n in methods if n not in BASELINES for r in ("CopySource", REFERENCE) if r != n]:
        for metric, definition in METRICS.items():
            value, other = (look_up(methods.get(method, {}), metric) for method in (name, reference))
            if definition.better < 0 and value is not None and other:
                ratios.setdefault(name, {}).setdefault(reference, {})[metric] = value / other
    return ratios


def comparison_markdown(sets: Mapping[str, Mapping[str, Any]]) -> str:
    """One table per test set (name -> table of ``evaluation.reenactors``): a row per metric, a column per method and,
    for every reenactor, one per ratio."""
    return "\n".join(_table(*entry) for entry in test_sets({"sets": sets}, "sets"))


def _table(name: str, methods: Mapping[str, Mapping[str, Any]], remarks: Mapping[str, Any]) -> str:
    ratios = error_ratios(methods)
    columns = [(reenactor, reference) for reenactor, references in ratios.items() for reference in references]
    header = ["", *methods, *(f"{reenactor} / {reference}" for reenactor, reference in columns)]
    lines = [f"## {SET_TITLES.get(name, name)}", "", _remarks(remarks), "", _row(header), _row(["---"] * len(header))]
    for metric, definition in METRICS.items():
        if not any(metric in values for values in methods.values()):
            continue
        title = f"{definition.header} ({definition.unit})" if definition.unit else definition.header
        cells = [_value(values, metric, definition.digits) for values in methods.values()]
        found = [ratios[reenactor][reference].get(metric) for reenactor, reference in columns]
        lines.append(_row([title, *cells, *("–" if ratio is None else f"{ratio:.2f} ×" for ratio in found)]))
    return "\n".join(lines) + "\n"


def _value(values: Mapping[str, Any], metric: str, digits: int) -> str:
    value, deviation = look_up(values, metric), look_up(values, f"std.{metric}")
    if value is None:
        return "–"
    return f"{value:.{digits}f}" + (f" ± {deviation:.{digits}f}" if deviation is not None else "")


def _remarks(remarks: Mapping[str, Any]) -> str:
    numbers = {key.replace("_", " "): value for key, value in remarks.items() if is_number(value)}
    return ", ".join(f"{key}: {value:.3g}" for key, value in numbers.items())


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
