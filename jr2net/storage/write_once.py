"""Write-once files (conditional puts) and listings of any length, on S3 and in local folders.

On S3 they need boto3 (``If-None-Match``, paged listings), which makes up to ``AWS_MAX_ATTEMPTS`` attempts on transient
errors.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from jr2net.errors import StorageError
from jr2net.storage import s3
from jr2net.storage.files import UNFINISHED_SUFFIX, is_remote, open_filesystem, read_bytes, unfinished_path

ABANDONED_S = 3600.0
"""Age in seconds after which nobody is taken to write an unfinished file any more."""


def put_once(uri: str, content: bytes) -> bool:
    """Writes a file atomically unless it exists; returns whether this call wrote it.

    Raises StorageError where the storage fails.
    """
    if is_remote(uri):
        return _put_remote(uri, content)
    path = Path(open_filesystem(uri)[1])
    temporary = unfinished_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.link(temporary, path)  # unlike a rename, a link fails if the target exists
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError:
        return False
    except OSError as error:
        raise StorageError(f"{uri}: cannot be written: {error}; check the free space and the permissions") from None
    return True


def put_once_or_same(uri: str, content: bytes) -> bool:
    """``put_once``, but raises StorageError if the file exists with other content."""
    if put_once(uri, content):
        return True
    if read_bytes(uri) != content:
        raise StorageError(
            f"{uri}: exists with other content, though both should be equal; it was written by another version or "
            "kind of machine: remove it to have it written again"
        )
    return False


def iter_files(uri: str) -> Iterator[tuple[str, int]]:
    """Yields (path relative to ``uri``, size in bytes) of every file below it, page by page; skips unfinished writes.

    The order is unspecified. Yields nothing if there is no such folder.
    """
    if not is_remote(uri):
        root = Path(open_filesystem(uri)[1])
        for folder, _, names in os.walk(root):
            for name in names:
                path = Path(folder, name)
                if not name.endswith(UNFINISHED_SUFFIX) and (size := _size(path)) is not None:
                    yield path.relative_to(root).as_posix(), size
        return
    bucket, key = s3.bucket_and_key(uri)
    prefix = f"{key.rstrip('/')}/" if key else ""
    client = s3.client(uri)  # outside of the `try`, whose errors are boto3's own: without boto3 it says how to get it
    try:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for found in page.get("Contents", ()):
                if not found["Key"].endswith("/"):  # Arrow's marker of a folder
                    yield found["Key"][len(prefix) :], found["Size"]
    except _error_types() as error:
        raise _storage_error(uri, "listed", error) from None


def _size(path: Path) -> int | None:
    """Of a file in bytes; None if another process has removed it since it was listed."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def remove_unfinished(uri: str) -> int:
    """Removes the unfinished files of killed writers below a folder; returns their number. S3 keeps none.

    Those that were written to within ``ABANDONED_S`` stay, since another job may be writing them.
    """
    if is_remote(uri):
        return 0
    removed = 0
    for temporary in Path(open_filesystem(uri)[1]).rglob(f".*{UNFINISHED_SUFFIX}"):
        with suppress(FileNotFoundError):
            if time.time() - temporary.stat().st_mtime > ABANDONED_S:
                temporary.unlink()
                removed += 1
    return removed


def _put_remote(uri: str, content: bytes) -> bool:
    s3.client(uri)  # before botocore is imported: without boto3 it says how to get it
    from botocore.exceptions import ClientError

    bucket, key = s3.bucket_and_key(uri)
    for _ in range(s3.attempts()):
        try:
            s3.client(uri).put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
            return True
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status == 412:
                return False
            if status == 409:  # another put of the same key is in flight: try again
                time.sleep(0.5)
                continue
            raise _storage_error(uri, "written", error) from None
        except _error_types() as error:
            raise _storage_error(uri, "written", error) from None
    raise StorageError(f"{uri}: cannot be written: other processes keep writing the same key; try again")


def _error_types() -> tuple[type[Exception], ...]:
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError, OSError


def _storage_error(uri: str, action: str, error: Exception) -> StorageError:
    return StorageError(
        f"{uri}: cannot be {action}: {error}; check the bucket's name, that the credentials may do so, and "
        "AWS_ENDPOINT_URL"
    )
