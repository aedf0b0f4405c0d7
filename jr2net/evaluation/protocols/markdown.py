"""The result of a protocol as Markdown: tables with intervals, comparisons, what is missing, the paper's rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jr2net.evaluation.paper import PaperTable
from jr2net.evaluation.protocols.result import Figure, Missing, Result, Table
from jr2net.evaluation.statistics import LEVEL, Comparison, Estimate

MOST_NAMED = 20
"""Quarantined samples that are listed; all are in the JSON."""


def to_markdown(result: Result) -> str:
    """One section per result, ending with a newline."""
    measured = result.measured
    lines = [
        f"## {result.title}",
        "",
        f"`{result.protocol}` on `{result.data}`: {measured.count:,} of {measured.total:,} {measured.samples}, "
        f"{measured.people:,} people. In brackets: {LEVEL:.0%} interval, bootstrap over people.",
    ]
    for table in result.tables:
        lines += ["", *_table(table)]
    lines += _list("Missing", result.missing, len(result.missing))
    lines += _list("Quarantined", result.quarantined, MOST_NAMED)
    if result.notes:
        lines += ["", *(f"- {note}" for note in result.notes)]
    return "\n".join(lines) + "\n"


def rows_to_markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return [_row(header), _row(["---"] * len(header)), *map(_row, rows)]


def show(estimate: Estimate | None, figure: Figure) -> str:
    """E.g. ``1.78 [1.70, 1.86]``; a dash for what is missing."""
    if estimate is None or estimate.value != estimate.value:
        return "–"
    value = f"{estimate.value:.{figure.digits}f}"
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} [{estimate.low:.{figure.digits}f}, {estimate.high:.{figure.digits}f}]"


def _table(table: Table) -> list[str]:
    rows = [
        [method, *(show(row.get(figure.key), figure) for figure in table.figures)]
        for method, row in table.methods.items()
    ]
    header = ["", *(figure.heading for figure in table.figures)]
    if table.upright:
        header, *rows = [list(column) for column in zip(header, *rows)]
    lines = [f"### {table.title}", "", *rows_to_markdown(header, rows)]
    if table.comparisons:
        lines += ["", *(f"- {_comparison(comparison, table)}" for comparison in table.comparisons)]
    if table.published:
        lines += ["", *_published(table.published)]
    return lines


def _comparison(comparison: Comparison, table: Table) -> str:
    figure, paired = table.figure(comparison.figure), comparison.paired
    ratio = Figure("ratio", "", digits=3)
    unit = f" {figure.unit}" if figure.unit else ""
    return (
        f"{figure.title}: {comparison.method} / {comparison.reference} = {show(paired.ratio, ratio)}; "
        f"difference {show(paired.difference, figure)}{unit}, p = {paired.p:.2g} (paired)"
    )


def _published(table: PaperTable) -> list[str]:
    title = f"The paper's {table.title}, as printed (its own networks and photos):"
    return [title, "", *rows_to_markdown(["", *table.columns], table.rows)]


def _list(title: str, items: Sequence[Missing], most: int) -> list[str]:
    if not items:
        return []
    more = [f"- and {len(items) - most} more, listed in the JSON"] if len(items) > most else []
    return ["", f"{title}:", "", *(f"- {item.what}: {item.why}" for item in items[:most]), *more]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
