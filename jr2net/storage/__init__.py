"""Files in folders and S3 buckets: reads, atomic writes, and write-once puts."""

from jr2net.errors import StorageError
from jr2net.storage.files import (
    cached_copy,
    check_writable,
    empty_folder,
    exists,
    file_sizes,
    is_remote,
    join,
    list_files,
    local_copy,
    open_filesystem,
    read_bytes,
    remove,
    sha256,
    upload_folder,
    write_bytes,
)
from jr2net.storage.write_once import iter_files, put_once, put_once_or_same, remove_unfinished

__all__ = [
    "StorageError",
    "cached_copy",
    "check_writable",
    "empty_folder",
    "exists",
    "file_sizes",
    "is_remote",
    "iter_files",
    "join",
    "list_files",
    "local_copy",
    "open_filesystem",
    "put_once",
    "put_once_or_same",
    "read_bytes",
    "remove",
    "remove_unfinished",
    "sha256",
    "upload_folder",
    "write_bytes",
]
