"""Reading row groups of many Parquet files at random: handles and footers are kept, neighbours are one request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jr2net.storage.parquet import ShardError, one_line, open_with_handle


@dataclass(frozen=True)
class _Open:
    handle: pa.NativeFile
    footer: pq.FileMetaData
    columns: list[str]


class OpenShards:
    """Parquet shards, the latest ``limit`` of which stay open. Thread-safe, and no thread waits for another.

    columns: read from every shard. optional: whether a column is read from shards that have it.
    """

    def __init__(
        self, columns: Sequence[str], optional: Callable[[str], bool] = lambda name: False, limit: int = 64
    ) -> None:
        self.columns, self.optional = list(columns), optional
        self._open = lru_cache(maxsize=limit)(self._open_shard)

    def read(self, uri: str, first: int, last: int | None = None) -> tuple[pa.Table, np.ndarray]:
        """Row groups ``first`` up to ``last`` (default: all that follow), and the position of each group's first row.

        Raises ShardError where the shard is missing, damaged, lacks a column or a row group.
        """
        shard = self._open(uri)
        groups = range(first, shard.footer.num_row_groups if last is None else last)
        if not 0 <= groups.start < groups.stop <= shard.footer.num_row_groups:
            raise ShardError(
                f"{uri}: has {shard.footer.num_row_groups} row groups, where groups {first} to {groups.stop - 1} are "
                "looked for; it was changed after it was indexed: prepare the data again"
            )
        try:
            # A reader for every call, since one serves one thread. It requests adjacent columns and groups together.
            file = pq.ParquetFile(shard.handle, metadata=shard.footer, pre_buffer=True, page_checksum_verification=True)
            table = file.read_row_groups(list(groups), columns=shard.columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise ShardError(
                f"{uri}: row groups {first} to {groups.stop - 1} are damaged ({one_line(error)}); write the shard again"
            ) from None
        sizes = [shard.footer.row_group(group).num_rows for group in groups]
        return table, np.cumsum([0, *sizes[:-1]])

    def _open_shard(self, uri: str) -> _Open:
        file, handle = open_with_handle(uri, self.columns)
        others = [name for name in file.schema_arrow.names if name not in self.columns and self.optional(name)]
        return _Open(handle, file.metadata, self.columns + others)
