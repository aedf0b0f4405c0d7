"""The skin as a smooth function through the hand-placed points, and curves on it along which vertices are placed.

The skin is star-shaped around ``anatomy.CENTRE``, so it is a function (distance from the centre) over the *chart*: the
azimuthal equidistant map of directions, 100 chart units per radian (about 1 mm in the front of the face).
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline, RBFInterpolator
from scipy.spatial import cKDTree

from jr2net.face.procedural import anatomy
from jr2net.face.procedural.half import Array

EYE_POINTS, MOUTH_POINTS = 24, 19
_CHART = 100.0


def to_chart(points: Array) -> Array:
    """(n, 3) mm to (n, 2) chart units."""
    d = points - anatomy.CENTRE
    radius = np.hypot(d[:, 0], d[:, 1])
    angle = np.arctan2(radius, d[:, 2])
    return _CHART * (angle / np.maximum(radius, 1e-12))[:, None] * d[:, :2]


def from_chart(chart: Array, distance: Array) -> Array:
    """Points (n, 3) in mm at a distance (n,) from the centre, in the directions given by chart points (n, 2)."""
    angle = np.hypot(chart[:, 0], chart[:, 1]) / _CHART
    sine = np.sinc(angle / np.pi)[:, None] * chart / _CHART
    return anatomy.CENTRE + distance[:, None] * np.concatenate([sine, np.cos(angle)[:, None]], 1)


class Surface:
    """Distance from the centre as a thin-plate spline over the chart, through all hand-placed points and some rings."""

    def __init__(self, rings: list[Array]) -> None:
        middle = np.concatenate([np.zeros((len(anatomy.MIDLINE), 1)), anatomy.MIDLINE], 1)
        points = np.concatenate([anatomy.SURFACE, anatomy.BOUNDARY[1:-1], *rings])
        points = _thin_out(np.concatenate([points, points * [-1, 1, 1], middle]), 1.5)
        distance = np.linalg.norm(points - anatomy.CENTRE, axis=1)
        self._distance = RBFInterpolator(to_chart(points), distance, smoothing=0.5, kernel="thin_plate_spline")

    def lift(self, chart: Array) -> Array:
        """Chart points (n, 2) to the surface (n, 3)."""
        return from_chart(chart, self._distance(chart))

    def chart_of_xy(self, target: Array, depth: float) -> Array:
        """Chart points (n, 2) whose surface points have the given (x, y); ``depth`` is the initial guess of z."""
        chart = to_chart(np.concatenate([target, np.full((len(target), 1), depth)], 1))
        for _ in range(12):
            chart = chart + 0.9 * (target - self.lift(chart)[:, :2])
        return chart


def _thin_out(points: Array, distance: float) -> Array:
    """Removes points within ``distance`` of an earlier point."""
    keep = np.ones(len(points), bool)
    for i, j in sorted(cKDTree(points).query_pairs(distance)):
        if keep[i]:
            keep[j] = False
    return points[keep]


def eye_ring(control_points: Array) -> Array:
    """12 control points around the eye to a closed ring of ``EYE_POINTS``; points with z = 0 move to the lid sphere."""
    ring = control_points.copy()
    free = ring[:, 2] == 0
    x, y, _ = (ring[free] - anatomy.EYE_CENTRE).T
    ring[free, 2] = anatomy.EYE_CENTRE[2] + np.sqrt((anatomy.EYE_RADIUS + anatomy.LID_GAP) ** 2 - x**2 - y**2)
    spline = CubicSpline(np.arange(13), np.concatenate([ring, ring[:1]]), bc_type="periodic")
    return spline(np.arange(EYE_POINTS) * 12 / EYE_POINTS)


def mouth_ring(control_points: Array) -> Array:
    """13 control points from the middle of the upper lip via the corner to the middle of the lower lip, to
    ``MOUTH_POINTS``. Each lip has its own spline, since they meet at an angle.
    """
    t = np.linspace(0, 12, MOUTH_POINTS)
    upper = CubicSpline(np.arange(7), control_points[:7])(t[t <= 6])
    lower = CubicSpline(np.arange(6, 13), control_points[6:])(t[t > 6])
    ring = np.concatenate([upper, lower])
    ring[[0, -1], 0] = 0.0
    return ring


def midline() -> tuple[Array, Array]:
    """The profile above and below the lips as dense curves (400, 3), from top to bottom."""

    def curve(points: Array) -> Array:
        length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
        fine = CubicSpline(length, points)(np.linspace(0, length[-1], 400))
        return np.concatenate([np.zeros((len(fine), 1)), fine], 1)

    y = anatomy.MIDLINE[:, 0]
    above = np.concatenate([anatomy.MIDLINE[y > anatomy.PERIORAL[0, 1]], anatomy.PERIORAL[:1, 1:]])
    below = np.concatenate([anatomy.PERIORAL[-1:, 1:], anatomy.MIDLINE[y < anatomy.PERIORAL[-1, 1]]])
    return curve(above), curve(below)


def boundary() -> Array:
    """The border of the mesh as a dense curve (500, 3) from the top of the midline to its bottom."""
    index = np.arange(len(anatomy.BOUNDARY))
    return CubicSpline(index, anatomy.BOUNDARY)(np.linspace(0, index[-1], 500))


def brow_rows(offsets: tuple[float, ...] = (-1.6, -0.8, 0.0, 0.8, 1.6), step: float = 3.0) -> Array:
    """(rows, m, 2): (x, y) of lines along the brow, at multiples of its thickness from its centre line.

    Vertices on these lines keep the edge of the brow smooth.
    """
    index = np.arange(len(anatomy.BROW))
    middle = CubicSpline(index, anatomy.BROW)
    fine = np.linspace(0, index[-1], 300)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(middle(fine), axis=0), axis=1))])
    t = np.interp(np.linspace(0, length[-1], int(length[-1] / step) + 1), length, fine)
    tangent = middle(t, 1) / np.linalg.norm(middle(t, 1), axis=1, keepdims=True)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1)
    thickness = np.interp(t, index, anatomy.BROW_THICKNESS)
    return np.stack([middle(t) + (offset * thickness)[:, None] * normal for offset in offsets])
