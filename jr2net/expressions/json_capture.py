"""Captures as JSON: of ARKit applications, MediaPipe and Audio2Face.

Frames are a list of objects, in which the blendshapes may lie deeper (``{"time": 0.1, "blendShapes": {"jawOpen":
0.2}}``) or be a list of names and scores; or an object of them by time; or one object per line; or a list of names and
one of rows (Audio2Face's ``facsNames`` and ``weightMat``), or of frames with such rows; or a list for each blendshape.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from jr2net.expressions.columns import TrackError, count_blendshapes, find_columns
from jr2net.expressions.recording import Recording

_SCORE_NAMES = ("categoryName", "category_name", "name", "displayName", "blendShapeLocation")
_SCORE_VALUES = ("score", "value", "weight")
_RATES = ("fps", "framerate", "frame_rate", "frames_per_second", "exportfps")
_ENOUGH = 20  # blendshapes, to take something for a frame
_REMEDY = "a capture in JSON is a list of frames with ARKit's blendshapes by name"


def read_json(content: bytes, source: str) -> Recording:
    """The frames of a capture in JSON; ``Recording.lines`` are the frames' numbers. Raises TrackError.

    A shape that a frame leaves out is 0 there, as wherever shapes are given by name; a frame without any shows no face.
    """
    tree = _parse(content, source)
    try:
        rate, table = _rate(tree), _matrix(tree)
        frames = _frames(tree) if table is None else None
    except RecursionError:
        raise TrackError(f"{source}: nested too deeply; {_REMEDY}") from None
    if table is None and frames is None:
        raise TrackError(f"{source}: holds no blendshapes; {_REMEDY}")
    titles, rows = table or _table(frames or [])
    columns = find_columns(titles, source)

    def numbers(index: int) -> list[float]:
        return [_number(row[index], titles[index], frame, source) for frame, row in enumerate(rows)]

    time = columns.time
    return Recording(
        source,
        np.array([numbers(index) for index in columns.shapes], np.float32).T,
        {name: np.array(numbers(index), np.float32) for name, index in columns.extra.items()},
        None if time is None or (columns.unit == "frame" and rate) else [str(row[time]) for row in rows],
        columns.unit,
        range(len(rows)),
        rate,
        columns.ignored,
    )


def _parse(content: bytes, source: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        try:
            lines = [json.loads(line) for line in content.splitlines() if line.strip()]
        except (ValueError, RecursionError):
            raise TrackError(f"{source}: not JSON ({error}); export the capture again") from None
        return lines


def _rate(tree: Any) -> float:
    """Frames per second, where the file or a section of it states it; else 0."""
    sections = [tree, *tree.values()] if isinstance(tree, Mapping) else []
    for section in sections:
        for key, value in section.items() if isinstance(section, Mapping) else ():
            if key.lower() in _RATES and isinstance(value, int | float) and 0 < value < 1000:
                return float(value)
    return 0.0


def _matrix(tree: Any) -> tuple[list[str], list[Sequence[Any]]] | None:
    """(titles, rows) of a list of names beside a list of rows, or of a list for each name; None without them."""
    if not isinstance(tree, Mapping):
        return None
    lists = {key: value for key, value in tree.items() if isinstance(value, list) and value}
    if count_blendshapes(lists) >= _ENOUGH and len({len(lists[key]) for key in lists if count_blendshapes([key])}) == 1:
        length = next(len(value) for key, value in lists.items() if count_blendshapes([key]))
        columns = {key: value for key, value in lists.items() if len(value) == length}
        return list(columns), list(zip(*columns.values(), strict=True))
    for names in lists.values():
        if not all(isinstance(name, str) for name in names) or count_blendshapes(names) < _ENOUGH:
            continue
        for rows in lists.values():
            if all(isinstance(row, list) and len(row) == len(names) for row in rows):
                return names, rows
            if all(isinstance(row, Mapping) for row in rows):
                return _table([_with_names(row, names) for row in rows])
    return None


def _with_names(frame: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """A frame's values by name, also those of a field that is a list of a number for each name."""
    values = next((v for v in frame.values() if isinstance(v, list) and len(v) == len(names)), [])
    return _flat(frame) | dict(zip(names, values))


def _frames(tree: Any) -> list[dict[str, Any]] | None:
    """The frames, each with its values by name; None if there are none."""
    if isinstance(tree, list):
        flat = [_flat(frame) for frame in tree]
        return flat if any(count_blendshapes(frame) for frame in flat) else None
    if not isinstance(tree, Mapping):
        return None
    for value in tree.values():
        if isinstance(value, list) and (frames := _frames(value)):
            return frames
    if all(isinstance(value, Mapping) for value in tree.values()):  # by time
        return _frames([{"time": time} | dict(frame) for time, frame in tree.items()])
    return None


def _flat(frame: Any, prefix: str = "") -> dict[str, Any]:
    """The values of a frame, those that lie deeper by dotted names, and scores by the names beside them."""
    values: dict[str, Any] = {}
    if isinstance(frame, Mapping):
        name = next((frame[key] for key in _SCORE_NAMES if isinstance(frame.get(key), str)), None)
        score = next((frame[key] for key in _SCORE_VALUES if key in frame), None)
        if name is not None and score is not None:
            return {name: score}
        for key, value in frame.items():
            values |= (
                _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping | list) else {f"{prefix}{key}": value}
            )
    elif isinstance(frame, list):
        for value in islice(frame, 1000):
            values |= _flat(value, prefix)
    return values


def _table(frames: Sequence[dict[str, Any]]) -> tuple[list[str], list[Sequence[Any]]]:
    """(titles, rows) of frames; left out shapes are 0 where a frame has any, and blank where it has none."""
    titles = list(dict.fromkeys(title for frame in frames for title in frame))
    shapes = {title for title in titles if count_blendshapes([title])}
    rows: list[Sequence[Any]] = []
    for frame in frames:
        left_out = 0.0 if shapes & frame.keys() else None
        rows.append([frame.get(title, left_out if title in shapes else None) for title in titles])
    return titles, rows


def _number(value: Any, title: str, frame: int, source: str) -> float:
    if value is None:
        return np.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if abs(value) < 1e9 else np.nan
    raise TrackError(f"{source}: frame {frame}, {title}: {str(value)[:40]!r} is not a number; correct it")
