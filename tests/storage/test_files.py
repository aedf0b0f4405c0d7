"""Storage on a folder and on an S3 server behave alike, and say what is wrong where they cannot work."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from jr2net import storage
from jr2net.storage import StorageError


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place of either kind."""
    if request.param == "folder":
        return str(tmp_path / "run")
    request.getfixturevalue("s3")
    return f"s3://bucket/{tmp_path.name}"


def test_what_is_written_comes_back(place: str) -> None:
    storage.check_writable(place)
    assert storage.list_files(place) == []
    storage.write_bytes(storage.join(place, "a/b.bin"), b"first")
    storage.write_bytes(storage.join(place, "a/b.bin"), b"second")
    storage.write_bytes(storage.join(place, "c.txt"), b"")
    assert storage.read_bytes(f"{place}/a/b.bin") == b"second"
    assert storage.list_files(place) == ["a/b.bin", "c.txt"]
    assert storage.list_files(place, ".bin") == ["a/b.bin"]
    assert storage.file_sizes(place) == {"a/b.bin": 6, "c.txt": 0}
    assert storage.file_sizes(f"{place}/a/b.bin") == {"b.bin": 6}
    assert storage.exists(f"{place}/a")
    assert not storage.exists(f"{place}/d")
    assert storage.sha256(f"{place}/c.txt").startswith("e3b0c44298fc")


def test_a_folder_is_emptied_but_for_what_is_kept(place: str) -> None:
    for name in ("keep.json", "model.json", "log/1.jsonl", "log/deep/2.jsonl"):
        storage.write_bytes(storage.join(place, name), b"x")
    storage.empty_folder(place, keep="keep.json")
    assert storage.list_files(place) == ["keep.json"]
    storage.empty_folder(storage.join(place, "nowhere"))


def test_folders_go_up_and_come_back(place: str, tmp_path: Path) -> None:
    local = tmp_path / "local"
    (local / "sub").mkdir(parents=True)
    (local / "model.json").write_text("{}")
    (local / "sub" / "weights").write_bytes(bytes(100))
    storage.upload_folder(local, place)
    with storage.local_copy(place, ["model.json", "sub/weights"]) as copy:
        assert (copy / "model.json").read_text() == "{}"
        assert (copy / "sub" / "weights").read_bytes() == bytes(100)


def test_an_unfinished_write_is_invisible(tmp_path: Path) -> None:
    storage.write_bytes(str(tmp_path / "model.json"), b"{}")
    (tmp_path / ".model.json.1234.part").write_bytes(b"{")
    assert storage.list_files(str(tmp_path)) == ["model.json"]


def test_a_missing_file_is_named(place: str) -> None:
    with pytest.raises(StorageError, match=r"nothing\.json: cannot be read.*check the path"):
        storage.read_bytes(storage.join(place, "nothing.json"))


def test_a_file_where_a_folder_is_needed_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(StorageError, match=r"run/.*cannot be written.*choose another folder"):
        storage.check_writable(str(tmp_path / "run"))


def test_a_missing_bucket_is_named(s3: None) -> None:
    with pytest.raises(StorageError, match=r"s3://no-such-bucket/run.*cannot be written.*check the bucket's name"):
        storage.check_writable("s3://no-such-bucket/run")


def test_an_unknown_kind_of_place_is_named() -> None:
    with pytest.raises(StorageError, match=r"ftp://host/run.*cannot be opened.*give a folder or s3://"):
        storage.check_writable("ftp://host/run")


def test_a_server_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with pytest.raises(StorageError, match=r"s3://bucket/run.*AWS_ENDPOINT_URL"):
        storage.check_writable("s3://bucket/run")
