"""The lists that come with a dataset as text: what stands in them for every picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from jr2net.data.readers.problems import DatasetError, refuse_web_page


def parse_list(content: bytes, name: str) -> tuple[list[str], dict[str, list[str]]]:
    """CelebA's lists: the names of the columns, if the file has them, and the values of every picture, by its name.

    A file begins with the number of pictures and a line of names, or at once. Values are separated by blanks, or by
    commas in copies that others made. Raises DatasetError naming the file and the line.
    """
    lines = text_of(content, name).splitlines()
    lines = [line for line in (line.replace(",", " ") for line in lines) if line.strip()]
    count, columns = None, []
    if lines and lines[0].strip().isdigit():
        count = int(lines.pop(0))
    if lines and "." not in lines[0].split()[0]:  # a picture's name has an ending
        columns = lines.pop(0).split()
        columns = columns[1:] if columns[0] == "image_id" else columns
    rows: dict[str, list[str]] = {}
    for number, line in enumerate(lines, start=1):
        picture, *values = line.split()
        if columns and len(values) != len(columns):
            raise DatasetError(
                "damaged list",
                f"{name}: entry {number} ({picture[:40]!r}) has {len(values)} values, but {len(columns)} columns are "
                "named: the file is damaged or truncated; copy it again",
            )
        rows[picture] = values
    if not rows or (count is not None and count != len(rows)):
        raise DatasetError(
            "damaged list",
            f"{name}: has {len(rows)} entries{f' and says that it has {count}' if count else ''}: the file is "
            "truncated; copy it again",
        )
    return columns, rows


def parse_csv(content: bytes, name: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV with a header, which has to have some columns; blanks around names and values are dropped.

    Raises DatasetError.
    """
    reader = csv.reader(io.StringIO(text_of(content, name)))
    header: list[str] = []
    rows = []
    try:
        for row in ([cell.strip() for cell in row] for row in reader if row):
            if header and len(row) < len(header):
                raise csv.Error(f"{len(row)} values of {len(header)}")
            if header:
                rows.append(dict(zip(header, row)))
            else:
                header = row
    except csv.Error as error:
        raise DatasetError(
            "damaged list", f"{name}: line {reader.line_num}: {error}: the file is damaged or truncated; copy it again"
        ) from None
    if missing := [column for column in columns if column not in header]:
        raise DatasetError("damaged list", f"{name}: has no column {missing[0]!r}; copy it again")
    return rows


def text_of(content: bytes, name: str) -> str:
    """The text of a list. Raises DatasetError for a web page or anything but text."""
    refuse_web_page(content, name)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DatasetError("damaged list", f"{name}: is not a text file; copy the dataset's list again") from None
