"""Where a JSON tree holds the frames of a capture, whatever lies around them.

- frames with blendshapes by name, which may lie deeper (``{"time": 0.1, "blendShapes": {"jawOpen": 0.2}}``), be a list
  of names and scores (MediaPipe), or names and values in turn (Swift): in a list, by time or number, or one alone
- a list of names somewhere, and rows of as many numbers: a matrix (Audio2Face), or one in each frame, with its time
- a list of values for each blendshape, by name, or beside a name (three.js)
- rows of 55 numbers in blocks, in the order that Azure's speech service documents
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from jr2net.expressions.columns import MOST_TITLES, has_blendshapes, time_columns
from jr2net.face.arkit import ARKIT_NAMES

_SCORE_NAMES = ("categoryName", "category_name", "name", "displayName", "blendShapeLocation", "key", "shape")
_SCORE_VALUES = ("score", "value", "weight", "coefficient")
_ENOUGH = 20  # blendshapes, to take something for a frame
_AZURE = (*ARKIT_NAMES, "tongueOut", "headRoll", "leftEyeRoll", "rightEyeRoll")
_AZURE_FPS = 60.0
_SEVERAL_FACES = "\0several faces"

_DEEPEST = 10  # levels at which frames may begin
_FIRST_PARTS = 8  # that are looked at, of a list or an object that may hold several captures
_FIRST_FRAMES = 50  # of each, which tell whether it is one
_MOST_FACES = 10  # in a frame

Frame = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Frames as rows.

    titles         of the columns
    rows           of values; None where a frame has none
    rate           frames per second that the form implies; 0: none
    several_faces  whether a frame held several, of which the first is taken
    """

    titles: list[str]
    rows: Sequence[Sequence[Any]]
    rate: float = 0.0
    several_faces: bool = False


def find_table(tree: Any) -> Table | None:
    """The frames of a tree; None if it holds none. Raises RecursionError for one that is nested too deeply."""
    if rows := _azure_rows(tree):
        return Table(["frame", *_AZURE], rows, _AZURE_FPS)
    return _table_of(tree, _names(tree))


def captures_side_by_side(tree: Any) -> list[str]:
    """The names of the captures of a tree that holds several, each with frames of its own; [] where it holds one.

    Of a long list the first ones. Raises RecursionError for a tree that is nested too deeply.
    """
    return [] if _azure_rows(tree) else _captures(tree, _names(tree))


def _names(tree: Any) -> list[str] | None:
    return next((names for names in lists_of_strings(tree) if has_blendshapes(names, _ENOUGH)), None)


def _table_of(tree: Any, names: list[str] | None) -> Table | None:
    """names: those of the numbers in rows, which may stand elsewhere."""
    if names and (frames := _frames_with_rows(tree, names)):
        return _table(frames)
    if columns := _columns(tree):
        return columns
    found = _frames(tree)
    return _table(found) if found else None


def _captures(tree: Any, names: list[str] | None, depth: int = 4) -> list[str]:
    parts = _parts(tree)
    found = [name for name, part in parts.items() if _is_capture(part, names)] if len(parts) > 1 else []
    if len(found) > 1:
        return found
    deeper = (_captures(part, names, depth - 1) for part in parts.values() if depth)
    return next((captures for captures in deeper if captures), [])


def _parts(tree: Any) -> dict[str, Any]:
    """The lists and objects of a tree by key, or by the name that they hold."""
    if isinstance(tree, list):
        parts = [part for part in tree[:_FIRST_PARTS] if isinstance(part, list | Mapping)]
        names = [part.get("name") if isinstance(part, Mapping) else None for part in parts]
        return {name if isinstance(name, str) else f"number {n + 1}": parts[n] for n, name in enumerate(names)}
    items = tree.items() if isinstance(tree, Mapping) else ()
    return {key: part for key, part in islice(items, _FIRST_PARTS) if isinstance(part, list | Mapping)}


def _is_capture(tree: Any, names: list[str] | None) -> bool:
    """Whether a part of a file is a capture of its own, and not a frame with several faces: by its times, or by more
    frames than there are faces."""
    table = _table_of(tree[:_FIRST_FRAMES] if isinstance(tree, list) else tree, names)
    if table is None or len(table.rows) < 2:
        return False
    return len(table.rows) > _MOST_FACES or bool(time_columns(table.titles))


