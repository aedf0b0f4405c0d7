"""Distance of points to a triangle mesh, exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

_GROWTH, _ROWS = 6, 20_000


class Surface:
    """A mesh that is asked for its nearest points.

    vertices (N, 3), faces (F, 3) with F ≥ 1. Triangles are searched in the order of their centroids' distances; one
    whose centroid is farther than the best distance so far and its own radius cannot be nearer.
    """

    def __init__(self, vertices: Array, faces: Indices) -> None:
        if not len(faces):
            raise ValueError("a surface needs triangles")
        self.corners = vertices[faces]
        centroids = self.corners.mean(1)
        self.radius = np.linalg.norm(self.corners - centroids[:, None], axis=-1).max(1)
        self.tree = cKDTree(centroids)

    def nearest(self, points: Array) -> tuple[Array, Indices]:
        """The nearest point of the surface (P, 3) to each of P points, and the triangle (P,) that it lies on."""
        found, triangle = np.empty_like(points), np.zeros(len(points), np.int64)
        for first in range(0, len(points), _ROWS):
            rows = slice(first, first + _ROWS)
            found[rows], triangle[rows] = self._nearest(points[rows])
        return found, triangle

    def _nearest(self, points: Array) -> tuple[Array, Indices]:
        total, largest = len(self.corners), self.radius.max()
        best = np.full(len(points), np.inf)
        found, triangle = np.empty_like(points), np.zeros(len(points), np.int64)
        rows, done, count = np.arange(len(points)), 0, 1
        while len(rows):
            reach, candidates = self.tree.query(points[rows], k=list(range(done + 1, count + 1)))
            line, column = np.nonzero(reach - self.radius[candidates] < best[rows, None])
            point, chosen = points[rows[line]], candidates[line, column]
            nearest = closest_on_triangles(point, self.corners[chosen])
            distance = np.linalg.norm(nearest - point, axis=1)
            order = np.lexsort((distance, line))
            order = order[np.unique(line[order], return_index=True)[1]]  # the nearest of each point's candidates
            order = order[distance[order] < best[rows[line[order]]]]
            row = rows[line[order]]
            best[row], found[row], triangle[row] = distance[order], nearest[order], chosen[order]
            if count == total:
                break
            rows = rows[reach[:, -1] - largest < best[rows]]
            done, count = count, min(_GROWTH * count, total)
        return found, triangle


def closest_on_triangles(points: Array, corners: Array) -> Array:
    """The nearest point (P, 3) of the p-th triangle, corners (P, 3, 3), to the p-th point (P, 3).

    By the Voronoi regions of the triangle (Ericson, *Real-Time Collision Detection*, 2005, section 5.1.5).
    """
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    ab, ac = b - a, c - a
    d1, d2 = _dot(ab, points - a), _dot(ac, points - a)
    d3, d4 = _dot(ab, points - b), _dot(ac, points - b)
    d5, d6 = _dot(ab, points - c), _dot(ac, points - c)
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    v, w = _over(vb, va + vb + vc), _over(vc, va + vb + vc)  # inside
    for region, new_v, new_w in (  # the first that applies counts, so that it is written last
        ((va <= 0) & (d4 >= d3) & (d5 >= d6), 1 - _over(d4 - d3, (d4 - d3) + (d5 - d6)), None),  # edge b c
        ((vb <= 0) & (d2 >= 0) & (d6 <= 0), 0.0, _over(d2, d2 - d6)),  # edge a c
        ((vc <= 0) & (d1 >= 0) & (d3 <= 0), _over(d1, d1 - d3), 0.0),  # edge a b
        ((d6 >= 0) & (d5 <= d6), 0.0, 1.0),  # c
        ((d3 >= 0) & (d4 <= d3), 1.0, 0.0),  # b
        ((d1 <= 0) & (d2 <= 0), 0.0, 0.0),  # a
    ):
        v = np.where(region, new_v, v)
        w = np.where(region, 1 - v if new_w is None else new_w, w)
    return a + v[:, None] * ab + w[:, None] * ac


def _dot(a: Array, b: Array) -> Array:
    return (a * b).sum(1)


def _over(numerator: Array, denominator: Array) -> Array:
    """The quotient; 0 where the denominator is 0 (triangles without area)."""
    return numerator / np.where(denominator == 0, 1, denominator) * (denominator != 0)
