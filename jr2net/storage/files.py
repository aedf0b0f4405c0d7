"""File operations that work alike on local paths and on ``s3://bucket/key``.

A URI is a plain string; options of a bucket may follow it (``s3://bucket/key?endpoint_override=host:port``), and every
function here keeps them. They and the environment variables of S3 are listed in ``storage/s3.py``. Every error is a
``StorageError`` that names the URI and the remedy.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pyarrow import fs

from jr2net.errors import StorageError
from jr2net.storage import s3

UNFINISHED_SUFFIX = ".part"
"""Suffix of files being written. A killed writer may leave one behind; listings skip it."""

_READ_PAUSE_S = 0.5
"""Pause before a failed read is retried here."""


def is_remote(uri: str) -> bool:
    return "://" in uri and not uri.startswith("file://")


def join(uri: str, *names: str) -> str:
    """``join("s3://bucket/run", "recnet", "model.json")``; also for folders."""
    address, options = _parts(uri)
    return "/".join([address.rstrip("/"), *(name.strip("/") for name in names)]) + options


def base_name(uri: str) -> str:
    """The last part of a path or URI, without the options of its bucket."""
    return _parts(uri)[0].rstrip("/").rpartition("/")[2]


def parent(uri: str) -> str:
    """The folder that a file or folder lies in; of a name alone the present one, ``.``."""
    address, options = _parts(uri)
    if not is_remote(uri) and base_name(address) in ("", ".", ".."):
        return join(address, "..")
    folder, slash, _ = address.rstrip("/").rpartition("/")
    return (folder or slash or ".") + options


def relative_path(uri: str, folder: str) -> str:
    """Path of a file relative to a folder that it is joined from; "" for the folder itself."""
    return _parts(uri)[0].removeprefix(_parts(folder)[0].rstrip("/")).strip("/")


def _parts(uri: str) -> tuple[str, str]:
    """The address of a URI and the options that follow it, "" or with their question mark; a path has none."""
    address, mark, options = uri.partition("?") if is_remote(uri) else (uri, "", "")
    return address, mark + options


def open_filesystem(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system that holds ``uri``, and the path of ``uri`` in it."""
    if not is_remote(uri):
        path = uri.removeprefix("file://")
        return fs.LocalFileSystem(), str(Path(path).expanduser().absolute())
    try:
        if not uri.startswith("s3://") or s3.options(uri).keys() - s3.OPTIONS:
            return fs.FileSystem.from_uri(uri)
        return s3.filesystem(uri), "/".join(s3.bucket_and_key(uri)).rstrip("/")
    except (OSError, ValueError) as error:
        raise StorageError(f"{uri}: cannot be opened: {error}; give a folder or s3://bucket/prefix") from None


def read_bytes(uri: str) -> bytes:
    """Reads one file; transient errors are retried."""
    filesystem, path = open_filesystem(uri)
    with _translate_errors(uri, "read"):
        for retries_left in reversed(range(s3.attempts())):
            try:
                with filesystem.open_input_file(path) as stream:
                    return stream.read()
            except OSError as error:
                # Arrow reads into a buffer of the file's size. If the body of a transient error response is longer
                # than that, Arrow takes the error for a permanent one and does not retry.
                if retries_left == 0 or "Failed to flush response stream" not in str(error):
                    raise
                time.sleep(_READ_PAUSE_S)
    raise AssertionError("unreachable: the last attempt returns or raises")


def write_bytes(uri: str, content: bytes) -> None:
    """Writes one file atomically, replacing an existing one; creates folders as needed."""
    filesystem, path = open_filesystem(uri)
    with _translate_errors(uri, "written"):
        if isinstance(filesystem, fs.LocalFileSystem):
            _write_local(Path(path), content)
        else:
            with filesystem.open_output_stream(path) as stream:
                stream.write(content)


def exists(uri: str) -> bool:
    """Whether a file or a non-empty folder exists."""
    filesystem, path = open_filesystem(uri)
    with _translate_errors(uri, "read"):
        return filesystem.get_file_info(path).type != fs.FileType.NotFound


def list_files(uri: str, suffix: str = "") -> list[str]:
    """Sorted paths, relative to ``uri``, of all files below it; empty if there is no such folder."""
    filesystem, path = open_filesystem(uri)
    with _translate_errors(uri, "listed"):
        found = filesystem.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    names = (info.path[len(path) :].lstrip("/") for info in found if info.is_file)
    return sorted(name for name in names if name.endswith(suffix) and not name.endswith(UNFINISHED_SUFFIX))


