"""Vertices and triangles of the open skin, in the chart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay, cKDTree

from jr2net.face.procedural import anatomy
from jr2net.face.procedural.half import Array, Index
from jr2net.face.procedural.surface import boundary, eye_ring, midline, mouth_ring, to_chart

_MAX_SPACING = 8.2  # on forehead, cheeks and neck


def spacing(chart: Array) -> Array:
    """Target distance (n,) between neighbouring vertices, in chart units: small near nose, eyes, mouth and brow."""

    def distance(points: Array) -> Array:
        return cKDTree(points).query(chart)[0]

    brow_depth = np.linspace(106, 80, len(anatomy.BROW))
    brow = to_chart(np.concatenate([anatomy.BROW, brow_depth[:, None]], 1))
    nose = np.array([(0, y) for y in range(-12, 14, 3)] + [(x, y) for x in (6, 12, 17) for y in (-10, -4, 2)], float)
    outlines = to_chart(np.concatenate([eye_ring(anatomy.ORBIT), mouth_ring(anatomy.PERIORAL)]))
    by_nose = 2.6 + 0.22 * np.maximum(distance(nose) - 3, 0)
    by_outlines = 3.2 + 0.2 * distance(outlines)
    by_brow = 3.2 + 0.3 * np.maximum(distance(brow) - 5, 0)
    return np.minimum.reduce([by_nose, by_outlines, by_brow, np.full(len(chart), _MAX_SPACING)])


def place_skin_vertices(landmarks: Array, brow: Array, holes: list[Array]) -> Array:
    """Chart points of the open skin: landmarks first, then brow, border, midline and evenly spaced points in between.

    landmarks (n, 3) mm; brow (m, 2) in the chart; holes: polygons of eyes, mouth and nostril, whose vertices are placed
    elsewhere.
    """
    fixed = to_chart(landmarks)
    fixed[landmarks[:, 0] == 0, 0] = 0.0
    outline = to_chart(boundary())
    border = _resample(outline)
    border[[0, -1], 0] = 0.0
    line = np.concatenate([_resample(to_chart(part))[1:-1] for part in midline()])
    line[:, 0] = 0.0
    line = line[_distance(line, fixed) > 0.45 * spacing(line)]
    rings = np.concatenate(holes)
    brow = brow[_distance(brow, np.concatenate([fixed, rings])) > 1.5]
    fixed = np.concatenate([fixed, brow, border, line])

    u, v = np.meshgrid(np.arange(0.75, 140, 1.0), np.arange(130, -130, -1.0))
    u[1::2] += 0.5
    grid = np.stack([u.ravel(), v.ravel()], 1)
    outline = np.concatenate([outline, [[0.0, outline[-1, 1]], [0.0, outline[0, 1]]]])
    grid = grid[_inside(grid, outline)]
    grid = grid[~np.any([_inside(grid, hole) for hole in holes], axis=0)]
    target = spacing(grid)
    clear = _distance(grid, np.concatenate([fixed, rings])) > 0.72 * target
    free = _poisson_disc(grid[clear], target[clear])
    for _ in range(12):
        free = _relax(free, np.concatenate([fixed, rings]), holes)
    return np.concatenate([fixed, free])


def triangulate(points: Array, holes: list[Array]) -> Index:
    """Delaunay triangles, counter-clockwise, without those in holes and without slivers along the border.

    Points are rounded and triangles sorted, so that the result does not depend on the last bits of arithmetic.
    """
    points = points.round(7)
    triangles = np.sort(Delaunay(points).simplices.astype(np.int64), axis=1)
    triangles = triangles[np.lexsort(triangles.T[::-1])]
    a, b, c = points[triangles].transpose(1, 0, 2)
    area = 0.5 * ((b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1]))
    longest = np.max([np.hypot(*(a - b).T), np.hypot(*(b - c).T), np.hypot(*(c - a).T)], axis=0)
    triangles[area < 0] = triangles[area < 0][:, [0, 2, 1]]
    middle = points[triangles].mean(1)
    keep = (np.abs(area) > 0.02 * longest**2) & ~np.any([_inside(middle, hole) for hole in holes], axis=0)
    return triangles[keep]


def _resample(curve: Array) -> Array:
    """Points along a dense curve, both ends included, at the target spacing."""
    step = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    density = np.concatenate([[0], np.cumsum(step / spacing(0.5 * (curve[1:] + curve[:-1])))])
    t = np.linspace(0, density[-1], max(round(density[-1]), 1) + 1)
    return np.stack([np.interp(t, density, curve[:, 0]), np.interp(t, density, curve[:, 1])], 1)


def _poisson_disc(points: Array, target: Array) -> Array:
    """Greedy Poisson-disc sampling from the nose outwards: no two points are closer than 0.92 × target."""
    tree = cKDTree(points)
    alive = np.ones(len(points), bool)
    chosen = []
    for i in np.argsort(np.hypot(points[:, 0], points[:, 1]), kind="stable"):
        if alive[i]:
            chosen.append(i)
            alive[tree.query_ball_point(points[i], 0.92 * target[i])] = False
    return points[chosen]


def _relax(free: Array, fixed: Array, holes: list[Array]) -> Array:
    """Moves free points half-way to the mean of their neighbours."""
    points = np.concatenate([free, fixed])
    triangles = triangulate(points, holes)
    total, count = np.zeros_like(points), np.zeros(len(points))
    for a, b in ((0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)):
        np.add.at(total, triangles[:, a], points[triangles[:, b]])
        np.add.at(count, triangles[:, a], 1.0)
    n = len(free)
    return 0.5 * free + 0.5 * total[:n] / count[:n, None]


def _distance(points: Array, others: Array) -> Array:
    return cKDTree(others).query(points)[0]


def _inside(points: Array, polygon: Array) -> NDArray[np.bool_]:
    """(n,) bool: whether points lie in a closed polygon (even-odd rule)."""
    a, b = polygon, np.roll(polygon, -1, 0)
    x, y = points[:, :1], points[:, 1:]
    crosses = (a[:, 1] > y) != (b[:, 1] > y)
    with np.errstate(divide="ignore", invalid="ignore"):  # horizontal edges never cross
        crossing_x = a[:, 0] + (y - a[:, 1]) * (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1])
    return (np.sum(crosses & (x < crossing_x), axis=1) % 2).astype(bool)
