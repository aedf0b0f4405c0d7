"""Tracks in the project's own Parquet: one float32 column per blendshape, the name and the rate in the metadata."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jr2net.expressions.columns import TrackError, find_columns
from jr2net.expressions.recording import Recording, Track, to_track
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.storage import write_bytes
from jr2net.storage.parquet import PARQUET_OPTIONS, ShardError, open_parquet, read_table

_METADATA, _SEEN = b"track", "seen"


def write_track(uri: str, track: Track) -> None:
    """Writes a track, with a column for each extra, and with ``seen`` where frames were filled."""
    columns = {name: pa.array(track.expression[:, index]) for index, name in enumerate(ARKIT_NAMES)}
    columns |= {name: pa.array(np.asarray(values, np.float32)) for name, values in track.extra.items()}
    if track.seen is not None:
        columns[_SEEN] = pa.array(track.seen)
    metadata = {"name": track.name, "fps": track.fps, "clamped": track.clamped, "notes": track.notes}
    table = pa.table(columns).replace_schema_metadata({_METADATA: json.dumps(metadata).encode()})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **PARQUET_OPTIONS)
    write_bytes(uri, sink.getvalue().to_pybytes())


def read_track(uri: str) -> Track:
    """Reads a file of ``write_track``, or any Parquet with one column per blendshape. Raises TrackError."""
    try:
        with open_parquet(uri, []) as file:
            titles, metadata = file.schema_arrow.names, (file.schema_arrow.metadata or {}).get(_METADATA)
            columns = find_columns(titles, uri)
            tables = [read_table(file, uri, group, titles) for group in range(file.num_row_groups)]
    except ShardError as error:
        raise TrackError(str(error)) from None
    if not sum(table.num_rows for table in tables):
        raise TrackError(f"{uri}: no frames; a capture has one row per frame: export the capture again")
    table = pa.concat_tables(tables)
    description = json.loads(metadata) if metadata else {}

    def numbers(index: int) -> np.ndarray:
        try:
            return table.column(index).to_numpy().astype(np.float32)
        except (ValueError, TypeError, pa.ArrowException):
            raise TrackError(f"{uri}: column {titles[index]!r} does not hold numbers; export it again") from None

    track = to_track(
        Recording(
            uri,
            np.stack([numbers(index) for index in columns.shapes], 1),
            {name: numbers(index) for name, index in columns.extra.items()},
            [([str(cell) for cell in table.column(index).to_pylist()], unit) for index, unit in columns.times],
            range(table.num_rows),
            description.get("fps", 0.0),
            ignored=[title for title in columns.ignored if title != _SEEN],
        )
    )
    if not description:
        return track
    seen = table.column(_SEEN).to_numpy() if _SEEN in titles else track.seen
    clamped = description.get("clamped", 0) + track.clamped
    notes = (*description.get("notes", ()), *track.notes)
    return replace(track, name=description.get("name", track.name), clamped=clamped, seen=seen, notes=notes)
