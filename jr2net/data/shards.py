"""Clip shards: Parquet files with one row per run of consecutive frames of one clip.

Columns: ``clip_id``, ``identity``, ``fps``, ``license`` and, per frame, ``frame`` (its number in the footage),
``image`` (JPEG or PNG bytes), ``landmarks`` (68 × 2 flattened, crop pixels with edges at integers, NaN where
undetected) and, where known, ``matte`` (grey PNG bytes). The studio's test sets also hold ground truth:
``truth_identity`` and ``truth_albedo`` per row, and per frame ``truth_expression``, ``truth_rotation``,
``truth_translation`` and ``truth_light``; clips of synthesised images, and of footage with a capture beside it, have
``truth_expression`` alone. Other columns are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pyarrow.parquet as pq

from jr2net.face.landmarks import LANDMARKS
from jr2net.images.clip import ClipRow, ClipTruth
from jr2net.storage import join, open_filesystem, write_bytes
from jr2net.storage.parquet import PARQUET_OPTIONS, ShardError, open_parquet, read_table

ROW_GROUP_BYTES = 1 << 20
"""Bytes of images per row group, which bound the cost of reading one row (a larger row is a group of its own)."""


_PER_FRAME_SHAPES = {"expression": (51,), "rotation": (3,), "translation": (3,), "light": (9, 3)}
COLUMNS = ["clip_id", "identity", "fps", "frame", "image", "landmarks"]
"""Columns that every clip shard has."""

EXPRESSION = "truth_expression"
_OPTIONAL_COLUMNS = ["license", "matte"]


def is_optional(column: str) -> bool:
    """Whether a clip shard may have this column besides ``COLUMNS``; others are ignored."""
    return column in _OPTIONAL_COLUMNS or column.startswith("truth_")


def write_clips(uri: str, rows: Iterable[ClipRow]) -> dict[str, int]:
    """Writes rows to one shard (a local path or storage URI) atomically; returns the numbers of rows and frames.

    Deterministic: equal rows give equal bytes. Raises ShardError without rows, or if only some have ground truth or
    mattes.
    """
    groups = [_table(group) for group in _grouped(rows)]
    if not groups:
        raise ShardError(f"{uri}: a shard needs at least one row")
    if any(group.schema != groups[0].schema for group in groups):
        raise ShardError(f"{uri}: some rows have truth or mattes and some have not; write them to separate shards")
    write_groups(uri, groups)
    return {
        "rows": sum(group.num_rows for group in groups),
        "frames": sum(len(group["frame"].combine_chunks().flatten()) for group in groups),
    }


def write_groups(uri: str, groups: Sequence[pa.Table]) -> None:
    """Writes tables of one schema atomically, each as a row group of one file."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, groups[0].schema, **PARQUET_OPTIONS) as writer:
        for group in groups:
            writer.write_table(group)
    write_bytes(uri, sink.getvalue().to_pybytes())


def list_shards(uri: str) -> list[str]:
    """The Parquet files of a folder, sorted by name, or the file ``uri`` itself. Raises ShardError without any."""
    return list(find_shards(uri))


def find_shards(uri: str, below: bool = False) -> dict[str, str]:
    """``list_shards`` in one request, with a version of each that changes with it: its size and time of change.

    below: whether shards in folders of the folder count too.
    """
    filesystem, path = open_filesystem(uri)
    try:
        info = filesystem.get_file_info(path)
        if info.type == pa.fs.FileType.File:
            return {uri: _version(info)}
        is_folder = info.type == pa.fs.FileType.Directory
        found = filesystem.get_file_info(pa.fs.FileSelector(path, recursive=below)) if is_folder else []
    except OSError as error:
        raise ShardError(f"{uri}: cannot be listed: {error}; check the address and the credentials") from None
    shards = (file for file in found if file.is_file and file.base_name.endswith(".parquet"))
    files = {file.path[len(path) :].lstrip("/"): file for file in shards}
    if not files:
        problem = "holds no .parquet files" if is_folder else "does not exist"
        raise ShardError(f"{uri}: {problem}; give a folder of clip shards")
    return {join(uri, name): _version(files[name]) for name in sorted(files)}


