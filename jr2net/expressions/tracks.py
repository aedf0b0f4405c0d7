"""Captured expression tracks: Live Link Face / ARKit CSV, and the project's own Parquet.

A CSV has one row per frame: ``Timecode`` (``HH:MM:SS:FF.fff``), the blendshapes by name in any order, in PascalCase (as
the iPhone app writes them) or camelCase, and optionally ``tongueOut`` and head and eye rotations (``Track.extra``).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from jr2net.errors import UserError
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.storage import join, open_filesystem, read_bytes, write_bytes
from jr2net.storage.parquet import PARQUET_OPTIONS, ShardError, open_parquet, read_table

DEFAULT_FPS = 30.0
_TIME_COLUMNS = ("timecode", "time", "timestamp")
_IGNORED = ("blendShapeCount", "blendshapeCount")
_EXTRA = (
    "tongueOut", "headYaw", "headPitch", "headRoll", "leftEyeYaw", "leftEyePitch", "leftEyeRoll", "rightEyeYaw",
    "rightEyePitch", "rightEyeRoll",
)  # fmt: skip
_TIMECODE = re.compile(r"(\d+):(\d+):(\d+)[:;](\d+(?:\.\d+)?)")
_FRAME_RATES = (24.0, 25.0, 30.0, 50.0, 60.0, 120.0)


class TrackError(UserError, ValueError):
    """A capture that cannot be used; the message names the file, the field and the remedy."""


@dataclass(frozen=True)
class Track:
    """A captured take: expressions over time.

    name        of the take
    expression  (T, 51) float32 in [0, 1], order of ``ARKIT_NAMES``
    fps         frames per second
    extra       (T,) float32 each: ``tongueOut`` and rotations (radians) that the capture also holds
    clamped     number of values outside [0, 1] that were clamped
    """

    name: str
    expression: np.ndarray
    fps: float
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)
    clamped: int = 0

    def __len__(self) -> int:
        return len(self.expression)


def read_capture(uri: str) -> Track:
    """Reads a take, CSV or Parquet by its file extension. Raises TrackError for anything else."""
    uri = str(uri)
    if uri.lower().endswith(".parquet"):
        return read_track(uri)
    if uri.lower().endswith(".csv"):
        return parse_csv(read_bytes(uri), uri)
    raise TrackError(f"{uri}: a capture is a Live Link Face .csv or a track .parquet")


@dataclass(frozen=True)
class Captures:
    """Usable takes, sorted by name, and the unusable files of the folder with the reasons."""

    tracks: list[Track]
    damaged: Mapping[str, str] = field(default_factory=dict)


def read_captures(uri: str) -> Captures:
    """Reads one take, or every .csv and .parquet of a folder. Raises TrackError where no take can be used."""
    filesystem, path = open_filesystem(uri)
    if filesystem.get_file_info(path).type != fs.FileType.Directory:
        return Captures([read_capture(uri)])
    names = sorted(info.base_name for info in filesystem.get_file_info(fs.FileSelector(path)) if info.is_file)
    takes = [name for name in names if name.lower().endswith((".csv", ".parquet"))]
    if not takes:
        raise TrackError(f"{uri}: holds no .csv or .parquet captures; give a take or a folder of takes")
    tracks, damaged = [], {}
    for name in takes:
        try:
            tracks.append(read_capture(join(uri, name)))
        except TrackError as error:
            damaged[name] = str(error).replace(join(uri, name), name)
    if not tracks:
        raise TrackError(f"{uri}: none of {len(takes)} captures can be used, e.g. {damaged[takes[0]]}")
    return Captures(tracks, damaged)


def parse_csv(content: bytes, source: str) -> Track:
    """Parses a Live Link Face CSV. ``source`` names it in errors; its stem is the take's name. Raises TrackError."""
    try:
        rows = [
            row for row in csv.reader(io.StringIO(content.decode("utf-8-sig"))) if any(cell.strip() for cell in row)
        ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise TrackError(f"{source}: not a CSV text ({error}); export the take again") from None
    if len(rows) < 2:
        raise TrackError(f"{source}: no frames; a capture has a line of column names and one line per frame")
    columns = _columns(rows[0], source)
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(rows[0]):
            raise TrackError(
                f"{source}: line {number} has {len(row)} values for {len(rows[0])} columns; the file may be cut off, "
                "remove the line or export the take again"
            )
    expression, clamped = _clamp(
        np.stack([_numbers(rows, columns[name], name, source) for name in ARKIT_NAMES], 1), source
    )
    extra = {name: _numbers(rows, columns[name], name, source) for name in _EXTRA if name in columns}
    stamps = [row[columns["timecode"]] for row in rows[1:]] if "timecode" in columns else []
    name = source.rpartition("/")[2].rpartition(".")[0] or source
    return Track(name, expression, infer_fps(stamps), extra, clamped)


def infer_fps(timecodes: list[str]) -> float:
    """Frames per second from ``HH:MM:SS:FF.fff`` timecodes; ``DEFAULT_FPS`` where they are missing or inconsistent.

    FF counts frames of a clock that may run faster than the capture (a take may step by two). The rate of the capture
    is the inverse of the median time between its frames.
    """
    stamps = [match for match in map(_TIMECODE.search, timecodes) if match]
    if len(stamps) < 3:
        return DEFAULT_FPS
    seconds = np.array([int(m[1]) * 3600 + int(m[2]) * 60 + int(m[3]) for m in stamps])
    frames = np.array([float(m[4]) for m in stamps])
    seconds = seconds + 86400 * np.concatenate([[0], np.cumsum(np.diff(seconds) < -43200)])
    clock = next((rate for rate in _FRAME_RATES if frames.max() < rate), None)
    if clock is None or frames.max() < clock / 2:
        return DEFAULT_FPS
    times = seconds + frames / clock
    step = float(np.median(np.diff(times)))
    return DEFAULT_FPS if step <= 0 else round(1 / step, 3)


def write_track(uri: str, track: Track) -> None:
    """Writes a take as Parquet: one float32 column per blendshape and extra, the rate and name in its metadata."""
    columns = {name: pa.array(track.expression[:, index]) for index, name in enumerate(ARKIT_NAMES)}
    columns |= {name: pa.array(np.asarray(values, np.float32)) for name, values in track.extra.items()}
    metadata = {"name": track.name, "fps": track.fps, "clamped": track.clamped}
    table = pa.table(columns).replace_schema_metadata({b"track": json.dumps(metadata).encode()})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **PARQUET_OPTIONS)
    write_bytes(uri, sink.getvalue().to_pybytes())