def lists_of_strings(tree: Any) -> Iterator[list[str]]:
    """Every list of strings in a tree."""
    if isinstance(tree, list) and tree and all(isinstance(name, str) for name in tree):
        yield tree
    elif isinstance(tree, list | Mapping):
        for value in islice(tree.values() if isinstance(tree, Mapping) else tree, 100):
            yield from lists_of_strings(value)


def _azure_rows(tree: Any) -> list[Sequence[Any]]:
    """The rows of blocks ``{"FrameIndex": 0, "BlendShapes": [[…], …]}``, after their frame numbers; [] without any."""
    rows: list[Sequence[Any]] = []
    for block in tree if isinstance(tree, list) else [tree]:
        values = block.get("BlendShapes") if isinstance(block, Mapping) else None
        if not isinstance(values, list) or not isinstance(block.get("FrameIndex"), int):
            return []
        if not all(_is_row(row, len(_AZURE)) for row in values):
            return []
        rows += [(block["FrameIndex"] + index, *row) for index, row in enumerate(values)]
    return rows


def _is_row(value: Any, width: int) -> bool:
    return (
        isinstance(value, list) and len(value) == width and all(isinstance(v, int | float) or v is None for v in value)
    )


def _frames_with_rows(tree: Any, names: list[str], around: Frame | None = None, depth: int = _DEEPEST) -> list[Frame]:
    """A frame for each row of numbers, with the single values beside it. Of several matrices the first counts."""
    width, around = len(names), around or {}
    if isinstance(tree, list):
        if tree and all(_is_row(row, width) for row in tree):
            return [dict(zip(names, row)) for row in tree]
        if len(tree) == width and isinstance(tree[0], list) and all(_is_row(row, len(tree[0])) for row in tree):
            return [dict(zip(names, row)) for row in zip(*tree)]  # a row for each name
        return [frame for value in tree if depth for frame in _frames_with_rows(value, names, None, depth - 1)]
    if not isinstance(tree, Mapping) or not depth:
        return []
    around = around | {key: value for key, value in tree.items() if not isinstance(value, list | Mapping)}
    lists = [value for value in tree.values() if isinstance(value, list) and len(value) == width]
    if row := next((value for value in lists if _is_row(value, width)), None):
        own = next((value for value in lists if all(isinstance(name, str) for name in value)), names)
        return [around | dict(zip(own, row))]
    found = (
        _frames_with_rows(value, names, around | ({"time": key} if key[:1].isdigit() else {}), depth - 1)
        for key, value in tree.items()
        if isinstance(value, list | Mapping)
    )
    if all(isinstance(value, Mapping) for value in tree.values()):  # frames by time or number
        return [frame for frames in found for frame in frames]
    return next((frames for frames in found if frames), [])


def _columns(tree: Any, beside: Mapping[str, Any] | None = None, depth: int = _DEEPEST) -> Table | None:
    """A list of values for each blendshape, with lists of as many values beside them."""
    if isinstance(tree, list) and len(tree) >= _ENOUGH and all(isinstance(track, Mapping) for track in tree):
        tree = _by_name(tree)
    if not isinstance(tree, Mapping) or not depth:
        return None
    lists = {key: value for key, value in tree.items() if isinstance(value, list) and value}
    if len(lists) >= _ENOUGH and has_blendshapes(lists, _ENOUGH):
        length = next(len(value) for key, value in lists.items() if has_blendshapes([key]))
        lists = {**(beside or {}), **lists}
        columns = {key: value for key, value in lists.items() if isinstance(value, list) and len(value) == length}
        if has_blendshapes(columns, _ENOUGH) and not any(isinstance(v[0], list | dict) for v in columns.values()):
            return Table(list(columns), list(zip(*columns.values(), strict=True)))
    inner = (_columns(value, tree, depth - 1) for value in tree.values() if isinstance(value, list | Mapping))
    return next((table for table in inner if table), None)


