"""The index of a set of clip shards: all that is known of their rows without their images.

It is an Arrow file with one row per row of the shards: 40 bytes and the clip's name, whatever the number of frames. It
is mapped into memory, which holds only what is asked for. ``prepare`` writes one for every set; for other folders it is
made from the shards themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jr2net.data.shards import COLUMNS
from jr2net.storage import cached_copy, join, write_bytes
from jr2net.storage.parquet import ShardError, one_line, open_parquet

_NAMES = pa.dictionary(pa.int32(), pa.large_string())
SCHEMA = pa.schema(
    {
        "shard": _NAMES,  # path relative to the set's folder; "" if the set is one file
        "group": pa.int32(),  # row group of the shard
        "position": pa.int32(),  # in the row group
        "group_bytes": pa.int64(),  # of the whole row group
        "footer_bytes": pa.int32(),  # of the shard
        "identity": _NAMES,
        "clip": _NAMES,  # one entry per (identity, clip_id): an identity's clip_id may be another's too
        "first": pa.int32(),  # number of the first frame in the footage
        "frames": pa.int32(),  # number of frames
    }
)


@dataclass(frozen=True)
class RowEntry:
    """A row: its shard and place there, its clip, the number of its first frame in the footage, and of its frames."""

    shard: str
    group: int
    position: int
    clip_id: str
    identity: str
    first: int
    frames: int


class ClipIndex(Sequence[RowEntry]):
    """The rows of a set, or a selection of them.

    table     one row per row of the shards, see ``SCHEMA``
    folder    folder, URI or file of the shards; "" if the table has whole paths
    selected  ascending numbers of the rows in the table; None: all
    uri       the file that the table is in, if it is in one
    """

    def __init__(
        self, table: pa.Table, folder: str = "", selected: np.ndarray | None = None, uri: str | None = None
    ) -> None:
        self.table, self.folder, self.selected, self.uri = table, folder, selected, uri

    @staticmethod
    def open(uri: str, folder: str) -> ClipIndex:
        """Opens the index file of the shards in ``folder``.

        Raises StorageError where it is missing, ShardError where it is damaged.
        """
        try:
            table = pa.ipc.open_file(pa.memory_map(str(cached_copy(uri)))).read_all()
        except pa.ArrowException as error:
            raise ShardError(f"{uri}: is damaged ({one_line(error)}); run the stage `prepare` again") from None
        if table.schema != SCHEMA:
            raise ShardError(f"{uri}: is not an index of clip shards; run the stage `prepare` again")
        return ClipIndex(table, folder, uri=uri)

    def encode(self) -> bytes:
        """The content of an index file; equal indices have equal bytes."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, SCHEMA) as writer:
            writer.write_table(self.table)
        return sink.getvalue().to_pybytes()

    def write(self, uri: str) -> None:
        write_bytes(uri, self.encode())

    def by_shard(self) -> dict[str, pa.Table]:
        """The rows of the whole table by the name of their shard, with their names in full."""
        columns = {
            name: column.cast(pa.large_string()) if pa.types.is_dictionary(column.type) else column
            for name, column in zip(self.table.column_names, self.table.columns)
        }
        rows = pa.table(columns)
        numbers = self._arrays["shard"].indices.to_numpy()
        bounds = np.flatnonzero(np.diff(numbers, prepend=-1, append=-1)).tolist()
        return {rows["shard"][first].as_py(): rows.slice(first, end - first) for first, end in pairwise(bounds)}

    def __len__(self) -> int:
        return self.table.num_rows if self.selected is None else len(self.selected)

    @overload
    def __getitem__(self, row: int) -> RowEntry: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[RowEntry]: ...
    def __getitem__(self, row: int | slice) -> RowEntry | Sequence[RowEntry]:
        if isinstance(row, slice):
            return [self[number] for number in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        return RowEntry(
            self.shard_uri(self.shard[row]),
            int(self.group[row]),
            int(self.position[row]),
            self._names("clip")[int(self.clip[row])].as_py(),
            self.identity_name(self.identity[row]),
            int(self.first[row]),
            int(self.frames[row]),
        )

    def shard_uri(self, number: int) -> str:
        name = self._names("shard")[int(number)].as_py()
        return join(self.folder, name) if self.folder and name else self.folder or name

    def identity_name(self, number: int) -> str:
        return self._names("identity")[int(number)].as_py()

    @cached_property
    def shard(self) -> np.ndarray:
        """Number of each row's shard; likewise ``identity`` and ``clip``."""
        return self._column("shard")

    @cached_property
    def identity(self) -> np.ndarray:
        return self._column("identity")

    @cached_property
    def clip(self) -> np.ndarray:
        return self._column("clip")

    @cached_property
    def group(self) -> np.ndarray:
        return self._column("group")

    @cached_property
    def position(self) -> np.ndarray:
        return self._column("position")

    @cached_property
    def first(self) -> np.ndarray:
        return self._column("first")

    @cached_property
    def frames(self) -> np.ndarray:
        return self._column("frames")

    @cached_property
    def group_bytes(self) -> np.ndarray:
        return self._column("group_bytes")

    @cached_property
    def footer_bytes(self) -> np.ndarray:
        return self._column("footer_bytes")

    @cached_property
    def starts(self) -> np.ndarray:
        """(rows + 1,) int64: the number of frames in all rows before each row."""
        starts = np.zeros(len(self) + 1, np.int64)
        np.cumsum(self.frames, out=starts[1:])
        return starts

    @property
    def identities(self) -> list[str]:
        """Sorted names of all identities."""
        return sorted(self._names("identity").take(pa.array(np.unique(self.identity))).to_pylist())

    def of(self, identities: set[str]) -> ClipIndex:
        """The rows of some identities."""
        names = self._names("identity")
        wanted = pc.is_in(names, pa.array(sorted(identities), names.type)).to_numpy(zero_copy_only=False)
        return self.only(wanted[self.identity])

    def only(self, mask: np.ndarray) -> ClipIndex:
        """The rows for which ``mask`` (rows,) is true."""
        rows = np.flatnonzero(mask)
        return ClipIndex(self.table, self.folder, rows if self.selected is None else self.selected[rows], self.uri)

    def rows_of_clip(self, clip: int) -> np.ndarray:
        """Ascending numbers of all rows of a clip."""
        order, bounds = self._by_clip
        return order[bounds[clip] : bounds[clip + 1]]

    def rows_of_identity(self, identity: int) -> np.ndarray:
        """Ascending numbers of all rows of an identity."""
        order, bounds = self._by_identity
        return order[bounds[identity] : bounds[identity + 1]]

    @cached_property
    def _by_clip(self) -> tuple[np.ndarray, np.ndarray]:
        return self._grouped("clip")

    @cached_property
    def _by_identity(self) -> tuple[np.ndarray, np.ndarray]:
        return self._grouped("identity")

    def _grouped(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The rows by the number of a name, and where those of each number begin; then the number of rows."""
        numbers = self._column(name)
        order = np.argsort(numbers, kind="stable")
        return order, np.searchsorted(numbers[order], np.arange(len(self._names(name)) + 1))

    def _column(self, name: str) -> np.ndarray:
        column = self._arrays[name]
        values = (column.indices if pa.types.is_dictionary(column.type) else column).to_numpy()
        return values if self.selected is None else values[self.selected]

    def _names(self, name: str) -> pa.Array:
        return self._arrays[name].dictionary

    @cached_property
    def _arrays(self) -> dict[str, pa.Array]:
        """The columns; of one chunk, so that they stay where they are, unless there are no rows."""
        columns = zip(self.table.column_names, self.table.columns)
        return {
            name: column.chunk(0) if column.num_chunks == 1 else column.combine_chunks() for name, column in columns
        }

    def __reduce__(self) -> tuple:
        if self.uri is not None:
            return _reopen, (self.uri, self.folder, self.selected)
        return ClipIndex, (self.table, self.folder, self.selected)


def _reopen(uri: str, folder: str, selected: np.ndarray | None) -> ClipIndex:
    whole = ClipIndex.open(uri, folder)
    return ClipIndex(whole.table, folder, selected, uri)


def index_shards(uris: Sequence[str]) -> ClipIndex:
    """The index of several shards in order; read concurrently, since remote storage has a high latency."""
    with ThreadPoolExecutor(16) as pool:
        return join_indices(uris, list(pool.map(index_shard, uris)))


def join_indices(names: Sequence[str], shards: Sequence[pa.Table], folder: str = "") -> ClipIndex:
    """The index of shards whose names, relative to ``folder``, and whose ``index_shard`` are given."""
    table = pa.concat_tables(shards).combine_chunks()
    shard = np.repeat(np.arange(len(names), dtype=np.int32), [part.num_rows for part in shards])
    identity = table["identity"].combine_chunks().dictionary_encode()
    clip_id = table["clip_id"].combine_chunks().dictionary_encode()
    keys = identity.indices.to_numpy().astype(np.int64) * len(clip_id.dictionary) + clip_id.indices.to_numpy()
    _, rows, clip = np.unique(keys, return_index=True, return_inverse=True)
    columns = {
        "shard": _dictionary(shard, pa.array(names, pa.large_string())),
        "identity": _dictionary(identity.indices, identity.dictionary),
        "clip": _dictionary(clip.astype(np.int32), table["clip_id"].take(pa.array(rows)).combine_chunks()),
    }
    columns = {name: columns[name] if name in columns else table[name] for name in SCHEMA.names}
    return ClipIndex(pa.table(columns, SCHEMA).combine_chunks(), folder)


def changed_shards(before: ClipIndex, after: ClipIndex) -> list[str]:
    """Sorted names of the shards that only one of two whole indices of a folder has, or whose rows differ."""
    if before.encode() == after.encode():
        return []
    old, new = before.by_shard(), after.by_shard()
    changed = {name for name in old.keys() & new.keys() if not old[name].equals(new[name])}
    return sorted(changed | (old.keys() ^ new.keys()))


def join_sets(sets: Sequence[ClipIndex]) -> ClipIndex:
    """The index of several sets together, with whole addresses for the names of the shards."""
    tables, clips = [], 0
    for index in sets:
        table = index.table.combine_chunks()
        shard, identity, clip = (table[name].combine_chunks() for name in ("shard", "identity", "clip"))
        addresses = pa.array([index.shard_uri(number) for number in range(len(shard.dictionary))], pa.large_string())
        columns = {name: table[name] for name in SCHEMA.names}
        columns["shard"] = addresses.take(shard.indices)
        columns["identity"] = identity.dictionary_decode()
        columns["clip"] = pc.add(clip.indices, pa.scalar(clips, pa.int32()))
        tables.append(pa.table(columns))
        clips += len(clip.dictionary)
    joined = pa.concat_tables(tables).combine_chunks()
    columns = {name: joined[name] for name in SCHEMA.names}
    for name in ("shard", "identity"):
        encoded = joined[name].combine_chunks().dictionary_encode()
        columns[name] = _dictionary(encoded.indices, encoded.dictionary)
    names = pa.concat_arrays([index.table["clip"].combine_chunks().dictionary for index in sets])
    columns["clip"] = _dictionary(joined["clip"].combine_chunks(), names)
    return ClipIndex(pa.table(columns, SCHEMA).combine_chunks())


def index_shard(uri: str, content: bytes | None = None) -> pa.Table:
    """The rows of one shard, read without their images: the columns of ``SCHEMA`` but for the shard, with ``clip_id``
    for the clip. Raises ShardError where the shard is damaged or a row has no frame, identity or clip_id.

    content: of the shard, if it was read before.
    """
    with open_parquet(uri, COLUMNS, content) as file:
        groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
        sizes = np.array([group.num_rows for group in groups], int)
        group_bytes = np.array([group.total_byte_size for group in groups], np.int64)
        footer = file.metadata.serialized_size
        try:
            rows = file.read(["clip_id", "identity", "frame"], use_threads=False).combine_chunks()
        except (pa.ArrowException, OSError) as error:
            raise ShardError(f"{uri}: is damaged ({one_line(error)}); write the shard again") from None
    group = np.repeat(np.arange(len(groups), dtype=np.int32), sizes)
    position = np.arange(len(group), dtype=np.int32) - np.repeat(np.cumsum(sizes) - sizes, sizes).astype(np.int32)
    frames = pc.fill_null(pc.list_value_length(rows["frame"]), 0)
    complete = pc.and_(pc.greater(frames, 0), pc.and_(rows["identity"].is_valid(), rows["clip_id"].is_valid()))
    if (wrong := np.flatnonzero(~complete.to_numpy())).size:
        raise ShardError(
            f"{uri}: row {position[wrong[0]]} of group {group[wrong[0]]} has no frame, identity or clip_id; write the "
            "shard again"
        )
    return pa.table(
        {
            "group": group,
            "position": position,
            "group_bytes": np.repeat(group_bytes, sizes),
            "footer_bytes": np.full(len(group), footer, np.int32),
            "identity": rows["identity"].cast(pa.large_string()),
            "clip_id": rows["clip_id"].cast(pa.large_string()),
            "first": pc.list_element(rows["frame"], 0).cast(pa.int32()),
            "frames": frames.cast(pa.int32()),
        }
    )


def _dictionary(indices: pa.Array | np.ndarray, names: pa.Array) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), names.cast(pa.large_string()))