def _version(file: pyarrow.fs.FileInfo) -> str:
    return f"{file.size} {file.mtime_ns}"


def read_group(uri: str, group: int, content: bytes | None = None) -> list[ClipRow]:
    """Reads all rows of one row group, images still compressed. content: of the shard, if it was read before."""
    with open_parquet(uri, COLUMNS, content) as file:
        columns = COLUMNS + [name for name in file.schema_arrow.names if is_optional(name)]
        table = read_table(file, uri, group, columns)
    return parse_rows(table, uri)


def read_groups(uri: str) -> Iterator[list[ClipRow]]:
    """Iterates over the row groups of one shard in order."""
    with open_parquet(uri, COLUMNS) as file:
        groups = file.num_row_groups
    for group in range(groups):
        yield read_group(uri, group)


def read_clips(uri: str) -> Iterator[ClipRow]:
    """Iterates over the rows of one shard in order."""
    for rows in read_groups(uri):
        yield from rows


def _grouped(rows: Iterable[ClipRow]) -> Iterator[list[ClipRow]]:
    group: list[ClipRow] = []
    size = 0
    for row in rows:
        group.append(row)
        size += row.encoded_bytes
        if size >= ROW_GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _table(rows: Sequence[ClipRow]) -> pa.Table:
    lengths = [len(row) for row in rows]
    columns: dict[str, pa.Array] = {
        "clip_id": pa.array([row.clip_id for row in rows], pa.string()),
        "identity": pa.array([row.identity for row in rows], pa.string()),
        "fps": pa.array([row.fps for row in rows], pa.float32()),
        "frame": _lists(lengths, pa.array(np.concatenate([row.frame for row in rows]).astype(np.int32))),
        "image": _lists(lengths, pa.array([image for row in rows for image in row.images], pa.binary())),
        "landmarks": _lists(lengths, _vectors([row.landmarks for row in rows], 2 * LANDMARKS)),
        "license": pa.array([row.license for row in rows], pa.string()),
    }
    mattes = [row.matte for row in rows if row.matte is not None]
    if mattes and len(mattes) != len(rows):
        raise ShardError(f"clip {rows[0].clip_id!r} and its neighbours: some rows have mattes and some have not")
    if mattes:
        columns["matte"] = _lists(lengths, pa.array([matte for row in mattes for matte in row], pa.binary()))
    truths = [row.truth for row in rows if row.truth is not None]
    if truths and len(truths) != len(rows):
        raise ShardError(f"clip {rows[0].clip_id!r} and its neighbours: some rows have truth and some have not")
    if truths:
        for name in ("identity", "albedo"):
            values = [np.asarray(getattr(truth, name), np.float32) for truth in truths]
            columns[f"truth_{name}"] = _lists([len(value) for value in values], pa.array(np.concatenate(values)))
        for name, shape in _PER_FRAME_SHAPES.items():
            columns[f"truth_{name}"] = _lists(lengths, _vectors([getattr(t, name) for t in truths], math.prod(shape)))
    expressions = [row.expression for row in rows if row.expression is not None]
    if expressions and (truths or len(expressions) != len(rows)):
        raise ShardError(f"clip {rows[0].clip_id!r} and its neighbours: some rows have expressions and some have not")
    if expressions:
        columns[EXPRESSION] = _lists(lengths, _vectors(expressions, *_PER_FRAME_SHAPES["expression"]))
    return pa.table(columns)


def _lists(lengths: Sequence[int], values: pa.Array) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, values)


def _vectors(parts: Sequence[np.ndarray], width: int) -> pa.Array:
    flat = np.concatenate([np.asarray(part, np.float32).reshape(-1, width) for part in parts])
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), width)


