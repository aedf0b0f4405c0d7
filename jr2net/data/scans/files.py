"""Reads a mesh by the ending of its name."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable

import numpy as np

from jr2net import storage
from jr2net.data.readers.problems import DatasetError, refuse_web_page
from jr2net.data.scans.mesh import NO_FACES, Mesh, checked
from jr2net.data.scans.obj import parse_obj
from jr2net.data.scans.ply import parse_ply
from jr2net.data.scans.range_image import parse_abs


def read_mesh(path: str) -> Mesh:
    """Reads a mesh, packed by gzip or not. Raises DatasetError naming the file, StorageError."""
    content, name = storage.read_bytes(path), storage.base_name(path)
    if name.lower().endswith(".gz"):
        content, name = unpacked(content, path), name[:-3]
    refuse_web_page(content, path)
    ending = f".{name.rpartition('.')[2].lower()}"
    parse = _PARSERS.get(ending)
    if parse is None:
        raise DatasetError("format", f"{path}: {ending} is not read; give one of {', '.join(MESH_FILES)}")
    return checked(parse(content, path), path)


def unpacked(content: bytes, name: str) -> bytes:
    """The content of a gzip file. Raises DatasetError where it is damaged."""
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        raise DatasetError("damaged .gz", f"{name}: is damaged or truncated; copy it again") from None


def _parse_npy(content: bytes, name: str) -> Mesh:
    """(N, 3) vertices without triangles."""
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DatasetError("damaged .npy", f"{name}: not a readable .npy ({error}); copy it again") from None
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "fiu":
        raise DatasetError("damaged .npy", f"{name}: an array of shape {array.shape}; expected N × 3 vertices")
    return Mesh(array.astype(np.float64), NO_FACES)


_PARSERS: dict[str, Callable[[bytes, str], Mesh]] = {
    ".obj": parse_obj,
    ".ply": parse_ply,
    ".abs": parse_abs,
    ".npy": _parse_npy,
}
MESH_FILES = (".obj", ".ply", ".abs", ".abs.gz", ".npy")
