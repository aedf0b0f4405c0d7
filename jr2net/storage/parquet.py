"""Options and error handling of the project's Parquet files."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from jr2net.errors import UserError
from jr2net.storage.files import open_filesystem

PARQUET_OPTIONS: dict = {
    "compression": "zstd",
    "use_dictionary": False,
    "write_statistics": False,  # they would copy whole images into the footer, as minimum and maximum
    "write_page_checksum": True,  # detects flipped bits
}
"""Options of every Parquet file that the project writes."""


class ShardError(UserError, ValueError):
    """A shard that cannot be read or written; the message names the file, the field and the remedy."""


def open_parquet(uri: str, columns: Sequence[str], content: bytes | None = None) -> pq.ParquetFile:
    """Opens a Parquet file and checks its columns. Raises ShardError if it is missing, damaged or lacks a column.

    content: of the file, if it was read before.
    """
    return open_with_handle(uri, columns, content)[0]


def open_with_handle(
    uri: str, columns: Sequence[str], content: bytes | None = None
) -> tuple[pq.ParquetFile, pa.NativeFile]:
    """``open_parquet``, and the handle, which serves other readers of the file at the same time."""
    filesystem, path = open_filesystem(uri)
    try:
        handle = filesystem.open_input_file(path) if content is None else pa.BufferReader(content)
        file = pq.ParquetFile(handle, page_checksum_verification=True)
    except FileNotFoundError:
        raise ShardError(f"{uri}: no such shard; check the path or prepare the data again") from None
    except (pa.ArrowException, OSError) as error:
        raise ShardError(
            f"{uri}: not a readable Parquet file ({one_line(error)}); remove it and write it again"
        ) from None
    missing = [name for name in columns if name not in file.schema_arrow.names]
    if missing:
        raise ShardError(f"{uri}: column {missing[0]!r} is missing; a shard of this kind has {', '.join(columns)}")
    return file, handle


def read_table(file: pq.ParquetFile, uri: str, group: int, columns: list[str]) -> pa.Table:
    """Reads some columns of one row group. Raises ShardError where it is damaged."""
    try:
        return file.read_row_group(group, columns=columns, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ShardError(f"{uri}: row group {group} is damaged ({one_line(error)}); write the shard again") from None


def one_line(error: Exception) -> str:
    """An error's message with all whitespace collapsed."""
    return " ".join(str(error).split())
