"""Captures as CSV text: of Live Link Face and others, also as spreadsheets save them again."""

from __future__ import annotations

import array
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from operator import itemgetter

import numpy as np

from jr2net.expressions.clocks import is_timecode
from jr2net.expressions.columns import Columns, NotACaptureError, TrackError, count_blendshapes, find_columns
from jr2net.expressions.recording import Recording
from jr2net.expressions.text import find_encoding

_DELIMITERS = ",;\t| "
_BLANK = ("", "-", "na", "n/a", "#n/a", "null", "none", "nil", "undefined")
_NOT_A_NUMBER = re.compile(r"[-+]?(?:nan|1\.#(?:qnan|snan|ind|inf))\d*(?:\(\w*\))?")
"""As programs of every language print it, e.g. ``-nan(ind)`` and ``1.#QNAN`` on Windows."""

_SUMMARIES = (
    "average", "avg", "mean", "median", "sum", "total", "min", "minimum", "max", "maximum", "std", "stdev", "count",
    "mittelwert", "summe", "moyenne", "somme", "total général", "promedio", "suma", "media", "somma",
)  # fmt: skip
"""What spreadsheets write in the first cell of a line that is no frame."""

_NO = ("0", "false", "no", "f", "n")
_ENOUGH = 20  # blendshapes, to take a line for the names
_LONGEST_PREAMBLE = 40  # lines before the names
_RATE = re.compile(r"(?:fps|frame[ _]?rate|frames[ _]per[ _]second)\W+(\d+(?:[.,]\d+)?)", re.IGNORECASE)
_FACE_CAP = ["", "time (ms)", *[""] * 10]
"""What stands before the blendshapes in a line of Face Cap: k, time, position and rotation of head and eyes."""


@dataclass(frozen=True)
class _Layout:
    """How a CSV is written: what separates its cells, and whether each line is quoted as a whole."""

    delimiter: str
    quoted_lines: bool

    def rows(self, lines: Iterable[str]) -> Iterator[list[str]]:
        if self.quoted_lines:  # a spreadsheet took each line for one cell
            lines = ((next(csv.reader([line]), None) or [""])[0] for line in lines)
        return csv.reader(lines, delimiter=self.delimiter, skipinitialspace=True)

    def split(self, line: str) -> list[str]:
        return next(self.rows([line]), [])


def read_csv(content: bytes, source: str) -> Recording:
    """The rows of a CSV. Separators are commas, semicolons, tabs, bars or spaces; decimals have a point or a comma.

    Lines before the names are skipped, but for a frame rate, and so are those that begin with ``#``. A row that ends
    after its timecode, is marked as such, or has blank cells only, shows no face. A last line without its end is left
    out, which is said. Raises TrackError, which names the line.
    """
    encoding = find_encoding(content, source)
    try:
        return _read(io.TextIOWrapper(io.BytesIO(content), encoding), source)
    except (UnicodeDecodeError, csv.Error) as error:
        raise NotACaptureError(f"{source}: not a CSV text ({error}); export the capture again") from None


def _read(stream: Iterator[str], source: str) -> Recording:
    head = list(islice(stream, _LONGEST_PREAMBLE))
    first, layout = _find_names(head, source)
    header = layout.split(head[first].lstrip("# "))
    titles = _FACE_CAP + header[1:] if header[0].strip().lower() == "bs" else header
    while titles and not titles[-1].strip():
        titles.pop()
    columns = find_columns(titles, source)
    if not columns.times:
        columns = _with_timecodes(columns, titles, [layout.split(line) for line in head[first + 1 :]])
    picked = (*columns.shapes, *columns.extra.values())
    pick, pick_shapes = itemgetter(*picked), itemgetter(*columns.shapes)
    numbers, line_numbers = array.array("f"), array.array("l")
    times: list[list[str]] = [[] for _ in columns.times]
    who, summaries, notes = list[str](), 0, list[str]()
    lines = _Numbered(chain(head[first + 1 :], stream), first + 1)
    for row in layout.rows(lines):
        if row == header or not any(map(str.strip, row)):
            continue
        try:
            row = _complete(row, len(titles), columns.shapes, lines.number, source)
        except TrackError:
            if not (lines.unfinished and line_numbers and len(row) < len(titles)):
                raise
            notes.append("the last line is cut off and was left out")
            continue
        if any(row[index].strip().lower().rstrip(":.") in _SUMMARIES for index, _ in columns.times):
            summaries += 1
            continue
        if any(_says_no(row[index]) for index in columns.faces):
            row = _without_face(row, columns.shapes)
        try:
            values = [float(cell) for cell in pick(row)]
        except ValueError:
            if not line_numbers and not any(map(_is_number, pick_shapes(row))) and any(pick_shapes(row)):
                continue  # a line of units
            values = [_number(row[i], titles[i], lines.number, source) for i in picked]
        numbers.extend(values)
        line_numbers.append(lines.number)
        for cells, (index, _) in zip(times, columns.times):
            cells.append(row[index].strip())
        if columns.who is not None:
            who.append(row[columns.who].strip())
    table = np.frombuffer(numbers, np.float32).reshape(-1, len(picked)).copy()
    table[~np.isfinite(table)] = np.nan
    rates = (match for line in head[:first] if (match := _RATE.search(line)))
    return Recording(
        source,
        table[:, : len(columns.shapes)],
        {name: table[:, len(columns.shapes) + index] for index, name in enumerate(columns.extra)},
        [(cells, unit) for cells, (_, unit) in zip(times, columns.times)],
        line_numbers,
        fps=next((float(match[1].replace(",", ".")) for match in rates), 0.0),
        who=who or None,
        percent=columns.percent,
        ignored=columns.ignored,
        notes=notes + [f"lines of sums or means, left out: {summaries}"] * bool(summaries),
    )


