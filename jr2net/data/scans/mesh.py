"""A surface of any topology."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from jr2net.data.readers.problems import DatasetError

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

UNITS: Mapping[str, float] = {"um": 1e-3, "mm": 1.0, "cm": 10.0, "dm": 100.0, "m": 1000.0}
"""Millimetres in a unit of length."""

NO_FACES: Indices = np.zeros((0, 3), np.int64)


@dataclass(frozen=True)
class Mesh:
    """A surface.

    vertices  (N, 3) float64, finite
    faces     (F, 3) int64 triangles; none for a cloud of points
    grid      of a range image: (rows, columns) int64 index of each pixel's vertex, -1 where there is a hole
    """

    vertices: Array
    faces: Indices
    grid: Indices | None = None

    def scaled(self, factor: float) -> Mesh:
        return replace(self, vertices=self.vertices * factor)

    def part(self, kept: NDArray[np.bool_]) -> Mesh:
        """The vertices (N,) that are kept and the triangles between them; the grid is lost."""
        new = np.cumsum(kept) - 1
        return Mesh(self.vertices[kept], new[self.faces[kept[self.faces].all(1)]])


def checked(mesh: Mesh, name: str) -> Mesh:
    """The mesh itself. Raises DatasetError where it has no vertices, some that are not finite, or wrong triangles."""
    count = len(mesh.vertices)
    if count < 4:
        raise DatasetError("empty mesh", f"{name}: has {count} vertices; damaged or truncated, copy it again")
    if not np.isfinite(mesh.vertices).all():
        bad = int((~np.isfinite(mesh.vertices)).any(1).sum())
        raise DatasetError("NaN in a mesh", f"{name}: {bad} of {count} vertices are NaN or infinite; export it again")
    if len(mesh.faces) and (mesh.faces.min() < 0 or mesh.faces.max() >= count):
        raise DatasetError("damaged mesh", f"{name}: faces refer to missing vertices; truncated, copy it again")
    return mesh


def triangulated(polygons: list[list[int]]) -> Indices:
    """Polygons of vertex indices as fans of triangles (F, 3)."""
    fans = [(p[0], p[k], p[k + 1]) for p in polygons for k in range(1, len(p) - 1)]
    return np.array(fans, np.int64).reshape(-1, 3)
