"""Captures as CSV text: of Live Link Face and others, also as spreadsheets save them again."""

from __future__ import annotations

import array
import csv
import io
from collections.abc import Iterator, Sequence
from operator import itemgetter

import numpy as np

from jr2net.expressions.columns import Columns, NotACaptureError, TrackError, count_blendshapes, find_columns
from jr2net.expressions.recording import Recording

_DELIMITERS = ",;\t|"
_BLANK = ("", "-", "na", "n/a", "#n/a", "null", "none")
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def read_csv(content: bytes, source: str) -> Recording:
    """The rows of a CSV. Separators are commas, semicolons, tabs or bars; decimals have a point or a comma.

    Lines that begin with ``#`` or ``sep=`` are skipped. A row that ends after its timecode, has a count of 0, or has
    blank cells only, shows no face. Raises TrackError, which names the line.
    """
    encoding = _encoding(content)
    if encoding is None:
        raise NotACaptureError(f"{source}: not a CSV text (it holds zero bytes); export the capture again")
    try:
        return _read(_lines(content, encoding), source)
    except (UnicodeDecodeError, csv.Error) as error:
        raise NotACaptureError(f"{source}: not a CSV text ({error}); export the capture again") from None


def _lines(content: bytes, encoding: str) -> Iterator[tuple[int, str]]:
    """The numbered lines of the text; the file is decoded piece by piece, as it may be large."""
    stream = io.TextIOWrapper(io.BytesIO(content), encoding)
    for number, line in enumerate(stream, start=1):
        if line.strip() and not line.startswith("#") and not line.lower().startswith("sep="):
            yield number, line


def _encoding(content: bytes) -> str | None:
    """How the text is encoded, by its mark or its bytes; None: it is no text."""
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return encoding
    if b"\0" in content:  # in text only of UTF-16, without its mark
        zeros = [not content[first:64:2].strip(b"\0") for first in (0, 1)]
        return "utf-16-le" if zeros[1] else "utf-16-be" if zeros[0] else None
    try:
        content.decode()
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _read(lines: Iterator[tuple[int, str]], source: str) -> Recording:
    header = next(lines, None)
    if header is None:
        raise TrackError(f"{source}: no frames; a capture has a line of column names and one line per frame")
    delimiter = max(_DELIMITERS, key=lambda mark: count_blendshapes(_split(header[1], mark)))
    titles = _split(header[1], delimiter)
    columns = find_columns(titles, source)
    picked = (*columns.shapes, *columns.extra.values())
    pick = itemgetter(*picked)
    numbers, times, line_numbers = array.array("f"), [], array.array("l")
    for number, line in lines:
        row = _split(line, delimiter)
        if row == titles or not any(map(str.strip, row)):
            continue
        row = _complete(row, titles, columns, number, source)
        try:
            numbers.extend([float(cell) for cell in pick(row)])
        except ValueError:
            numbers.extend([_number(row[i], titles[i], number, source) for i in picked])
        line_numbers.append(number)
        if columns.time is not None:
            times.append(row[columns.time].strip())
    table = np.frombuffer(numbers, np.float32).reshape(-1, len(picked)).copy()
    table[~np.isfinite(table)] = np.nan
    return Recording(
        source,
        table[:, : len(columns.shapes)],
        {name: table[:, len(columns.shapes) + index] for index, name in enumerate(columns.extra)},
        None if columns.time is None else times,
        columns.unit,
        line_numbers,
        ignored=columns.ignored,
    )


def _split(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _complete(row: list[str], titles: Sequence[str], columns: Columns, number: int, source: str) -> list[str]:
    """The row with a cell for every column; one without a face gets blank ones. Raises TrackError."""
    while len(row) > len(titles) and not row[-1].strip():
        row.pop()
    shapes = set(columns.shapes)
    counts_none = columns.count is not None and columns.count < len(row) and row[columns.count].strip() in ("0", "0.0")
    if counts_none or not any(row[index].strip() for index in shapes if index < len(row)):
        cells = row + [""] * (len(titles) - len(row))
        return ["" if index in shapes else cell for index, cell in enumerate(cells)]
    if len(row) != len(titles):
        remedy = (
            "the file may be cut off, remove the line or export the capture again"
            if len(row) < len(titles)
            else "if its decimals have commas, save it with semicolons between the columns"
        )
        raise TrackError(f"{source}: line {number} has {len(row)} values for {len(titles)} columns; {remedy}")
    return row


def _number(cell: str, title: str, line: int, source: str) -> float:
    text = cell.strip().lower()
    if text in _BLANK:
        return np.nan
    try:
        return float(text.replace(",", "."))
    except ValueError:
        raise TrackError(
            f"{source}: line {line}, {title.strip()}: {cell[:40]!r} is not a number; correct or remove the line"
        ) from None