def _by_name(tracks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Tracks that each have a name, times and values, as lists by name."""
    lists: dict[str, Any] = {}
    for track in tracks:
        name = next((track[key] for key in _SCORE_NAMES if isinstance(track.get(key), str)), None)
        values = next((track[key] for key in ("values", "weights", "keys") if isinstance(track.get(key), list)), None)
        if name and values:
            lists[name.replace("[", ".").rstrip("]")] = values
            lists.setdefault("time", track.get("times"))
    return lists


def _frames(tree: Any, depth: int = _DEEPEST) -> list[Frame] | None:
    """The frames, each with its values by name; None if there are none."""
    if not depth:
        return None
    if isinstance(tree, list):
        if len(tree) == 1 and (frames := _frames(tree[0], depth - 1)):
            return frames
        flat = [_flat(frame) for frame in tree]
        if len(flat) > 1 and all(len(frame) == 1 for frame in flat):  # scores of one frame
            flat = [{title: value for frame in flat for title, value in frame.items()}]
            return flat if has_blendshapes(flat[0], _ENOUGH) else None
        return _without_headers(flat)
    if not isinstance(tree, Mapping):
        return None
    inner = [value for value in tree.values() if isinstance(value, Mapping | list)]
    if len(inner) == len(tree) > 1 and all(isinstance(value, Mapping) for value in inner):  # by time or number
        frames = [{"time": time} | _flat(frame) for time, frame in tree.items()]
        if 2 * sum(has_blendshapes(frame, _ENOUGH) for frame in frames) > len(frames):
            return frames
    for value in inner:
        frames = _frames(value, depth - 1) or []
        if len(frames) > 1:
            return frames
    alone = _flat(tree)
    return [alone] if has_blendshapes(alone, _ENOUGH) else None


def _without_headers(frames: list[Frame]) -> list[Frame] | None:
    """The frames without those that share no field with one that shows a face; None if no frame does."""
    faces = [frame for frame in frames if has_blendshapes(frame)]
    fields = set().union(*faces)
    return [frame for frame in frames if not fields.isdisjoint(frame) or not frame] if faces else None


def _flat(frame: Any, prefix: str = "", depth: int = _DEEPEST) -> Frame:
    """The values of a frame, those that lie deeper by dotted names, and scores by the names beside them."""
    values: Frame = {}
    if not depth:
        return values
    if isinstance(frame, Mapping):
        name = next((frame[key] for key in _SCORE_NAMES if isinstance(frame.get(key), str)), None)
        score = next((frame[key] for key in _SCORE_VALUES if isinstance(frame.get(key), int | float | str)), None)
        if name is not None and score is not None:
            return {name: score}
        for key, value in frame.items():
            values |= (
                _flat(value, f"{prefix}{key}.", depth - 1)
                if isinstance(value, Mapping | list)
                else {f"{prefix}{key}": value}
            )
    elif isinstance(frame, list):
        if frame and isinstance(frame[0], str):  # names and values in turn
            return dict(zip(frame[::2], frame[1::2])) if all(isinstance(name, str) for name in frame[::2]) else {}
        for value in islice((value for value in frame if isinstance(value, Mapping | list)), 1000):
            added = _flat(value, prefix, depth - 1)
            if _SEVERAL_FACES not in values and has_blendshapes(values.keys() & added.keys()):
                values[_SEVERAL_FACES] = True
            values = added | values
    return values


def _table(frames: Sequence[Frame]) -> Table:
    """The frames as rows; left out shapes are 0 where a frame has any, and blank where it has none."""
    # A frame without a face may hold null in the place of an object, whose name is no title then.
    held = (
        title for frame in frames for title, value in frame.items() if value is not None or has_blendshapes([title])
    )
    titles = [title for title in dict.fromkeys(held) if title != _SEVERAL_FACES]
    if len(titles) > MOST_TITLES:
        return Table(titles, [])
    shapes = {title for title in titles if has_blendshapes([title])}
    rows: list[Sequence[Any]] = []
    for frame in frames:
        left_out = 0.0 if shapes & frame.keys() else None
        rows.append([frame.get(title, left_out if title in shapes else None) for title in titles])
    return Table(titles, rows, several_faces=any(_SEVERAL_FACES in frame for frame in frames))