def _with_timecodes(columns: Columns, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Columns:
    """The columns with one of timecodes as that of times, whatever its title: TC, Zeit, …"""
    full = [row for row in rows if len(row) == len(titles)]
    for index, title in enumerate(titles):
        if title.strip() in columns.ignored and full and all(is_timecode(row[index]) for row in full):
            ignored = tuple(name for name in columns.ignored if name != title.strip())
            return replace(columns, times=((index, ""),), ignored=ignored)
    return columns


class _Numbered:
    """The lines of a text without comments, the number of the one read last, and whether its end is missing."""

    def __init__(self, lines: Iterator[str], number: int) -> None:
        self._lines, self.number, self.unfinished = lines, number, False

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.number, self.unfinished = self.number + 1, not line.endswith("\n")
            if not line.startswith("#"):
                yield line


def _find_names(head: Sequence[str], source: str) -> tuple[int, _Layout]:
    """The line that holds the names, or the first one that is not blank, and how it is written."""
    written = [index for index, line in enumerate(head) if line.strip()]
    if not written:
        raise TrackError(f"{source}: no frames; a capture has a line of column names and one line per frame")
    if any(count_blendshapes(re.findall(r"(\w{1,60})[-&]\d", line[:9999])) >= _ENOUGH for line in head[:2]):
        raise TrackError(f"{source}: holds packets of iFacialMocap, which carry no times; export the capture as CSV")
    for index in written:
        line = head[index].lstrip("# ")
        layouts = [_Layout(mark, quoted) for quoted in (False, True) for mark in _DELIMITERS]
        best = max(layouts, key=lambda layout: count_blendshapes(layout.split(line)))
        if count_blendshapes(best.split(line)) >= _ENOUGH:
            return index, best
    _refuse_other_tables(head, source)
    first = next((index for index in written if not head[index].lower().startswith(("#", "sep="))), written[0])
    return first, max((_Layout(mark, False) for mark in ",;\t|"), key=lambda layout: len(layout.split(head[first])))


def _refuse_other_tables(head: Sequence[str], source: str) -> None:
    """Raises TrackError for a table whose names do not stand in a line."""
    cells = [[cell.strip() for cell in re.split(r"[,;\t|]", line)] for line in head]
    if sum(count_blendshapes(row[:1]) for row in cells) >= _ENOUGH:
        raise TrackError(f"{source}: the names stand in the first column; exchange rows and columns")
    if sum(bool(count_blendshapes(row)) for row in cells[1:]) >= _ENOUGH:
        raise TrackError(f"{source}: has a line for each blendshape; bring it to one line for each frame")


def _complete(row: list[str], width: int, shapes: Sequence[int], number: int, source: str) -> list[str]:
    """The row with a cell for every column; one without a face gets blank ones. Raises TrackError."""
    while len(row) > width and not row[-1].strip():
        row.pop()
    if len(row) == width:
        return row
    if not any(row[index].strip() for index in shapes if index < len(row)):
        return row + [""] * (width - len(row))
    if len(row) == 2 and _says_no(row[1]):  # the number of blendshapes, even where no column is named so
        return row[:1] + [""] * (width - 1)
    remedy = (
        "the file may be cut off, remove the line or export the capture again"
        if len(row) < width
        else "if its decimals have commas, save it with semicolons between the columns"
    )
    raise TrackError(f"{source}: line {number} has {len(row)} values for {width} columns; {remedy}")


def _without_face(row: list[str], shapes: Sequence[int]) -> list[str]:
    row = list(row)
    for index in shapes:
        row[index] = ""
    return row


def _says_no(cell: str) -> bool:
    text = cell.strip().lower()
    return text in _NO or text.strip("0") == "."


def _is_number(cell: str) -> bool:
    try:
        _number(cell, "", 0, "")
    except TrackError:
        return False
    return bool(cell.strip())


def _number(cell: str, title: str, line: int, source: str) -> float:
    text = cell.strip().lower().replace("\N{MINUS SIGN}", "-")
    if text in _BLANK or _NOT_A_NUMBER.fullmatch(text):
        return np.nan
    try:
        number = float(text.rstrip("% ").replace(",", "."))
    except ValueError:
        raise TrackError(
            f"{source}: line {line}, {title.strip()}: {cell[:40]!r} is not a number; correct or remove the line"
        ) from None
    return number / 100 if text.endswith("%") else number