def read_track(uri: str) -> Track:
    """Reads a file of ``write_track``, or any Parquet with one column per blendshape (at ``DEFAULT_FPS``)."""
    try:
        with open_parquet(uri, []) as file:
            names, metadata = file.schema_arrow.names, (file.schema_arrow.metadata or {}).get(b"track")
            columns = _columns(names, uri)
            tables = [read_table(file, uri, group, names) for group in range(file.num_row_groups)]
    except ShardError as error:
        raise TrackError(str(error)) from None
    if not sum(table.num_rows for table in tables):
        raise TrackError(f"{uri}: no frames; a capture has one row per frame: export the take again")
    description = json.loads(metadata) if metadata else {}
    table = pa.concat_tables(tables)

    def numbers(name: str) -> np.ndarray:
        return table.column(columns[name]).to_numpy().astype(np.float32)

    expression, clamped = _clamp(np.stack([numbers(name) for name in ARKIT_NAMES], 1), uri)
    extra = {name: numbers(name) for name in _EXTRA if name in columns}
    name = description.get("name", uri.rpartition("/")[2].rpartition(".")[0])
    return Track(name, expression, description.get("fps", DEFAULT_FPS), extra, description.get("clamped", 0) + clamped)


def _columns(header: list[str], source: str) -> dict[str, int]:
    """Index of each known column by its camelCase name. Raises TrackError for unknown, duplicate or missing ones."""
    found: dict[str, int] = {}
    known = {*ARKIT_NAMES, *_EXTRA, *_IGNORED, *_TIME_COLUMNS}
    for index, title in enumerate(header):
        name = title.strip()
        name = name[:1].lower() + name[1:]
        name = name[:-2] + "Left" if name.endswith("_L") else name[:-2] + "Right" if name.endswith("_R") else name
        if name not in known:
            raise TrackError(
                f"{source}: unknown column {title.strip()!r}; expected the ARKit blendshapes, tongueOut, head and eye "
                "rotations: rename or remove it"
            )
        if name in found:
            raise TrackError(f"{source}: column {title.strip()!r} occurs twice; remove one")
        found[name] = index
    missing = [name for name in ARKIT_NAMES if name not in found]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise TrackError(
            f"{source}: column {', '.join(missing[:5])}{more} missing; export the take with all 52 ARKit blendshapes"
        )
    return found


def _numbers(rows: list[list[str]], column: int, name: str, source: str) -> np.ndarray:
    try:
        return np.array([row[column] for row in rows[1:]]).astype(np.float32)
    except ValueError:
        for number, row in enumerate(rows[1:], start=2):
            try:
                float(row[column])
            except ValueError:
                raise TrackError(
                    f"{source}: line {number}, {name}: {row[column]!r} is not a number; correct or remove the line"
                ) from None
        raise


def _clamp(expression: np.ndarray, source: str) -> tuple[np.ndarray, int]:
    if not np.isfinite(expression).all():
        frame, shape = np.argwhere(~np.isfinite(expression))[0]
        raise TrackError(f"{source}: frame {frame}, {ARKIT_NAMES[shape]}: not a finite number; remove the frame")
    clamped = int(((expression < 0) | (expression > 1)).sum())
    return np.clip(expression, 0, 1), clamped
