"""Eyeball and teeth of the left half."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.interpolate import PchipInterpolator

from jr2net.face.procedural import anatomy
from jr2net.face.procedural.half import Half, fan, strip

_EYE_SECTORS = 16
_EYE_RINGS = (  # inner rings: (radius seen from the front in mm, label); outer: (angle from the axis in degrees, label)
    [(1.2, "pupil"), (2.0, "pupil"), (2.4, "iris"), (4.2, "iris"), (5.7, "iris"), (6.3, "sclera")],
    [(36.0, "sclera"), (48.0, "sclera"), (62.0, "sclera"), (80.0, "sclera")],
)
PUPIL_RADIUS, IRIS_RADIUS = 2.2, 6.0


def build_eyeball() -> Half:
    """The front of a sphere, looking straight ahead: rings of pupil, iris and sclera around its axis."""
    by_radius, by_angle = _EYE_RINGS
    angles = [np.arcsin(r / anatomy.EYE_RADIUS) for r, _ in by_radius] + [np.radians(a) for a, _ in by_angle]
    ring_labels = [label for _, label in by_radius + by_angle]
    turn = np.arange(_EYE_SECTORS) * 2 * np.pi / _EYE_SECTORS
    rings = [
        np.stack([np.sin(a) * np.cos(turn), np.sin(a) * np.sin(turn), np.full_like(turn, np.cos(a))], 1) for a in angles
    ]
    unit = np.concatenate([np.array([[0.0, 0.0, 1.0]]), *rings])
    index = 1 + np.arange(len(rings) * _EYE_SECTORS).reshape(len(rings), _EYE_SECTORS)
    faces = [fan(index[0], 0, closed=True)] + [strip(b, a, closed=True) for a, b in pairwise(index)]
    labels = np.array(["pupil"] + [label for label in ring_labels for _ in range(_EYE_SECTORS)])
    vertices = anatomy.EYE_CENTRE + anatomy.EYE_RADIUS * unit
    return Half(vertices, np.concatenate(faces), labels, {"eyeball": np.arange(len(vertices))})


def build_teeth(upper: bool) -> Half:
    """Half of a dental arch as a strip: gum, crown, biting edge and rear side, with grooves between the teeth."""
    name = "teeth_upper" if upper else "teeth_lower"
    widths = anatomy.UPPER_TEETH if upper else anatomy.LOWER_TEETH
    sign = -1.0 if upper else 1.0  # direction of the biting edge
    ends = np.concatenate([[0.0], np.cumsum(widths)])
    along = np.sort(np.concatenate([ends, ends[1:] - 0.5 * widths]))
    groove = np.isin(along, ends)
    front, edge = (106.0, -38.0) if upper else (103.4, -35.6)
    # The arch is a parabola z = front - k x², parametrised by arc length.
    x = np.linspace(0, 40, 400)
    curvature = 0.036 if upper else 0.040
    z = front - curvature * x**2
    arc = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(z)))])
    px = PchipInterpolator(arc, x)(along)
    pz = front - curvature * px**2
    outward = np.stack([2 * curvature * px, np.ones_like(px)], 1)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)

    rows = []
    for height, inset in ((14.0, 1.6), (10.0, 0.6), (5.0, 0.0), (0.4, 0.5), (0.4, 2.6), (9.0, 5.0)):
        back = inset + 0.6 * groove * (height < 11)
        short = np.where(groove & (height < 1), 0.45, 0.0)  # rounds the corners of the teeth
        y = edge - sign * (height + short) + 0.004 * px**2
        rows.append(np.stack([px - back * outward[:, 0], y, pz - back * outward[:, 1]], 1))
    vertices = np.concatenate(rows)
    vertices[np.tile(along == 0, len(rows)), 0] = 0.0
    index = np.arange(len(vertices)).reshape(len(rows), -1)
    faces = np.concatenate([strip(a, b, closed=False) for a, b in pairwise(index)])
    if upper:
        faces = faces[:, ::-1]
    marks = {name: index.ravel(), f"{name}_gum": index[:2].ravel(), f"{name}_groove": index[:, groove].ravel()}
    marks[f"{name}_gum"] = index[0]
    return Half(vertices, faces, np.full(len(vertices), name), marks)
