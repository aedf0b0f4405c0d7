"""The list of sources: what is damaged is told from what could not be read, and no shard is opened twice."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from blob_clips import make_row

from jr2net import storage
from jr2net.data import source_list
from jr2net.data.index import index_shard
from jr2net.data.shards import write_clips
from jr2net.data.source_list import SourceList, list_sources, open_clips
from jr2net.storage import StorageError
from jr2net.storage.parquet import ShardError


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    for number, name in enumerate(("a", "b", "more/c")):
        write_clips(str(folder / f"{name}.parquet"), [make_row(number, 2)])
    return folder


def failing(requests: int) -> Callable[..., pa.Table]:
    """``index_shard`` whose first requests to the storage fail."""
    left = [requests]

    def index(uri: str, content: bytes | None = None) -> pa.Table:
        left[0] -= content is None
        if content is None and left[0] >= 0:
            raise ShardError(f"{uri}: not a readable Parquet file (timeout)")
        return index_shard(uri, content)

    return index


def never(uri: str, content: bytes | None = None) -> pa.Table:
    raise AssertionError(f"{uri} was opened")


@pytest.mark.parametrize("requests", [1, 2, 3])
def test_requests_that_fail_damage_no_shard(clips: Path, monkeypatch: pytest.MonkeyPatch, requests: int) -> None:
    whole = list_sources(str(clips))
    monkeypatch.setattr(source_list, "index_shard", failing(requests))
    assert list_sources(str(clips)) == whole and not whole.damaged


def test_a_storage_that_fails_is_an_error(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(uri: str) -> bytes:
        raise StorageError(f"{uri}: cannot be read: timeout")

    with monkeypatch.context() as patch:
        patch.setattr(source_list, "index_shard", failing(1))
        patch.setattr(storage, "read_bytes", down)
        with pytest.raises(StorageError, match="cannot be read: timeout"):
            list_sources(str(clips), str(tmp_path / "kept"))
    assert len(list_sources(str(clips), str(tmp_path / "kept")).files) == 3  # nothing wrong was kept


def test_later_starts_open_no_shard(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = clips / "a.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    kept = str(tmp_path / "kept")
    first = list_sources(str(clips), kept)
    assert list(first.files) == ["b.parquet", "more/c.parquet"] and list(first.damaged) == ["a.parquet"]
    monkeypatch.setattr(source_list, "index_shard", never)
    monkeypatch.setattr("jr2net.data.clips.index_shards", never)
    assert list_sources(str(clips), kept) == first
    assert open_clips(str(clips), first).identities == ["person-1", "person-2"]
    assert open_clips(str(clips), first).rows[1].shard == str(clips / "more/c.parquet")


def test_what_is_kept_changes_nothing_in_the_dataset(clips: Path, tmp_path: Path) -> None:
    plain, kept = list_sources(str(clips)), list_sources(str(clips), str(tmp_path / "kept"))
    assert kept.index is not None and kept.tree == plain.tree and kept.digest == plain.digest
    assert list(open_clips(str(clips), kept).rows) == list(open_clips(str(clips), plain).rows)


def test_a_shard_that_is_written_again_is_indexed_again(clips: Path, tmp_path: Path) -> None:
    kept, shard = str(tmp_path / "kept"), clips / "a.parquet"
    before, size = list_sources(str(clips), kept), shard.stat().st_size
    write_clips(str(shard), [replace(make_row(0, 2), identity="person-9")])
    os.utime(shard, ns=(0, 10**18))
    assert shard.stat().st_size == size, "of the same size"
    after = list_sources(str(clips), kept)
    assert after.index != before.index and "person-9" in open_clips(str(clips), after).identities


def test_a_single_shard_has_an_index(clips: Path, tmp_path: Path) -> None:
    uri = str(clips / "b.parquet")
    listed = list_sources(uri, str(tmp_path / "kept"))
    assert list(listed.files) == ["b.parquet"]
    assert [row.shard for row in open_clips(uri, listed).rows] == [uri]


def test_the_clips_of_prepare_are_not_opened(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has read those of the folder itself, which are what is trained on."""
    monkeypatch.setattr(source_list, "index_shard", never)
    assert list(list_sources(str(clips), prepared=True).files) == ["a.parquet", "b.parquet"]


def test_a_dataset_depends_on_people_only_if_some_are_left_out(clips: Path) -> None:
    listed = list_sources(str(clips))
    assert set(listed.tree) == {"kind", "files", "damaged"}, "as in datasets of older code"
    fewer = replace(listed, left_out=["person-1"])
    assert fewer.tree["left_out"] == ["person-1"] and fewer.digest != listed.digest
    assert open_clips(str(clips), fewer).identities == ["person-0", "person-2"]


def test_the_digest_is_that_of_older_code() -> None:
    """Else no dataset of it could be continued."""
    listed = SourceList("clips", {"a.parquet": 100, "b.parquet": 20}, {"c.parquet": "is damaged"})
    assert listed.digest == "c14e706694a09de86783fc37d5dbae3677b0a1991307758967617195bba06205"
