"""One half of a symmetric mesh, and triangulation between rings of vertices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Half:
    """The subject's left half, x ≥ 0; vertices at x = 0 lie on the mirror plane.

    vertices (n, 3) mm; faces (m, 3); labels (n,) names; marks: named groups of vertex indices.
    """

    vertices: Array
    faces: Index
    labels: NDArray[np.str_]
    marks: dict[str, Index]


def strip(first: Index, second: Index, closed: bool) -> Index:
    """Triangles between two rings of equal length; counter-clockwise where the second lies to the first's left."""
    n = len(first)
    i = np.arange(n if closed else n - 1)
    j = (i + 1) % n
    a, b, c, d = first[i], first[j], second[j], second[i]
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def fan(ring: Index, tip: int, closed: bool) -> Index:
    """Triangles between a ring and one vertex to its left."""
    n = len(ring)
    i = np.arange(n if closed else n - 1)
    return np.stack([ring[i], ring[(i + 1) % n], np.full(len(i), tip)], 1)
