"""The index of a dataset of pairs: how many pairs each shard has. 48 bytes and a name a shard, and nothing a pair.

It is an Arrow file beside ``dataset.json``, which synthesis writes. Other folders are indexed by opening their shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa

from jr2net.data.runs import RUN_BYTES
from jr2net.storage import cached_copy, join, write_bytes
from jr2net.storage.parquet import ShardError, one_line, open_with_handle

INDEX = "index.arrow"
"""Name of the index in a dataset's folder."""

SCHEMA = pa.schema(
    {
        "shard": pa.large_string(),  # path relative to the dataset's folder
        "bytes": pa.int64(),
        "pairs": pa.int32(),
        "group_pairs": pa.int32(),  # pairs of every row group but the last; all of them if groups are irregular
        "sha256": pa.binary(32),  # of the shard; null where it was not computed
    }
)
_FORMER_SCHEMA = SCHEMA.remove(SCHEMA.get_field_index("sha256"))
_ROWS_PER_BATCH = 1 << 14


class PairIndex:
    """The shards of a dataset, and the runs in which they are read (``Runs`` of ``data/lanes.py``).

    A run is a part of a shard, of about ``run_bytes`` and of whole row groups.
    """

    def __init__(self, table: pa.Table, folder: str = "", run_bytes: int = RUN_BYTES) -> None:
        self.table, self.folder = table, folder
        pairs, size, self._group = (_numbers(table, name) for name in ("pairs", "bytes", "group_pairs"))
        self.bytes = int(size.sum())
        self._groups = -(-pairs // self._group)
        self._starts = np.append(0, np.cumsum(pairs, dtype=np.int64))
        self._runs = np.append(0, np.cumsum(np.clip(size // run_bytes, 1, self._groups), dtype=np.int64))

    @staticmethod
    def of(
        names: Sequence[str], pairs: Sequence[int], sizes: Sequence[int], group_pairs: Sequence[int], folder: str = ""
    ) -> PairIndex:
        """The index of shards with these paths, relative to ``folder``, pairs, bytes, and pairs in a row group."""
        columns = {"shard": names, "bytes": sizes, "pairs": pairs, "group_pairs": group_pairs}
        unknown = pa.nulls(len(names), SCHEMA.field("sha256").type)
        return PairIndex(pa.table({**columns, "sha256": unknown}, SCHEMA), folder)

    @staticmethod
    def open(uri: str, folder: str) -> PairIndex:
        """Opens the index file of the dataset in ``folder``. Raises StorageError where it is missing, ShardError where
        it is damaged."""
        return PairIndex(open_table(uri), folder)

    def encode(self) -> bytes:
        """The content of an index file; equal indices have equal bytes."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, SCHEMA) as writer:
            writer.write_table(self.table.combine_chunks(), max_chunksize=_ROWS_PER_BATCH)
        return sink.getvalue().to_pybytes()

    def write(self, uri: str) -> None:
        write_bytes(uri, self.encode())

    @property
    def samples(self) -> int:
        """Number of pairs."""
        return int(self._starts[-1])

    def __len__(self) -> int:
        """Number of runs."""
        return int(self._runs[-1])

    def spans(self, runs: np.ndarray) -> np.ndarray:
        shard, first, last = self._parts(runs)
        edges = np.stack([first, last], -1) * self._group[shard, None]
        return np.minimum(self._starts[shard, None] + edges, self._starts[shard + 1, None])

    def place(self, run: int) -> tuple[str, int, int | None]:
        """The shard of a run, its first row group, and the first one after it; None: it has all row groups."""
        shard, first, last = (int(number) for number in self._parts(np.array(run)))
        name = self.table["shard"][shard].as_py()
        whole = first == 0 and last == self._groups[shard]
        return join(self.folder, name) if self.folder else name, first, None if whole else last

    def find(self, pair: int) -> tuple[int, int]:
        """The run of a pair, and the pair's position in it."""
        if not 0 <= pair < self.samples:
            raise IndexError(f"pair {pair} of {self.samples}")
        shard = int(np.searchsorted(self._starts, pair, side="right")) - 1
        runs = np.arange(self._runs[shard], self._runs[shard + 1])
        run = int(runs[np.searchsorted(self.spans(runs)[:, 0], pair, side="right") - 1])
        return run, pair - int(self.spans(np.array(run))[0])

    def _parts(self, runs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Shard, first row group and the first one after it, of each run."""
        shard = np.searchsorted(self._runs, runs, side="right") - 1
        part, parts, groups = runs - self._runs[shard], self._runs[shard + 1] - self._runs[shard], self._groups[shard]
        return shard, groups * part // parts, groups * (part + 1) // parts


class IndexWriter:
    """Writes an index to a local file, row by row: it keeps some thousand rows in memory, however many there are."""

    def __init__(self, path: Path) -> None:
        self._writer = pa.ipc.new_file(str(path), SCHEMA)
        self._rows: list[tuple[str, int, int, int, bytes]] = []

    def add(self, name: str, size: int, pairs: int, group_pairs: int, sha256: bytes) -> None:
        self._rows.append((name, size, pairs, group_pairs, sha256))
        if len(self._rows) == _ROWS_PER_BATCH:
            self._flush()

    def __enter__(self) -> IndexWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            columns = [pa.array(column, field.type) for column, field in zip(zip(*self._rows), SCHEMA)]
            self._writer.write_batch(pa.record_batch(columns, schema=SCHEMA))
            self._rows.clear()


def open_table(uri: str) -> pa.Table:
    """The table of an index file, mapped into memory. Raises StorageError where it is missing, ShardError where it is
    damaged."""
    try:
        table = pa.ipc.open_file(pa.memory_map(str(cached_copy(uri)))).read_all()
    except pa.ArrowException as error:
        raise ShardError(f"{uri}: is damaged ({one_line(error)}); remove it, and every shard is opened") from None
    if table.schema == _FORMER_SCHEMA:
        sha256 = SCHEMA.field("sha256")
        table = table.append_column(sha256, pa.nulls(table.num_rows, sha256.type))
    if table.schema != SCHEMA:
        raise ShardError(f"{uri}: is not an index of pair shards; remove it, and every shard is opened")
    return table


def index_pair_shards(uris: Sequence[str], columns: Sequence[str]) -> PairIndex:
    """The index of several shards in order; opened concurrently, since remote storage has a high latency."""

    def count(uri: str) -> tuple[int, int, int]:
        file, handle = open_with_handle(uri, columns)
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        regular = len(sizes) > 1 and len(set(sizes[:-1])) == 1 and sizes[-1] <= sizes[0]
        return file.metadata.num_rows, handle.size(), sizes[0] if regular else file.metadata.num_rows

    with ThreadPoolExecutor(16) as pool:
        counts = list(pool.map(count, uris))
    filled = [number for number, (pairs, _, _) in enumerate(counts) if pairs]
    pairs, sizes, groups = ([counts[number][column] for number in filled] for column in range(3))
    return PairIndex.of([uris[number] for number in filled], pairs, sizes, groups)


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    column = table[name].combine_chunks()
    return column.to_numpy() if table.num_rows else np.zeros(0, int)
