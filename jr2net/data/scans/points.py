"""Files of landmarks on scans and meshes, in the forms that are usual.

| ending | content |
|---|---|
| ``.txt``, ``.csv``, ``.lmk`` | a line ``x y z`` or ``x,y,z`` a point; a name or number before it is left out |
| ``.bnd`` | the same, ``vertex x y z`` a line, as in BU-3DFE |
| ``.pts`` | ``version: 1``, ``n_points: K`` and, in braces, ``x y z`` a line |
| ``.pp`` | picked points of MeshLab, as in NoW |
| ``.npy`` | an array (K, 3) |
| ``.json`` | a list of ``[x, y, z]``, or an object of iBUG numbers (from 0) and ``[x, y, z]`` |

Instead of three coordinates a point may be one integer: a vertex of the mesh, from 0; and on a range image two: its
column and row.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jr2net import storage
from jr2net.data.readers.problems import DatasetError, refuse_web_page
from jr2net.data.scans.mesh import Array, Mesh

FARTHEST_PIXEL = 4
"""Pixels of a range image within which a landmark's hole is filled with the nearest point."""


@dataclass(frozen=True)
class PointFile:
    """values: (K, 3) coordinates, (K, 2) columns and rows, (K, 1) vertices; ibug: their numbers where the file names
    them."""

    values: Array
    ibug: tuple[int, ...] | None = None

    def on(self, mesh: Mesh, name: str, unit: float = 1.0) -> Array:
        """The points (K, 3) on a mesh; NaN for points that are not known.

        unit: what coordinates are multiplied by; those of the mesh are already. Raises DatasetError naming the file
        where a vertex or pixel is not the mesh's.
        """
        width = self.values.shape[1]
        if width == 3:
            return self.values * unit
        if width == 1:
            index = self.values[:, 0].astype(np.int64)
            if index.min() < 0 or index.max() >= len(mesh.vertices):
                raise DatasetError(
                    "landmarks of another mesh",
                    f"{name}: vertex {index.max()} of a mesh of {len(mesh.vertices)}: the landmarks are not its; "
                    "give its own",
                )
            return mesh.vertices[index]
        if mesh.grid is None:
            raise DatasetError("landmarks of a picture", f"{name}: points of two numbers, which only .abs files have")
        return np.array([_at_pixel(mesh, column, row) for column, row in self.values])


def read_points(path: str) -> PointFile:
    """Reads a landmark file by its ending (``POINT_FILES``). Raises DatasetError naming the file, StorageError."""
    content = storage.read_bytes(path)
    refuse_web_page(content, path)
    ending = f".{storage.base_name(path).rpartition('.')[2].lower()}"
    parse = _PARSERS.get(ending)
    if parse is None:
        raise DatasetError("format", f"{path}: {ending} is not read; give one of {', '.join(POINT_FILES)}")
    try:
        found = parse(content)
    except (ValueError, TypeError, KeyError, IndexError, EOFError, OSError) as error:
        raise DatasetError(
            f"damaged {ending}", f"{path}: landmarks cannot be read ({error}): damaged or truncated; copy it again"
        ) from None
    values = found.values
    if values.ndim != 2 or values.shape[1] not in (1, 2, 3) or len(values) < 3:
        raise DatasetError(
            "number of landmarks",
            f"{path}: an array of shape {values.shape}; expected K × 3 coordinates or K vertices, K at least 3",
        )
    return found


def _parse_lines(content: bytes) -> PointFile:
    rows = [re.split(r"[\s,;]+", line.strip()) for line in content.decode("utf-8-sig", "replace").splitlines()]
    rows = [row for row in rows if row != [""] and not row[0].startswith("#")]
    if rows and not _is_number(rows[0][-1]):
        rows = rows[1:]  # names of the columns
    if len({len(row) for row in rows}) != 1:
        raise ValueError("lines of different lengths")
    width = len(rows[0])
    kept = [row[-3:] if width > 3 else row for row in rows]
    if width in (2, 3) and not all(_is_number(row[0]) for row in rows):
        kept = [row[1:] for row in rows]
    return PointFile(np.array(kept, np.float64))


def _parse_pts(content: bytes) -> PointFile:
    head, opening, rest = content.decode("utf-8", "replace").partition("{")
    body, closing, _ = rest.partition("}")
    if not opening or not closing:
        raise ValueError("no points in braces")
    values = np.array([line.split() for line in body.splitlines() if line.strip()], np.float64)
    said = re.search(r"n_points:\s*(\d+)", head)
    if said and int(said[1]) != len(values):
        raise ValueError(f"n_points is {said[1]}, but {len(values)} lines follow")
    return PointFile(values)


def _parse_pp(content: bytes) -> PointFile:
    points = re.findall(r"<point\b[^>]*>", content.decode("utf-8", "replace"))
    axes = [[re.search(rf'\b{axis}="([^"]*)"', point) for axis in "xyz"] for point in points]
    return PointFile(np.array([[found[1] if found else "no coordinate" for found in row] for row in axes], np.float64))


def _parse_npy(content: bytes) -> PointFile:
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"holds {array.dtype}, not numbers")
    if array.ndim == 1 and array.dtype.kind in "iu":
        array = array[:, None]
    if array.ndim == 3 and len(array) == 1:
        array = array[0]
    return PointFile(array.astype(np.float64))


def _parse_json(content: bytes) -> PointFile:
    tree: Any = json.loads(content)
    if isinstance(tree, dict) and set(tree) & {"landmarks", "points"}:
        tree = tree.get("landmarks", tree.get("points"))
    if isinstance(tree, dict):
        return PointFile(np.array(list(tree.values()), np.float64), tuple(int(key) for key in tree))
    values = np.array(tree, np.float64)
    return PointFile(values[:, None] if values.ndim == 1 else values)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _at_pixel(mesh: Mesh, column: float, row: float) -> Array:
    """The point at a pixel of a range image, or of the nearest pixel that was seen; NaN where none is near."""
    grid = mesh.grid
    assert grid is not None
    if not np.isfinite((column, row)).all():
        return np.full(3, np.nan)
    x, y = int(column), int(row)
    left, top = max(x - FARTHEST_PIXEL, 0), max(y - FARTHEST_PIXEL, 0)
    window = grid[top : max(y + FARTHEST_PIXEL + 1, 0), left : max(x + FARTHEST_PIXEL + 1, 0)]
    seen = np.argwhere(window >= 0)
    if not len(seen):
        return np.full(3, np.nan)
    nearest = seen[((seen - np.array((y - top, x - left))) ** 2).sum(1).argmin()]
    return mesh.vertices[window[tuple(nearest)]]


_PARSERS: dict[str, Callable[[bytes], PointFile]] = {
    **dict.fromkeys((".txt", ".csv", ".lmk", ".bnd"), _parse_lines),
    ".pts": _parse_pts,
    ".pp": _parse_pp,
    ".npy": _parse_npy,
    ".json": _parse_json,
}
POINT_FILES = tuple(_PARSERS)
