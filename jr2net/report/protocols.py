"""Results of the protocols of ``evaluation.protocols`` as they stand in the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jr2net.evaluation.protocols.markdown import cells, extent, show_comparison
from jr2net.evaluation.protocols.result import Result
from jr2net.report.tables import TextTable


@dataclass(frozen=True)
class ProtocolView:
    """A protocol on the page: what was measured on what, its tables, the paper's, and remarks, a line each."""

    title: str
    text: str
    tables: tuple[TextTable, ...]
    remarks: tuple[str, ...]


def protocol_views(results: Mapping[str, Result]) -> list[ProtocolView]:
    """One view per result, in their order."""
    return [_view(name, result) for name, result in results.items()]


def _view(name: str, result: Result) -> ProtocolView:
    tables, remarks = [], []
    for table in result.tables:
        header, rows = cells(table)
        tables.append(TextTable(table.title, *_frozen(header, rows)))
        if table.published is not None:
            title = f"The paper's {table.published.title}, as printed (its own networks and photos):"
            tables.append(TextTable(title, ("", *table.published.columns), table.published.rows))
        remarks += [show_comparison(comparison, table) for comparison in table.comparisons]
    remarks += [f"Missing: {item.what}: {item.why}" for item in result.missing]
    if result.quarantined:
        remarks.append(f"Not used: {len(result.quarantined):,} {result.measured.samples}, see protocols/{name}.")
    return ProtocolView(result.title, f"{result.data}: {extent(result)}", tuple(tables), (*remarks, *result.notes))


def _frozen(
    header: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    return tuple(header), tuple(map(tuple, rows))