def file_sizes(uri: str, suffix: str = "") -> dict[str, int]:
    """Size in bytes of every file below ``uri``, by relative path, or of the file ``uri`` itself."""
    filesystem, path = open_filesystem(uri)
    with _translate_errors(uri, "listed"):
        info = filesystem.get_file_info(path)
        if info.is_file:
            return {info.base_name: info.size}
        found = filesystem.get_file_info(fs.FileSelector(path, recursive=True))
    return {i.path[len(path) :].lstrip("/"): i.size for i in found if i.is_file and i.path.endswith(suffix)}


def sha256(uri: str) -> str:
    """SHA-256 of a file's content as hex, read in chunks."""
    digest = hashlib.sha256()
    filesystem, path = open_filesystem(uri)
    with _translate_errors(uri, "read"), filesystem.open_input_stream(path) as stream:
        while chunk := stream.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()


def remove(uri: str) -> None:
    """Removes one file if it exists."""
    filesystem, path = open_filesystem(uri)
    with _translate_errors(uri, "removed"):
        if filesystem.get_file_info(path).is_file:
            filesystem.delete_file(path)


def empty_folder(uri: str, keep: str = "") -> None:
    """Removes everything in a folder but the file ``keep``; does nothing if there is no such folder."""
    filesystem, path = open_filesystem(uri)
    with _translate_errors(uri, "emptied"):
        for info in filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True)):
            if info.type == fs.FileType.Directory:
                filesystem.delete_dir(info.path)
            elif info.base_name != keep:
                filesystem.delete_file(info.path)


def upload_folder(folder: Path, uri: str) -> None:
    """Copies every file of a local folder to ``uri``, each atomically."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        write_bytes(join(uri, file.relative_to(folder).as_posix()), file.read_bytes())


@contextmanager
def local_copy(uri: str, names: Iterable[str]) -> Iterator[Path]:
    """The folder itself if it is local, else a temporary folder with copies of the files ``names``."""
    if not is_remote(uri):
        yield Path(open_filesystem(uri)[1])
        return
    with tempfile.TemporaryDirectory(prefix="jr2net-") as temporary:
        for name in names:
            target = Path(temporary, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(read_bytes(join(uri, name)))
        yield Path(temporary)


def cached_copy(uri: str) -> Path:
    """The file itself if it is local, else a copy of it that later calls on the machine use too.

    Copies lie in the folder for temporary files, by the file's URI, size and time of change.
    """
    filesystem, path = open_filesystem(uri)
    if isinstance(filesystem, fs.LocalFileSystem):
        if not Path(path).is_file():
            raise StorageError(f"{uri}: cannot be read: no such file; check the path")
        return Path(path)
    with _translate_errors(uri, "read"):
        info = filesystem.get_file_info(path)
    version = hashlib.sha256(f"{uri} {info.size} {info.mtime_ns}".encode()).hexdigest()
    copy = _cache_folder() / version
    if not copy.exists():
        _write_local(copy, read_bytes(uri))
    return copy


def _cache_folder() -> Path:
    """A folder that nobody else can write to."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir(), f"jr2net-{user}")
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != user or status.st_mode & 0o022:
        raise StorageError(f"{folder}: belongs to another user; remove it, or set TMPDIR to a folder of your own")
    return folder


def check_writable(uri: str) -> None:
    """Writes, reads and removes a small file. Raises StorageError if any of these fails."""
    probe = join(uri, f".probe-{uuid.uuid4().hex}")
    write_bytes(probe, b"probe")
    if read_bytes(probe) != b"probe":
        raise StorageError(f"{uri}: a written file reads back differently; use another storage")
    filesystem, path = open_filesystem(probe)
    with _translate_errors(uri, "cleaned"):
        filesystem.delete_file(path)


def unfinished_path(path: Path) -> Path:
    """Temporary path of a local file while it is being written."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}{UNFINISHED_SUFFIX}")


def _write_local(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = unfinished_path(path)
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _translate_errors(uri: str, action: str) -> Iterator[None]:
    """Raises every OSError as a StorageError that names the URI and a remedy."""
    try:
        yield
    except StorageError:
        raise
    except FileNotFoundError as error:
        if is_remote(uri):
            reason = f"not found ({error}); check the path and that the bucket exists"
        else:
            reason = "no such file; check the path"
        raise StorageError(f"{uri}: cannot be {action}: {reason}") from None
    except OSError as error:
        remedy = _S3_REMEDY if is_remote(uri) else _local_remedy(error)
        raise StorageError(f"{uri}: cannot be {action}: {error}; {remedy}") from None


_S3_REMEDY = "check the bucket's name, the credentials and AWS_ENDPOINT_URL"


def _local_remedy(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "choose a folder that you may write, or change its permissions"
    if isinstance(error, NotADirectoryError | FileExistsError):
        return "a file is in place of a folder: choose another folder"
    return "check the path and the free space"
