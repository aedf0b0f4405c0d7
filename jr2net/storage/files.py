"""Where a run lives: a local folder or ``s3://bucket/prefix``, used the same way.

A place is a plain string. On S3 the endpoint is ``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL`` where set, and the
credentials from where AWS's tools look for them. Every error is a ``StorageError`` that names the place and the remedy.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pyarrow import fs

from jr2net.errors import StorageError
from jr2net.storage import s3

PART = ".part"
"""Ending of files being written; a killed writer may leave one behind, which no reader sees."""

_READ_PAUSE_S = 0.5
"""Seconds before a failed read is repeated here."""


def is_remote(uri: str) -> bool:
    return "://" in uri and not uri.startswith("file://")


def join(uri: str, *names: str) -> str:
    """``join("s3://bucket/run", "recnet", "model.json")``; the same for folders."""
    return "/".join([uri.rstrip("/"), *(name.strip("/") for name in names)])


def open_filesystem(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system that holds ``uri``, and the path of ``uri`` in it."""
    if not is_remote(uri):
        path = uri.removeprefix("file://")
        return fs.LocalFileSystem(), str(Path(path).expanduser().absolute())
    try:
        if uri.startswith("s3://") and "?" not in uri:
            return s3.filesystem(s3.bucket_and_key(uri)[0]), uri.removeprefix("s3://").rstrip("/")
        return fs.FileSystem.from_uri(uri)
    except (OSError, ValueError) as error:
        raise StorageError(f"{uri}: cannot be opened: {error}; give a folder or s3://bucket/prefix") from None


def read_bytes(uri: str) -> bytes:
    filesystem, path = open_filesystem(uri)
    with _explained(uri, "read"):
        for left in reversed(range(s3.attempts())):
            try:
                with filesystem.open_input_file(path) as stream:
                    return stream.read()
            except OSError as error:
                # Arrow reads into a buffer of the file's size. A moment's failure answers with a message: where that
                # is longer, Arrow takes the failure for one that lasts and does not ask again.
                if left == 0 or "Failed to flush response stream" not in str(error):
                    raise
                time.sleep(_READ_PAUSE_S)
    raise AssertionError("unreachable: the last attempt returns or raises")


def write_bytes(uri: str, content: bytes) -> None:
    """Stores one file whole or not at all, whatever kills the writer; folders are made as needed."""
    filesystem, path = open_filesystem(uri)
    with _explained(uri, "written"):
        if isinstance(filesystem, fs.LocalFileSystem):
            _write_local(Path(path), content)
        else:
            with filesystem.open_output_stream(path) as stream:
                stream.write(content)


def exists(uri: str) -> bool:
    """Whether a file or a folder with something in it is there."""
    filesystem, path = open_filesystem(uri)
    with _explained(uri, "read"):
        return filesystem.get_file_info(path).type != fs.FileType.NotFound


def list_files(uri: str, suffix: str = "") -> list[str]:
    """Paths of all files below ``uri`` relative to it, sorted; none if there is no such folder."""
    filesystem, path = open_filesystem(uri)
    with _explained(uri, "listed"):
        found = filesystem.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    names = (info.path[len(path) :].lstrip("/") for info in found if info.is_file)
    return sorted(name for name in names if name.endswith(suffix) and not name.endswith(PART))


def file_sizes(uri: str, suffix: str = "") -> dict[str, int]:
    """Bytes of every file below ``uri`` (or of the file that ``uri`` is), by relative path."""
    filesystem, path = open_filesystem(uri)
    with _explained(uri, "listed"):
        info = filesystem.get_file_info(path)
        if info.is_file:
            return {info.base_name: info.size}
        found = filesystem.get_file_info(fs.FileSelector(path, recursive=True))
    return {i.path[len(path) :].lstrip("/"): i.size for i in found if i.is_file and i.path.endswith(suffix)}


def sha256(uri: str) -> str:
    """Digest of a file's content, read in pieces."""
    digest = hashlib.sha256()
    filesystem, path = open_filesystem(uri)
    with _explained(uri, "read"), filesystem.open_input_stream(path) as stream:
        while piece := stream.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()


def remove(uri: str) -> None:
    """Removes one file; nothing happens if it is not there."""
    filesystem, path = open_filesystem(uri)
    with _explained(uri, "removed"):
        if filesystem.get_file_info(path).is_file:
            filesystem.delete_file(path)


def empty_folder(uri: str, keep: str = "") -> None:
    """Removes everything in a folder but the file ``keep``; nothing happens if there is no such folder."""
    filesystem, path = open_filesystem(uri)
    with _explained(uri, "emptied"):
        for info in filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True)):
            if info.type == fs.FileType.Directory:
                filesystem.delete_dir(info.path)
            elif info.base_name != keep:
                filesystem.delete_file(info.path)


def upload_folder(folder: Path, uri: str) -> None:
    """Copies every file of a local folder to ``uri``, each whole or not at all."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        write_bytes(join(uri, file.relative_to(folder).as_posix()), file.read_bytes())


@contextmanager
def local_copy(uri: str, names: Iterable[str]) -> Iterator[Path]:
    """The folder itself where it is local, else a temporary folder with these of its files."""
    if not is_remote(uri):
        yield Path(open_filesystem(uri)[1])
        return
    with tempfile.TemporaryDirectory(prefix="jr2net-") as temporary:
        for name in names:
            target = Path(temporary, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(read_bytes(join(uri, name)))
        yield Path(temporary)


def check_writable(uri: str) -> None:
    """Writes, reads and removes a small file. Raises StorageError where a run could not live."""
    probe = join(uri, f".probe-{uuid.uuid4().hex}")
    write_bytes(probe, b"probe")
    if read_bytes(probe) != b"probe":
        raise StorageError(f"{uri}: what is written does not come back; use another storage")
    filesystem, path = open_filesystem(probe)
    with _explained(uri, "cleaned"):
        filesystem.delete_file(path)


def unfinished_path(path: Path) -> Path:
    """Where a local file is written before it takes its name."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}{PART}")


def _write_local(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = unfinished_path(path)
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _explained(uri: str, action: str) -> Iterator[None]:
    try:
        yield
    except StorageError:
        raise
    except FileNotFoundError as error:
        reason = "there is no such file" if not is_remote(uri) else f"not found ({error})"
        raise StorageError(f"{uri}: cannot be {action}: {reason}; check the path and that the bucket exists") from None
    except OSError as error:
        remedy = _S3_REMEDY if is_remote(uri) else _local_remedy(error)
        raise StorageError(f"{uri}: cannot be {action}: {error}; {remedy}") from None


_S3_REMEDY = "check the bucket's name, the credentials and AWS_ENDPOINT_URL"


def _local_remedy(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "choose a folder that you may write, or change its permissions"
    if isinstance(error, NotADirectoryError | FileExistsError):
        return "a file stands where a folder is needed: choose another folder"
    return "check the path and the free space"
