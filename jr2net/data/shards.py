"""Clip shards: Parquet files with one row per run of consecutive frames of one clip.

Columns: ``clip_id``, ``identity``, ``fps``, ``license`` and, per frame, ``frame`` (its number in the footage),
``image`` (JPEG or PNG bytes), ``landmarks`` (68 × 2 flattened, crop pixels with edges at integers, NaN where
undetected) and, where known, ``matte`` (grey PNG bytes). The studio's test sets also hold ground truth:
``truth_identity`` and ``truth_albedo`` per row, and per frame ``truth_expression``, ``truth_rotation``,
``truth_translation`` and ``truth_light``. Other columns are ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from jr2net.face.landmarks import LANDMARKS
from jr2net.images.clip import ClipRow, ClipTruth
from jr2net.storage import join, open_filesystem, write_bytes
from jr2net.storage.parquet import PARQUET_OPTIONS, ShardError, one_line, open_parquet, read_table

ROW_GROUP_BYTES = 1 << 20
"""Bytes of images per row group, which bound the cost of reading one row (a larger row is a group of its own)."""


@dataclass(frozen=True)
class RowEntry:
    """Index entry of a row, read without its images: shard, row group, position in the group, and metadata."""

    shard: str
    group: int
    position: int
    clip_id: str
    identity: str
    frames: tuple[int, ...]

    @property
    def clip(self) -> tuple[str, str]:
        """What names the clip: two people may have clips of one ``clip_id``."""
        return self.identity, self.clip_id


_PER_FRAME_WIDTHS = {"expression": 51, "rotation": 3, "translation": 3, "light": 27}
_INDEX_COLUMNS = ["clip_id", "identity", "frame"]
_COLUMNS = ["clip_id", "identity", "fps", "frame", "image", "landmarks"]
_OPTIONAL_COLUMNS = ["license", "matte"]


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
    filesystem, path = open_filesystem(uri)
    try:
        info = filesystem.get_file_info(path)
        if info.type == pa.fs.FileType.File:
            return [uri]
        found = filesystem.get_file_info(pa.fs.FileSelector(path)) if info.type == pa.fs.FileType.Directory else []
    except OSError as error:
        raise ShardError(f"{uri}: cannot be listed: {error}; check the address and the credentials") from None
    names = sorted(file.base_name for file in found if file.is_file and file.base_name.endswith(".parquet"))
    if not names:
        problem = "holds no .parquet files" if info.type == pa.fs.FileType.Directory else "does not exist"
        raise ShardError(f"{uri}: {problem}; give a folder of clip shards")
    return [join(uri, name) for name in names]


def index_shard(uri: str) -> list[RowEntry]:
    """Index of a shard's rows, read without their images."""
    with open_parquet(uri, _COLUMNS) as file:
        indices = [
            (group, position)
            for group in range(file.num_row_groups)
            for position in range(file.metadata.row_group(group).num_rows)
        ]
        try:
            rows = file.read(_INDEX_COLUMNS, use_threads=False).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise ShardError(f"{uri}: is damaged ({one_line(error)}); write the shard again") from None
    for (group, position), row in zip(indices, rows):
        if not row["frame"] or row["identity"] is None or row["clip_id"] is None:
            raise ShardError(
                f"{uri}: row {position} of group {group} has no frame, identity or clip_id; write the shard again"
            )
    return [
        RowEntry(uri, *index, row["clip_id"], row["identity"], tuple(row["frame"])) for index, row in zip(indices, rows)
    ]


def index_shards(uris: Sequence[str]) -> list[RowEntry]:
    """Index of several shards in order; read concurrently, since remote storage has a high latency."""
    with ThreadPoolExecutor(16) as pool:
        return [entry for entries in pool.map(index_shard, uris) for entry in entries]


def read_group(uri: str, group: int) -> list[ClipRow]:
    """Reads all rows of one row group, images still compressed."""
    with open_parquet(uri, _COLUMNS) as file:
        names = file.schema_arrow.names
        truth = [name for name in names if name.startswith("truth_")]
        columns = _COLUMNS + truth + [name for name in _OPTIONAL_COLUMNS if name in names]
        table = read_table(file, uri, group, columns)
    return [_row(table, position, uri) for position in range(table.num_rows)]


def read_groups(uri: str) -> Iterator[list[ClipRow]]:
    """Iterates over the row groups of one shard in order."""
    with open_parquet(uri, _COLUMNS) as file:
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
        for name, width in _PER_FRAME_WIDTHS.items():
            columns[f"truth_{name}"] = _lists(lengths, _vectors([getattr(t, name) for t in truths], width))
    return pa.table(columns)


def _lists(lengths: Sequence[int], values: pa.Array) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, values)


def _vectors(parts: Sequence[np.ndarray], width: int) -> pa.Array:
    flat = np.concatenate([np.asarray(part, np.float32).reshape(-1, width) for part in parts])
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), width)


def _row(table: pa.Table, position: int, uri: str) -> ClipRow:
    row = table.slice(position, 1)
    clip_id = row["clip_id"][0].as_py()
    images = row["image"][0].as_py()
    mattes = row["matte"][0].as_py() if "matte" in table.column_names else None
    count = len(images or ())

    def numbers(column: str, shape: tuple[int, ...]) -> np.ndarray:
        values = row[column].combine_chunks()
        while pa.types.is_list(values.type) or pa.types.is_fixed_size_list(values.type):
            values = values.flatten()
        flat = values.to_numpy(zero_copy_only=False)
        if -1 not in shape and flat.size != np.prod(shape, dtype=int):
            expected = " × ".join(str(side) for side in shape)
            raise ShardError(
                f"{uri}: clip {clip_id!r}: {column} has {flat.size} values for {count} images, expected {expected}; "
                "write the shard again"
            )
        return flat.reshape(shape)

    truth = None
    if "truth_identity" in table.column_names:
        shapes = {"identity": (-1,), "albedo": (-1,), "light": (count, 9, 3)}
        shapes |= {name: (count, width) for name, width in _PER_FRAME_WIDTHS.items() if name != "light"}
        names = [field.name for field in fields(ClipTruth)]
        truth = ClipTruth(**{name: numbers(f"truth_{name}", shapes[name]).astype(np.float32) for name in names})
    return ClipRow(
        clip_id=clip_id,
        identity=row["identity"][0].as_py(),
        fps=float(row["fps"][0].as_py() or 0.0),
        frame=numbers("frame", (count,)).astype(np.int32),
        images=tuple(images or ()),
        landmarks=numbers("landmarks", (count, LANDMARKS, 2)).astype(np.float32),
        truth=truth,
        license=(row["license"][0].as_py() or "") if "license" in table.column_names else "",
        matte=tuple(mattes) if mattes is not None else None,
    )
