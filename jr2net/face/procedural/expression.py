"""The 51 ARKit blendshapes of the procedural face, at coefficient 1.

Lids and eyeballs rotate about the centres of the eyes, the jaw about its joints; everything else is a table of
displacements of the rig's handles.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jr2net.face.arkit import ARKIT_NAMES, mirrored_name
from jr2net.face.procedural import anatomy
from jr2net.face.procedural.expression_tables import BOTH, JAW_WEIGHT, LEFT, LIDS, SIDEWAYS, Table
from jr2net.face.procedural.half import Array
from jr2net.face.procedural.mesh import Head
from jr2net.face.procedural.rig import Rig
from jr2net.face.procedural.surface import EYE_POINTS

JAW_OPEN_DEGREES, JAW_SIDE_DEGREES, JAW_SLIDE = 15.0, 5.0, 2.5
GAZES = {"Up": (1, 25.0), "Down": (1, -28.0), "Out": (0, 30.0), "In": (0, -30.0)}
"""Gaze direction of the left eye -> (axis along which the pupil moves, rotation in degrees)."""

# Rotation of each ring as a fraction of the lid margin's.
_LID_FRACTION = {"lid_rim": 1.0, "lid_margin": 1.0, "lid_plate": 0.88, "lid_crease": 0.42, "lid_fold": 0.06}
_LID_SAG = 2.9  # mm: the line of closed lids sags this far below the line between the eye corners
_LID_LIFT = 0.6  # mm: closed upper lids lie further out, so that linear interpolation does not cut the eyeball


def build_expressions(head: Head) -> Array:
    """(51, n, 3) displacements in the order of ``ARKIT_NAMES``; right shapes are exact mirror images of left ones."""
    rig = Rig(head)
    shapes = {name: rig.move(table) for name, table in LEFT.items()}
    for name, (upper, lower) in LIDS.items():
        shapes[name] += _lids(head, upper, lower)
    for direction, (axis, degrees) in GAZES.items():
        shapes[f"eyeLook{direction}Left"] += _gaze(head, axis, degrees)
    shapes["mouthLeft"] = rig.move(*SIDEWAYS)
    shapes["jawLeft"] = _jaw(head, rig, _sideways)

    symmetric = {name: rig.move_both(table) for name, table in BOTH.items()}
    symmetric["jawOpen"] += _jaw(head, rig, _open)
    symmetric["jawForward"] = _jaw(head, rig, lambda points: np.tile([0.0, -0.8, 6.5], (len(points), 1)))
    symmetric["mouthClose"] = _closing(rig, symmetric["jawOpen"])

    flip = np.array([-1.0, 1.0, 1.0])
    for name, shape in symmetric.items():
        shapes[name] = 0.5 * (shape + shape[head.mirror] * flip)
    for name in list(shapes):
        shapes.setdefault(mirrored_name(name), shapes[name][head.mirror] * flip)
    return np.stack([shapes[name] for name in ARKIT_NAMES])


def _lids(head: Head, upper: float, lower: float) -> Array:
    """Rotation of the left lids about the centre of the eye.

    ``upper`` and ``lower`` are fractions of the margin's way to the closed line; ``_LID_FRACTION`` scales it per ring.
    """
    margin = head.vertices[head.marks["lid_margin"]] - anatomy.EYE_CENTRE
    point = np.arange(EYE_POINTS)
    is_upper = (point > 0) & (point < EYE_POINTS // 2)
    outer, inner = margin[0], margin[EYE_POINTS // 2]
    along = np.clip((margin[:, 0] - inner[0]) / (outer[0] - inner[0]), 0, 1)
    closed = inner[1] + along * (outer[1] - inner[1]) - 4 * _LID_SAG * along * (1 - along)
    closed += np.where(is_upper, -0.35, 0.15)  # the upper lid overlaps the lower
    radius = np.hypot(margin[:, 1], margin[:, 2])
    angle = np.arcsin(closed / radius) - np.arcsin(margin[:, 1] / radius)
    amount = np.where(is_upper, upper, np.where(point > EYE_POINTS // 2, lower, 0.0))
    lift = _LID_LIFT * np.clip(amount, 0, 1) * is_upper

    moved = np.zeros_like(head.vertices)
    for ring, fraction in _LID_FRACTION.items():
        index = head.marks[ring]
        arm = head.vertices[index] - anatomy.EYE_CENTRE
        turned = _rotate(arm, 1, fraction * amount * angle)
        if ring != "lid_rim":
            turned[:, 1:] *= (1 + fraction * lift / np.hypot(turned[:, 1], turned[:, 2]))[:, None]
        moved[index] = turned - arm
    return moved


def _gaze(head: Head, axis: int, degrees: float) -> Array:
    """Rotation of the left eyeball. At coefficient 1 the sphere is kept exactly; in between it is slightly smaller."""
    moved = np.zeros_like(head.vertices)
    ball = head.marks["eyeball"]
    arm = head.vertices[ball] - anatomy.EYE_CENTRE
    moved[ball] = _rotate(arm, axis, np.radians(degrees)) - arm
    return moved


def _rotate(arm: Array, axis: int, angle: Array | float) -> Array:
    """Points (n, 3) rotated so that points in front (z > 0) move along ``axis`` (0 or 1)."""
    turned = arm.copy()
    turned[:, axis] = arm[:, axis] * np.cos(angle) + arm[:, 2] * np.sin(angle)
    turned[:, 2] = arm[:, 2] * np.cos(angle) - arm[:, axis] * np.sin(angle)
    return turned


def _open(points: Array) -> Array:
    arm = points - anatomy.JAW_AXIS
    return _rotate(arm, 1, -np.radians(JAW_OPEN_DEGREES)) - arm


def _sideways(points: Array) -> Array:
    arm = points - anatomy.JAW_AXIS
    return _rotate(arm, 0, np.radians(JAW_SIDE_DEGREES)) - arm + [JAW_SLIDE, 0, 0]


def _jaw(head: Head, rig: Rig, motion: Callable[[Array], Array]) -> Array:
    """Rigid motion of the jaw, weighted by ``JAW_WEIGHT`` on the skin and by 1 on the lower teeth."""
    weight = rig.weight(JAW_WEIGHT)
    weight[head.has("teeth_lower")] = 1.0
    return weight[:, None] * motion(head.vertices)


def _closing(rig: Rig, jaw_open: Array) -> Array:
    """mouthClose: added to jawOpen it brings the lips together; the lower lip moves most."""

    def opening(handle: str) -> Array:
        return jaw_open[rig.handles[handle][0]]

    table: Table = {}
    for up, low in (("up0", "low0"), ("up1", "low1"), ("up2", "low2")):
        for ring in ("border", "crest", "contact"):
            gap = opening(f"{low}.{ring}") - opening(f"{up}.{ring}")
            table |= {f"{low}.{ring}": tuple(-0.72 * gap), f"{up}.{ring}": tuple(0.28 * gap)}
    for name, fraction in (("mentolabial", -0.42), ("chin_side", -0.25), ("marionette", -0.3)):
        table[name] = tuple(fraction * opening(name))
    table["corner"] = tuple(-0.2 * opening("corner.border"))
    table |= {name: tuple(0.1 * opening("low0.border")) for name in ("philtrum", "lip_skin")}
    return rig.move_both(table)
