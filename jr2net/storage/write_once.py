"""Files that are written once: conditional puts, and listings of any length, on S3 and in folders alike.

boto3 is used for what is S3's own (``If-None-Match``, paged listings). It retries what fails for a moment, as often as
``AWS_MAX_ATTEMPTS`` says.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from jr2net.errors import StorageError
from jr2net.storage import s3
from jr2net.storage.files import PART, is_remote, open_filesystem, read_bytes, unfinished_path


def put_once(uri: str, content: bytes) -> bool:
    """Stores a file whole or not at all, and only where there is none; whether this call was the one that stored it.

    Raises StorageError where the storage fails.
    """
    if is_remote(uri):
        return _put_remote(uri, content)
    path = Path(open_filesystem(uri)[1])
    part = unfinished_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.link(part, path)  # unlike a renaming, it fails where something is there
        finally:
            part.unlink(missing_ok=True)
    except FileExistsError:
        return False
    except OSError as error:
        raise StorageError(
            f"{uri}: cannot be written: {error}; check the free space and that you may write there"
        ) from None
    return True


def put_once_or_same(uri: str, content: bytes) -> bool:
    """``put_once``; raises StorageError where something else is there already."""
    if put_once(uri, content):
        return True
    if read_bytes(uri) != content:
        raise StorageError(
            f"{uri}: is there already with other content, though both should be the same; it was made by another "
            "version or kind of machine: remove it to have it made again"
        )
    return False


def iter_files(uri: str) -> Iterator[tuple[str, int]]:
    """(path relative to ``uri``, bytes) of every file below it, a page at a time; parts of unfinished writes are not.

    Nothing where there is no such folder. In no order that all storages share.
    """
    if not is_remote(uri):
        root = Path(open_filesystem(uri)[1])
        for folder, _, names in os.walk(root):
            for name in names:
                if not name.endswith(PART):
                    path = Path(folder, name)
                    yield path.relative_to(root).as_posix(), path.stat().st_size
        return
    bucket, key = s3.bucket_and_key(uri)
    prefix = f"{key.rstrip('/')}/" if key else ""
    client = s3.client()  # outside of the `try`, whose errors are boto3's own: without boto3 it says how to get it
    try:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for found in page.get("Contents", ()):
                yield found["Key"][len(prefix) :], found["Size"]
    except _errors() as error:
        raise _explained(uri, "listed", error) from None


def remove_unfinished(uri: str) -> int:
    """Removes what killed writers left in a folder; how many files. S3 keeps no unfinished puts."""
    if is_remote(uri):
        return 0
    parts = list(Path(open_filesystem(uri)[1]).rglob(f".*{PART}"))
    for part in parts:
        part.unlink(missing_ok=True)
    return len(parts)


def _put_remote(uri: str, content: bytes) -> bool:
    s3.client()  # before botocore is imported: without boto3 it says how to get it
    from botocore.exceptions import ClientError

    bucket, key = s3.bucket_and_key(uri)
    for _ in range(s3.attempts()):
        try:
            s3.client().put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
            return True
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status == 412:
                return False
            if status == 409:  # another put of the same key is under way: see who wins
                time.sleep(0.5)
                continue
            raise _explained(uri, "written", error) from None
        except _errors() as error:
            raise _explained(uri, "written", error) from None
    raise StorageError(f"{uri}: cannot be written: others keep writing the same key; try again")


def _errors() -> tuple[type[Exception], ...]:
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError, OSError


def _explained(uri: str, action: str, error: Exception) -> StorageError:
    return StorageError(
        f"{uri}: cannot be {action}: {error}; check the bucket's name, that the credentials may do so, and "
        "AWS_ENDPOINT_URL"
    )
