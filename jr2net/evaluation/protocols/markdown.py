"""The result of a protocol as text: tables with intervals, comparisons, what is missing, the paper's rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jr2net import storage
from jr2net.evaluation.paper import PaperTable
from jr2net.evaluation.protocols.result import Figure, Missing, Result, Table
from jr2net.evaluation.statistics import LEVEL, Comparison, Estimate

FEW = 10
"""Below this number of people a percentile interval is clearly too narrow (Davison and Hinkley 1997, section 5.2)."""

MOST_NAMED = 20
"""Quarantined samples that are listed; all are in the JSON."""


def to_markdown(result: Result) -> str:
    """One section per result, ending with a newline."""
    lines = [f"## {result.title}", "", f"`{result.protocol}` on `{result.data}`: {extent(result)}"]
    for table in result.tables:
        lines += ["", *_table(table)]
    lines += _list("Missing", result.missing, len(result.missing))
    lines += _list("Quarantined", result.quarantined, MOST_NAMED)
    if result.notes:
        lines += ["", *(f"- {note}" for note in result.notes)]
    return "\n".join(lines) + "\n"


def write_result(result: Result, folder: str) -> None:
    """Writes PROTOCOL.json, PROTOCOL.md and the result's other files into a folder or below an s3:// URI."""
    written = {f"{result.protocol}.json": result.to_json(), f"{result.protocol}.md": to_markdown(result)}
    for name, text in written.items():
        storage.write_bytes(storage.join(folder, name), text.encode())
    for name, content in result.files.items():
        storage.write_bytes(storage.join(folder, name), content)


def extent(result: Result) -> str:
    """How much was measured, and what the intervals are."""
    measured = result.measured
    few = " Over so few people it is too narrow." if measured.people < FEW else ""
    return (
        f"{measured.count:,} of {measured.total:,} {measured.samples}, {measured.people:,} people. In brackets: "
        f"{LEVEL:.0%} interval, bootstrap over people.{few}"
    )


def cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a table as text."""
    rows = [
        [method, *(show(row.get(figure.key), figure) for figure in table.figures)]
        for method, row in table.methods.items()
    ]
    header = ["", *(figure.heading for figure in table.figures)]
    if table.upright:
        header, *rows = [list(column) for column in zip(header, *rows)]
    return header, rows


def show_comparison(comparison: Comparison, table: Table) -> str:
    """One line: ratio, difference and p."""
    figure, paired = table.figure(comparison.figure), comparison.paired
    ratio = Figure("ratio", "", digits=3)
    unit = f" {figure.unit}" if figure.unit else ""
    return (
        f"{figure.title}: {comparison.method} / {comparison.reference} = {show(paired.ratio, ratio)}; "
        f"difference {show(paired.difference, figure)}{unit}, p = {paired.p:.2g} (paired)"
    )


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
    lines = [f"### {table.title}", "", *rows_to_markdown(*cells(table))]
    if table.comparisons:
        lines += ["", *(f"- {show_comparison(comparison, table)}" for comparison in table.comparisons)]
    if table.published:
        lines += ["", *_published(table.published)]
    return lines


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
