"""Storage behaves alike in a folder and on an S3 server; errors name the URI and the remedy."""

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
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty folder, local or on S3."""
    if request.param == "folder":
        return str(tmp_path / "run")
    request.getfixturevalue("s3")
    return f"s3://bucket/{tmp_path.name}"


def test_files_round_trip(uri: str) -> None:
    storage.check_writable(uri)
    assert storage.list_files(uri) == []
    storage.write_bytes(storage.join(uri, "a/b.bin"), b"first")
    storage.write_bytes(storage.join(uri, "a/b.bin"), b"second")
    storage.write_bytes(storage.join(uri, "c.txt"), b"")
    assert storage.read_bytes(f"{uri}/a/b.bin") == b"second"
    assert storage.list_files(uri) == ["a/b.bin", "c.txt"]
    assert storage.list_files(uri, ".bin") == ["a/b.bin"]
    assert storage.file_sizes(uri) == {"a/b.bin": 6, "c.txt": 0}
    assert storage.file_sizes(f"{uri}/a/b.bin") == {"b.bin": 6}
    assert storage.exists(f"{uri}/a")
    assert not storage.exists(f"{uri}/d")
    assert storage.sha256(f"{uri}/c.txt").startswith("e3b0c44298fc")


def test_empty_folder_keeps_one_file(uri: str) -> None:
    for name in ("keep.json", "model.json", "log/1.jsonl", "log/deep/2.jsonl"):
        storage.write_bytes(storage.join(uri, name), b"x")
    storage.empty_folder(uri, keep="keep.json")
    assert storage.list_files(uri) == ["keep.json"]
    storage.empty_folder(storage.join(uri, "nowhere"))


def test_folders_are_uploaded_and_copied_back(uri: str, tmp_path: Path) -> None:
    local = tmp_path / "local"
    (local / "sub").mkdir(parents=True)
    (local / "model.json").write_text("{}")
    (local / "sub" / "weights").write_bytes(bytes(100))
    storage.upload_folder(local, uri)
    with storage.local_copy(uri, ["model.json", "sub/weights"]) as copy:
        assert (copy / "model.json").read_text() == "{}"
        assert (copy / "sub" / "weights").read_bytes() == bytes(100)


def test_an_unfinished_write_is_invisible(tmp_path: Path) -> None:
    storage.write_bytes(str(tmp_path / "model.json"), b"{}")
    (tmp_path / ".model.json.1234.part").write_bytes(b"{")
    assert storage.list_files(str(tmp_path)) == ["model.json"]


def test_a_missing_file_raises_with_its_name(uri: str) -> None:
    with pytest.raises(StorageError, match=r"nothing\.json: cannot be read.*check the path"):
        storage.read_bytes(storage.join(uri, "nothing.json"))


def test_a_file_in_place_of_a_folder_raises(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(StorageError, match=r"run/.*cannot be written.*choose another folder"):
        storage.check_writable(str(tmp_path / "run"))


def test_a_missing_bucket_raises_with_its_name(s3: None) -> None:
    with pytest.raises(StorageError, match=r"s3://no-such-bucket/run.*cannot be written.*check the bucket's name"):
        storage.check_writable("s3://no-such-bucket/run")


def test_an_unknown_scheme_raises() -> None:
    with pytest.raises(StorageError, match=r"ftp://host/run.*cannot be opened.*give a folder or s3://"):
        storage.check_writable("ftp://host/run")


def test_an_unreachable_server_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    with pytest.raises(StorageError, match=r"s3://bucket/run.*AWS_ENDPOINT_URL"):
        storage.check_writable("s3://bucket/run")


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        ("a/b/", "a"),
        ("a", "."),
        ("./a", "."),
        (".", "./.."),
        ("../..", "../../.."),
        ("/a", "/"),
        ("s3://b/c", "s3://b"),
    ],
)
def test_the_folder_of_a_path(uri: str, folder: str) -> None:
    assert storage.parent(uri) == folder


def test_options_of_a_uri_stay_behind_its_path() -> None:
    uri = "s3://bucket/run/?endpoint_override=127.0.0.1:9000&scheme=http"
    joined = storage.join(uri, "prepare/", "index", "train.arrow")
    assert joined == "s3://bucket/run/prepare/index/train.arrow?endpoint_override=127.0.0.1:9000&scheme=http"
    assert storage.base_name(joined) == "train.arrow" and storage.base_name("a/b?c.npz") == "b?c.npz"
    assert storage.parent(joined) == storage.join(uri, "prepare", "index")
    assert storage.relative_path(joined, uri) == "prepare/index/train.arrow" and storage.relative_path(uri, uri) == ""
    assert storage.join("/data/what?", "a") == "/data/what?/a" and storage.relative_path("/data/a", "/data/") == "a"


def test_options_of_a_uri_name_the_server(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that a run does with a storage whose server only its URI names."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    address = s3_server.removeprefix("http://")
    uri = f"s3://bucket/{tmp_path.name}?endpoint_override={address}&scheme=http&region=us-east-1"
    storage.check_writable(uri)
    for name in ("a/model.json", "a/model.safetensors"):
        assert storage.put_once(storage.join(uri, name), b"{}") and not storage.put_once(storage.join(uri, name), b"")
    assert storage.list_files(uri) == ["a/model.json", "a/model.safetensors"]
    assert sorted(storage.iter_files(uri)) == [("a/model.json", 2), ("a/model.safetensors", 2)]
    with storage.local_copy(storage.join(uri, "a"), ["model.json"]) as copy:
        assert (copy / "model.json").read_bytes() == b"{}"
    assert storage.cached_copy(storage.join(uri, "a", "model.json")).read_bytes() == b"{}"
    storage.empty_folder(storage.join(uri, "a"), keep="model.json")
    assert storage.file_sizes(uri) == {"a/model.json": 2}
    with pytest.raises(StorageError, match=r"nothing\.json\?endpoint_override=.*cannot be read"):
        storage.read_bytes(storage.join(uri, "nothing.json"))
    assert storage.exists(f"{uri}&allow_bucket_creation=true"), "an option that Arrow alone knows"


def test_a_remote_file_is_copied_once(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    file = storage.join(uri, "index.arrow")
    storage.write_bytes(file, b"first")
    copy = storage.cached_copy(file)
    assert copy.read_bytes() == b"first" and storage.cached_copy(file) == copy
    assert (copy == Path(file)) == (not storage.is_remote(uri))
    storage.write_bytes(file, b"second, longer")
    assert storage.cached_copy(file).read_bytes() == b"second, longer"
    with pytest.raises(StorageError, match=r"gone\.arrow: cannot be read: .*check the path"):
        storage.cached_copy(storage.join(uri, "gone.arrow"))


def test_a_folder_of_copies_that_others_may_write_to_is_refused(
    s3: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    storage.write_bytes("s3://bucket/copies/index.arrow", b"content")
    folder = storage.cached_copy("s3://bucket/copies/index.arrow").parent
    folder.chmod(0o777)
    with pytest.raises(StorageError, match="belongs to another user"):
        storage.cached_copy("s3://bucket/copies/index.arrow")