def parse_rows(table: pa.Table, uri: str) -> list[ClipRow]:
    """The rows of a table with the columns of a clip shard, or with those of ``COLUMNS`` alone. uri: for messages.

    Raises ShardError where the values of a frame are too few or too many.
    """
    return [row for batch in table.to_batches() for row in _parse_batch(batch, uri)]


def _parse_batch(batch: pa.RecordBatch, uri: str) -> list[ClipRow]:
    """As ``parse_rows``; whole columns are converted at once, since rows may be many and short."""
    names, rows = batch.schema.names, range(batch.num_rows)
    clip_ids, identities, fps = (batch[name].to_pylist() for name in ("clip_id", "identity", "fps"))
    licenses = batch["license"].to_pylist() if "license" in names else [""] * len(rows)
    images = _lists_of_bytes(batch["image"])
    mattes = _lists_of_bytes(batch["matte"]) if "matte" in names else [None] * len(rows)
    counts = [len(row or ()) for row in images]

    def numbers(column: str, *shape: int, dtype: type = np.float32, per_frame: bool = True) -> list[np.ndarray]:
        """Of every row, an array (T, *shape), or of any length unless ``per_frame``."""
        values, bounds = _flatten(batch[column])
        flat = values.to_numpy(zero_copy_only=False).astype(dtype)
        parts = [flat[first:last] for first, last in pairwise(bounds)]
        if not per_frame:
            return parts
        for clip_id, count, part in zip(clip_ids, counts, parts):
            if part.size != math.prod((count, *shape)):
                expected = " × ".join(str(side) for side in (count, *shape))
                raise ShardError(
                    f"{uri}: clip {clip_id!r}: {column} has {part.size} values for {count} images, expected "
                    f"{expected}; write the shard again"
                )
        return [part.reshape(count, *shape) for count, part in zip(counts, parts)]

    frames, landmarks = numbers("frame", dtype=np.int32), numbers("landmarks", LANDMARKS, 2)
    truths: list[ClipTruth | None] = [None] * len(rows)
    if "truth_identity" in names:
        values = {name: numbers(f"truth_{name}", per_frame=False) for name in ("identity", "albedo")}
        values |= {name: numbers(f"truth_{name}", *shape) for name, shape in _PER_FRAME_SHAPES.items()}
        truths = [ClipTruth(**{name: column[row] for name, column in values.items()}) for row in rows]
    expressions: Sequence[np.ndarray | None] = [None] * len(rows)
    if EXPRESSION in names and "truth_identity" not in names:
        expressions = numbers(EXPRESSION, *_PER_FRAME_SHAPES["expression"])
    return [
        ClipRow(
            clip_id=clip_ids[row],
            identity=identities[row],
            fps=float(fps[row] or 0.0),
            frame=frames[row],
            images=images[row] or (),
            landmarks=landmarks[row],
            truth=truths[row],
            license=licenses[row] or "",
            matte=mattes[row],
            expression=expressions[row],
        )
        for row in rows
    ]


def _lists_of_bytes(column: pa.Array) -> list[tuple[bytes, ...] | None]:
    values, bounds = _flatten(column)
    content, missing = values.to_pylist(), column.is_null().to_pylist()
    parts = zip(missing, pairwise(bounds))
    return [None if is_missing else tuple(content[first:last]) for is_missing, (first, last) in parts]


def _flatten(column: pa.Array) -> tuple[pa.Array, list[int]]:
    """All values of a column of lists, or of lists of lists, and where those of every row begin; then their number."""
    bounds = np.arange(len(column) + 1)
    while (
        pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or pa.types.is_fixed_size_list(column.type)
    ):
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        bounds = np.append(0, np.cumsum(lengths, dtype=np.int64))[bounds]
        column = column.flatten()
    return column, bounds.tolist()
