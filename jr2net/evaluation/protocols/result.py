"""The result of a protocol: estimates by method and figure, what is missing and why, the paper's rows beside them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from jr2net.evaluation.paper import PaperTable
from jr2net.evaluation.statistics import Comparison, Estimate


@dataclass(frozen=True)
class Figure:
    """What a column of a table is.

    key     its name in JSON
    title   its heading
    unit    e.g. mm, px, dB; empty for plain numbers
    digits  after the point
    better  -1: lower is better; 1: higher is; 0: neither
    """

    key: str
    title: str
    unit: str = ""
    digits: int = 2
    better: int = -1

    @property
    def heading(self) -> str:
        """Title, unit, and an arrow to the better side."""
        unit = f" ({self.unit})" if self.unit else ""
        return f"{self.title}{unit}{ {-1: ' ↓', 0: '', 1: ' ↑'}[self.better] }"


@dataclass(frozen=True)
class Table:
    """Estimates of several methods.

    key, title   its name in JSON and its heading
    figures      the columns, in order
    methods      method -> figure's key -> estimate, rows in order; a figure that is absent is shown as missing
    comparisons  pairs of methods of this table
    published    the paper's table that measures the same thing on the same data; None: there is none
    upright      figures become rows and methods columns: for few methods and many figures
    """

    key: str
    title: str
    figures: tuple[Figure, ...]
    methods: Mapping[str, Mapping[str, Estimate]]
    comparisons: tuple[Comparison, ...] = ()
    published: PaperTable | None = None
    upright: bool = False

    def figure(self, key: str) -> Figure:
        """Raises KeyError where there is none of that key."""
        return {figure.key: figure for figure in self.figures}[key]


@dataclass(frozen=True)
class Missing:
    """What was not measured: a figure, a method or a part of them, and what it lacks."""

    what: str
    why: str


@dataclass(frozen=True)
class Measured:
    """samples: e.g. "scans" or "frames"; ``count`` of ``total`` were measured, of ``people`` identities."""

    samples: str
    count: int
    total: int
    people: int


@dataclass(frozen=True)
class Result:
    """What a protocol found.

    protocol     its name, and ``title``: what it measures, in a line
    data         the folder or file that it was measured on
    tables       one or more
    measured     how many samples of how many were measured, and of how many people
    quarantined  samples that could not be used, by name, with the reason
    missing      figures and methods that are not there, with what they lack
    notes        what a reader has to know of these numbers
    settings     the protocol's settings, the seed among them
    files        name -> content of what is written beside the tables, e.g. pictures
    """

    protocol: str
    title: str
    data: str
    tables: tuple[Table, ...]
    measured: Measured
    quarantined: tuple[Missing, ...] = ()
    missing: tuple[Missing, ...] = ()
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)

    def to_json(self) -> str:
        """Valid JSON; numbers that are not finite become null."""
        return json.dumps(self.to_tree(), indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    def to_tree(self) -> dict[str, Any]:
        """What ``to_json`` writes."""
        tree = {
            "protocol": self.protocol,
            "title": self.title,
            "data": self.data,
            "measured": asdict(self.measured),
            "tables": {table.key: _table(table) for table in self.tables},
            "missing": [asdict(item) for item in self.missing],
            "quarantined": [asdict(item) for item in self.quarantined],
            "notes": list(self.notes),
            "settings": dict(self.settings),
        }
        return {key: _plain(value) for key, value in tree.items()}


def _table(table: Table) -> dict[str, Any]:
    return {
        "title": table.title,
        "figures": {figure.key: {k: v for k, v in asdict(figure).items() if k != "key"} for figure in table.figures},
        "methods": {name: {key: asdict(e) for key, e in row.items()} for name, row in table.methods.items()},
        "comparisons": [asdict(comparison) for comparison in table.comparisons],
        "published": asdict(table.published) if table.published else None,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
