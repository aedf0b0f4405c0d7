"""Conditional puts in a folder and on an S3 server: atomic, and the first write wins."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from jr2net import storage
from jr2net.storage import (
    StorageError,
    iter_files,
    join,
    put_once,
    put_once_or_same,
    read_bytes,
    remove,
    remove_unfinished,
    s3,
)


@pytest.fixture(params=["folder", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "folder":
        return str(tmp_path / "data")
    monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("s3_server"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return f"s3://bucket/{tmp_path.name}"


def test_the_first_write_wins(folder: str) -> None:
    uri = join(folder, "a/b.json")
    assert put_once(uri, b"first")
    assert not put_once(uri, b"second")
    assert read_bytes(uri) == b"first"
    assert not put_once_or_same(uri, b"first")
    with pytest.raises(StorageError, match=r"a/b\.json: exists with other content.*remove it"):
        put_once_or_same(uri, b"second")
    remove(uri)
    assert put_once_or_same(uri, b"second")


def test_only_one_of_many_writers_wins(folder: str) -> None:
    uri, won = join(folder, "c.bin"), []
    threads = [threading.Thread(target=lambda n=n: won.append((n, put_once(uri, bytes([n]) * 1000)))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [number for number, first in won if first]
    assert read_bytes(uri) == bytes([winner]) * 1000


def test_listings_span_pages(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        put_once(join(folder, f"{number % 3}/{number}.bin"), bytes(number))
    if storage.is_remote(folder):
        client = s3.client("s3://bucket")
        paged = client.get_paginator("list_objects_v2")

        class Small:
            def paginate(self, **arguments: Any) -> Any:
                return paged.paginate(**arguments, PaginationConfig={"PageSize": 5})

        monkeypatch.setattr(client, "get_paginator", lambda name: Small())
    assert dict(iter_files(folder)) == {f"{number % 3}/{number}.bin": number for number in range(12)}
    assert dict(iter_files(join(folder, "1"))) == {f"{number}.bin": number for number in range(1, 12, 3)}
    assert list(iter_files(join(folder, "nowhere"))) == []


def test_unfinished_writes_are_hidden_and_removed(tmp_path: Path) -> None:
    put_once(str(tmp_path / "a" / "whole"), b"x")
    killed, writing = tmp_path / "a" / ".other.123.part", tmp_path / "a" / ".third.456.part"
    for path in (killed, writing):
        path.write_bytes(b"half")
    two_hours_ago = time.time() - 7200
    os.utime(killed, (two_hours_ago, two_hours_ago))
    assert list(iter_files(str(tmp_path))) == [("a/whole", 1)]
    assert remove_unfinished(str(tmp_path)) == 1
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [".third.456.part", "whole"]


def test_a_file_that_goes_while_it_is_listed_is_skipped(tmp_path: Path) -> None:
    for name in "abc":
        put_once(str(tmp_path / name), b"x")
    listing = iter_files(str(tmp_path))
    left = {"a", "b", "c"} - {next(listing)[0]}
    gone = left.pop()
    (tmp_path / gone).unlink()
    assert {name for name, _ in listing} == left


def test_a_full_disk_raises_and_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("jr2net.storage.write_once.os.fsync", full)
    with pytest.raises(StorageError, match=r"shard: cannot be written: .*No space left.*check the free space"):
        put_once(str(tmp_path / "shard"), b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_forbidden_bucket_raises(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import ClientError

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)

    class Forbidden:
        def put_object(self, **arguments: Any) -> None:
            response: Any = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
            raise ClientError(response, "PutObject")

    monkeypatch.setattr(s3, "client", lambda uri: Forbidden())
    with pytest.raises(StorageError, match=r"s3://bucket/x: cannot be written: .*AccessDenied.*credentials"):
        put_once("s3://bucket/x", b"x")


def test_a_missing_bucket_raises(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with pytest.raises(StorageError, match=r"s3://nothing/x: cannot be listed.*check the bucket's name"):
        list(iter_files("s3://nothing/x"))
