"""Captures as JSON: of ARKit applications, MediaPipe, Audio2Face and others.

What ``json_frames`` finds in the file, as rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from jr2net.expressions.columns import TrackError, find_columns, first_few
from jr2net.expressions.json_frames import Table, captures_side_by_side, find_table, lists_of_strings
from jr2net.expressions.recording import Recording
from jr2net.expressions.text import find_encoding

_RATES = ("fps", "framerate", "frame_rate", "frames_per_second", "exportfps", "samplerate", "sample_rate")
_OF_TRACKS = ("confidence", "doubtful", "cut")
"""What tracks of ``jr2net.inference`` say of their frames besides."""

_BETWEEN = ", \t\r\n"  # values that follow each other
_REMEDY = "a capture in JSON is a list of frames with ARKit's blendshapes by name"


def is_json(content: bytes) -> bool:
    """Whether a text begins as JSON does, whatever its encoding."""
    start = content[:64].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    return start[:1] in (b"{", b"[") or start[:2] in (b"//", b"/*")


def read_json(content: bytes, source: str) -> Recording:
    """The frames of a capture in JSON; ``Recording.lines`` are the frames' numbers. Raises TrackError.

    A shape that a frame leaves out is 0 there, as wherever shapes are given by name; a frame without any shows no face.
    """
    tree = _parse(content, source)
    try:
        several, table, rate = captures_side_by_side(tree), find_table(tree), _rate(tree)
    except RecursionError:
        raise TrackError(f"{source}: nested too deeply; {_REMEDY}") from None
    if several:
        listed = first_few([repr(name[:40]) for name in several])
        raise TrackError(f"{source}: holds several captures ({listed}); put each into a file of its own")
    if table is None:
        if len(names := max(lists_of_strings(tree), key=len, default=[])) > 1:
            find_columns(names, source)  # says which names it holds instead
        raise TrackError(f"{source}: holds no blendshapes; {_REMEDY}")
    titles, rows = table.titles, table.rows
    columns = find_columns(titles, source)

    def numbers(index: int) -> list[float]:
        return [_number(row[index], titles[index], frame, source) for frame, row in enumerate(rows)]

    def cells(index: int) -> list[str]:
        return ["" if row[index] is None else str(row[index]) for row in rows]

    shapes = np.array([numbers(index) for index in columns.shapes], np.float32).T
    for index in columns.faces:
        shapes[[cell.lower() in ("false", "0", "0.0") for cell in cells(index)]] = np.nan
    notes = ["frames with several faces: the first one of each is used"] if table.several_faces else []
    return Recording(
        source,
        shapes,
        {name: np.array(numbers(index), np.float32) for name, index in columns.extra.items()},
        [(cells(index), unit) for index, unit in columns.times],
        range(len(rows)),
        fps=table.rate or rate or _rate_of_frame_times(table),
        who=None if columns.who is None else cells(columns.who),
        percent=columns.percent,
        ignored=[title for title in columns.ignored if title not in _OF_TRACKS],
        notes=notes,
    )


def _parse(content: bytes, source: str) -> Any:
    """The value of a text, or the list of the values that follow each other in it, on lines of their own or not."""
    text = content.decode(find_encoding(content, source)).strip(_BETWEEN)
    decoder, end = json.JSONDecoder(), 0
    values: list[Any] = []
    while end < len(text):
        start = end + len(text[end : end + 1000]) - len(text[end : end + 1000].lstrip(_BETWEEN))
        if text.startswith(("//", "/*"), start):
            raise TrackError(f"{source}: has comments, which JSON does not allow; remove them")
        try:
            value, end = decoder.raw_decode(text, start)
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}: not JSON ({error.msg})" if values else f"not JSON ({error})"
            raise TrackError(f"{source}: {where}; it may be cut off: export the capture again") from None
        except RecursionError:
            raise TrackError(f"{source}: nested too deeply; {_REMEDY}") from None
        values.append(value)
    return values[0] if len(values) == 1 else values


def _rate(tree: Any, depth: int = 3) -> float:
    """Frames per second, where the file or a section of it states it; else 0."""
    if isinstance(tree, list) and tree:
        tree = tree[0]
    if not isinstance(tree, Mapping) or not depth:
        return 0.0
    for key, value in tree.items():
        if key.lower() in _RATES and isinstance(value, int | float | str):
            with suppress(ValueError, OverflowError):  # also a number in quotes
                if 0 < float(value) < 1000:
                    return float(value)
    return next((rate for value in tree.values() if (rate := _rate(value, depth - 1))), 0.0)


def _rate_of_frame_times(table: Table) -> float:
    """The rate of Unreal's frame times: a frame number, and a fraction of frames per second."""
    parts = [
        next((table.rows[0][index] for index, title in enumerate(table.titles) if title.lower().endswith(part)), 0)
        for part in (".numerator", ".denominator")
    ]
    return parts[0] / parts[1] if all(isinstance(part, int | float) and part > 0 for part in parts) else 0.0


def _number(value: Any, title: str, frame: int, source: str) -> float:
    if value is None or value == "":
        return np.nan
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)  # also of a number in quotes
    except (ValueError, TypeError, OverflowError):
        raise TrackError(f"{source}: frame {frame}, {title}: {str(value)[:40]!r} is not a number; correct it") from None
    return number if abs(number) < 1e9 else np.nan
