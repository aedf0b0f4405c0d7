"""The 51 ARKit shapes of the procedural face, each as its name says, at coefficient 1.

Lids and eyeballs turn about the eyes' centres, the jaw about its joints; everything else is a table of how far the
rig's handles move, mm: (x outwards on the left half, y up, z forward).
"""

from __future__ import annotations

import numpy as np

from jr2net.face.arkit import ARKIT_NAMES, mirrored_name
from jr2net.face.procedural import anatomy
from jr2net.face.procedural.mesh import Head
from jr2net.face.procedural.rig import Rig
from jr2net.face.procedural.skin import EYE_POINTS, Array, Index

JAW_OPEN_DEGREES = 15.0
EYE_DEGREES = {"Up": 25.0, "Down": 28.0, "In": 30.0, "Out": 30.0}

JAW_WEIGHT = {
    "low0": 1.0, "low1": 1.0, "low2": 0.86, "corner": 0.42, "up2": 0.08, "mentolabial": 1.0, "chin_boss": 1.0, "chin_side": 1.0,
    "menton": 1.0, "jaw_front": 1.0, "jaw_mid": 0.95, "jaw_back": 0.72, "gonion": 0.5, "under_chin": 0.85, "under_jaw": 0.75,
    "marionette": 0.78, "cheek_low": 0.28, "cheek_deep": 0.5, "fold_low": 0.24, "cheek_mid": 0.04, "cheek_side": 0.1, "neck": 0.2,
    "mouth_floor": 1.0,
}  # fmt: skip

# fmt: off
LEFT = {  # what the left half does in a Left shape; the lids' part is in LIDS
    "mouthSmileLeft": {
        "corner": (6.0, 8.5, -5.5), "up2": (4.2, 5.4, -4.0), "up1": (1.6, 1.8, -1.8), "up0": (0.3, 0.5, -0.8), "low2": (4.2, 4.4, -4.0),
        "low1": (1.8, 1.4, -1.8), "low0": (0.3, 0.3, -0.8), "fold_low": (5.0, 6.5, 1.0), "fold_mid": (3.0, 4.6, 1.8), "fold_upper": (1.4, 1.8, 0.8),
        "lip_skin": (2.2, 2.8, -1.5), "cheek_upper": (0.6, 3.4, 2.0), "cheek_mid": (2.4, 5.0, 3.2), "cheek_low": (3.0, 4.6, 0.6), "cheek_deep": (2.0, 2.5, -0.5),
        "cheek_outer": (0.5, 2.0, 1.2), "marionette": (3.2, 4.4, -2.5), "wing": (1.0, 0.8, -0.3), "wing_base": (0.8, 0.6, -0.3), "lid_fold_low": (0.0, 1.5, 0.6)},
    "mouthFrownLeft": {
        "corner": (1.0, -7.0, -1.0), "up2": (0.4, -3.8, -0.4), "up1": (0.0, -1.0, 0.2), "low2": (0.6, -4.4, 0.4), "low1": (0.2, -0.8, 0.6),
        "marionette": (0.8, -5.5, 0.2), "fold_low": (0.4, -4.2, -0.6), "fold_mid": (0.0, -1.6, 0.0), "lip_skin": (0, -1.5, 0), "chin_side": (0, -1.0, 0.8), "cheek_low": (0, -1.5, 0)},
    "mouthDimpleLeft": {
        "corner": (6.0, 0.8, -7.0), "up2": (3.6, 0.4, -3.2), "up1": (1.4, 0.0, -1.0), "low2": (3.6, 0.6, -3.2), "low1": (1.4, 0.0, -1.0), "fold_low": (2.8, 0.6, 1.6),
        "marionette": (3.0, 0.4, -0.5), "cheek_low": (2.0, 0.4, 2.0), "lip_skin": (1.2, 0.2, -0.8)},
    "mouthStretchLeft": {
        "corner": (8.0, -3.4, -6.5), "up2": (5.0, -1.6, -3.4), "up1": (2.0, -0.4, -1.2), "up0": (0.3, 0, -0.4), "low2": (5.0, -4.6, -3.0), "low1": (2.4, -3.4, -0.8), "low0": (0.4, -1.6, -0.2),
        "marionette": (6.0, -4.6, -3.5), "fold_low": (4.0, -2.2, -1.2), "lip_skin": (1.8, -0.4, -0.8), "cheek_low": (3.0, -1.2, 0.0), "chin_side": (1.6, -2.0, 0.0), "jaw_mid": (2.0, -1.8, 0.0), "cheek_deep": (2.5, -1.0, 0.5)},
    "mouthPressLeft": {
        "up0.border": (0, -0.6, -0.4), "up0.crest": (0, -1.2, -1.4), "up0.contact": (0, 0.0, -1.0), "up1.border": (0.2, -1.4, -1.0), "up1.crest": (0.2, -2.2, -3.4), "up1.contact": (0, 0.0, -2.4),
        "up2.border": (0.8, -1.4, -1.2), "up2.crest": (0.8, -1.2, -3.0), "up2.contact": (0.6, 0.0, -2.4), "corner": (1.6, 0.4, -2.0),
        "low0.border": (0, 0.9, -0.2), "low0.crest": (0, 0.9, -1.2), "low0.contact": (0, 0.0, -1.0), "low1.border": (0.2, 2.0, -0.8), "low1.crest": (0.2, 1.9, -3.2), "low1.contact": (0, 0.0, -2.4),
        "low2.border": (0.8, 1.8, -1.0), "low2.crest": (0.8, 1.0, -2.8), "low2.contact": (0.6, 0.0, -2.2), "marionette": (0.8, 0.6, 1.4), "fold_low": (0.6, 0, 1.2), "chin_side": (0, 1.2, 1.0), "mentolabial": (0, 0.8, 0.2)},
    "mouthLowerDownLeft": {
        "low1": (0.6, -7.0, 0.4), "low2": (2.0, -5.6, -0.8), "low0": (0.1, -3.8, 0.2), "corner": (0.8, -1.2, -0.6), "mentolabial": (0, -2.6, 1.2), "chin_side": (1.2, -3.0, 1.4), "marionette": (1.6, -3.4, 0.2)},
    "mouthUpperUpLeft": {
        "up1": (0.2, 6.0, 0.2), "up2": (1.0, 5.2, -0.4), "up0": (0.1, 3.2, 0.0), "corner": (0.6, 1.4, -0.4), "lip_skin": (0.6, 5.2, 0.8), "philtrum": (0, 2.0, 0.2), "fold_mid": (0.8, 4.2, 2.2), "fold_low": (1.0, 2.8, 1.4),
        "fold_upper": (0.4, 2.6, 1.6), "wing": (0.8, 1.6, 0.2), "wing_base": (0.6, 1.8, 0.2), "cheek_mid": (0.4, 2.0, 1.4), "cheek_inner": (0, 1.2, 0.8)},
    "cheekSquintLeft": {
        "cheek_upper": (0.2, 4.6, 2.2), "cheek_mid": (0.6, 3.8, 1.6), "cheek_outer": (0.4, 3.6, 1.4), "cheek_inner": (0, 3.2, 0.8), "lid_fold_low": (0, 3.4, 1.0), "fold_mid": (0.6, 2.2, 0.8), "fold_low": (0.6, 1.8, 0.2),
        "fold_upper": (0.2, 1.8, 0.8), "crow": (-0.8, 1.2, 0.6), "corner": (0.4, 0.8, 0)},
    "noseSneerLeft": {
        "wing": (1.2, 4.2, -0.6), "wing_base": (0.8, 3.4, 0.0), "nose_side": (-0.4, 2.6, 1.4), "fold_upper": (0, 3.8, 2.2), "fold_mid": (0.2, 3.0, 1.2), "up1": (0, 2.6, 0.2), "up2": (0.6, 2.2, 0.0), "up0": (0, 1.2, 0),
        "lip_skin": (0.2, 3.0, 0.4), "nose_tip": (0, 0.9, -0.4), "columella": (0, 0.6, 0), "brow_inner": (-0.8, -2.0, 0.6), "brow_centre": (0, -1.0, 0.6), "nose_root": (0, 0.6, 0.8), "cheek_inner": (0, 2.8, 1.4), "lid_fold_inner": (0, -0.8, 0.4)},
    "browDownLeft": {
        "brow_inner": (-2.6, -5.4, 1.2), "brow_mid": (-1.6, -5.0, 1.0), "brow_outer": (-0.6, -3.2, 0.6), "brow_centre": (0, -2.2, 1.0), "nose_root": (0, -0.6, 0.4), "lid_fold_inner": (-0.6, -2.6, 1.0), "lid_fold_mid": (-0.2, -2.8, 1.0),
        "lid_fold_outer": (0, -2.0, 0.6), "forehead_inner": (-0.6, -2.0, 0), "forehead_mid": (-0.2, -1.6, 0), "temple": (0, -0.6, 0)},
    "browOuterUpLeft": {
        "brow_outer": (0.4, 7.0, -1.4), "brow_mid": (0, 5.0, -0.4), "brow_inner": (0, 0.6, 0), "forehead_outer": (0, 3.6, -0.8), "forehead_mid": (0, 3.2, -0.4), "temple": (0, 2.2, -0.2), "lid_fold_outer": (0, 2.2, -0.2), "lid_fold_mid": (0, 1.6, 0.0)},
    "eyeSquintLeft": {"lid_fold_low": (0, 2.4, 1.0), "cheek_upper": (0, 1.4, 0.6), "crow": (-1.4, 0.2, 0.6), "lid_fold_mid": (0, -1.0, 0.4), "lid_fold_outer": (-0.3, -1.2, 0.4), "brow_outer": (0, -0.8, 0.2), "brow_mid": (0, -0.6, 0.2)},
    "eyeWideLeft": {"lid_fold_mid": (0, 1.2, -0.2), "lid_fold_outer": (0, 1.0, -0.2), "lid_fold_inner": (0, 0.8, 0), "brow_mid": (0, 0.8, 0), "brow_outer": (0, 0.6, 0)},
    "eyeBlinkLeft": {"lid_fold_mid": (0, -0.8, 0.0), "lid_fold_outer": (0, -0.6, 0), "lid_fold_inner": (0, -0.5, 0), "lid_fold_low": (0, 0.4, 0.1)},
    "eyeLookUpLeft": {"lid_fold_mid": (0, 0.5, 0)}, "eyeLookDownLeft": {"lid_fold_mid": (0, -0.5, 0)}, "eyeLookInLeft": {}, "eyeLookOutLeft": {},
}
BOTH = {  # what each half does in a symmetric shape
    "mouthFunnel": {
        "up0.border": (0, 2.4, 4.6), "up0.crest": (0, 3.8, 6.4), "up0.contact": (0, 5.4, 5.0), "up1.border": (-1.0, 2.2, 5.0), "up1.crest": (-1.2, 3.6, 6.8), "up1.contact": (-1.2, 5.0, 5.2),
        "up2.border": (-5.0, 0.6, 6.0), "up2.crest": (-5.4, 1.8, 7.2), "up2.contact": (-5.4, 3.0, 6.0), "corner": (-9.0, -0.4, 6.5),
        "low2.border": (-5.0, -1.0, 6.4), "low2.crest": (-5.4, -2.8, 7.4), "low2.contact": (-5.4, -4.2, 6.2), "low1.border": (-1.0, -3.0, 5.4), "low1.crest": (-1.2, -5.2, 7.0), "low1.contact": (-1.2, -7.0, 5.4),
        "low0.border": (0, -3.4, 5.0), "low0.crest": (0, -5.6, 6.6), "low0.contact": (0, -7.6, 5.2), "philtrum": (0, 1.0, 2.6), "lip_skin": (-1.8, 0.8, 3.4), "fold_low": (-4.4, -0.4, 3.2), "fold_mid": (-1.4, -0.6, 1.0),
        "marionette": (-4.6, -1.2, 4.0), "mentolabial": (0, -2.2, 2.4), "chin_side": (-0.6, -1.8, 0.8), "chin_boss": (0, -1.4, 0.4), "cheek_low": (-2.4, 0, -1.4), "cheek_mid": (-0.6, -0.6, -0.4), "columella": (0, -0.4, 0)},
    "mouthPucker": {
        "up0": (0, 0.4, 7.0), "up1": (-3.0, 0.4, 7.6), "up2": (-8.2, -0.6, 8.6), "corner": (-13.0, -0.2, 8.6), "low2": (-8.6, 0.4, 8.6), "low1": (-3.8, -0.3, 7.4), "low0": (0, -0.4, 6.8), "up0.contact": (0, 0, -1.0), "low0.contact": (0, 0, -1.0),
        "philtrum": (0, -0.4, 3.2), "lip_skin": (-3.2, -0.6, 4.4), "fold_low": (-6.2, -0.4, 4.2), "fold_mid": (-2.0, -1.0, 1.4), "marionette": (-7.0, 0.8, 4.4), "mentolabial": (0, 1.0, 2.6), "chin_side": (-1.2, 1.0, 0.8),
        "cheek_low": (-3.4, -0.2, -1.8), "cheek_mid": (-0.8, -0.8, -0.6), "wing": (-0.6, -0.6, 0), "wing_base": (-0.6, -0.6, 0.2), "columella": (0, -0.6, 0.2)},
    "mouthRollLower": {
        "low0.border": (0, 3.4, -2.6), "low0.crest": (0, 2.6, -7.6), "low0.contact": (0, -1.6, -6.4), "low1.border": (0, 3.2, -2.6), "low1.crest": (0, 2.4, -7.2), "low1.contact": (0, -1.6, -6.0),
        "low2.border": (0.2, 2.0, -1.8), "low2.crest": (0.2, 1.2, -4.0), "low2.contact": (0, -0.6, -3.2), "corner": (0.4, 0, -1.0), "mentolabial": (0, 1.8, 0.8), "chin_side": (0, 1.0, 0.6), "chin_boss": (0, 1.0, 0.4), "marionette": (0, 0.8, 0.2)},
    "mouthRollUpper": {
        "up0.border": (0, -4.2, -2.4), "up0.crest": (0, -2.6, -7.4), "up0.contact": (0, 1.2, -6.4), "up1.border": (0, -4.2, -2.4), "up1.crest": (0, -2.6, -7.2), "up1.contact": (0, 1.2, -6.0),
        "up2.border": (0.2, -2.6, -1.6), "up2.crest": (0.2, -1.4, -4.0), "up2.contact": (0, 0.6, -3.2), "corner": (0.4, 0, -1.0), "philtrum": (0, -1.6, 0.6), "lip_skin": (0, -1.8, 0.4)},
    "mouthShrugLower": {
        "low0": (0, 4.2, 2.8), "low1": (0, 4.0, 2.6), "low2": (0, 2.4, 1.2), "low0.border": (0, 0.6, 0.6), "low1.border": (0, 0.6, 0.6), "up0": (0, 2.2, 0.8), "up1": (0, 2.1, 0.8), "up2": (0, 1.0, 0.4), "corner": (-0.4, -0.6, 0.2),
        "mentolabial": (0, 4.2, 0.8), "chin_boss": (0, 4.6, 1.6), "chin_side": (0, 3.6, 1.2), "menton": (0, 2.4, 0.4), "jaw_front": (0, 1.0, 0), "marionette": (-0.4, 0.8, 0.4), "philtrum": (0, 0.8, 0.2)},
    "mouthShrugUpper": {
        "up0": (0, 4.0, 1.8), "up1": (0, 3.8, 1.8), "up2": (0, 2.0, 0.8), "up0.border": (0, 0, 0.8), "up1.border": (0, 0, 0.8), "philtrum": (0, 2.6, 0.6), "lip_skin": (0, 2.4, 0.4), "corner": (0, -0.4, 0), "columella": (0, 0.6, 0),
        "wing_base": (0, 0.4, 0), "fold_mid": (0, 0.8, 0.2)},
    "cheekPuff": {
        "cheek_low": (4.0, 0.4, 8.5), "cheek_deep": (6.0, 0, 5.0), "cheek_mid": (1.4, 1.4, 4.0), "fold_low": (2.4, 0.6, 7.5), "marionette": (2.6, -1.0, 6.0), "cheek_side": (2.6, 0, 1.4), "fold_mid": (0.6, 0.2, 2.2), "lip_skin": (0, 0.4, 3.4),
        "philtrum": (0, 0.4, 2.0), "mentolabial": (0, -0.4, 1.6), "chin_side": (0.4, -0.4, 1.6), "corner": (-1.0, 0, 2.6), "up0": (0, 0, 1.0), "up1": (0, 0, 1.2), "up2": (-0.4, 0, 1.8), "low0": (0, 0, 0.9), "low1": (0, 0, 1.1), "low2": (-0.4, 0, 1.8), "jaw_mid": (1.6, 0, 1.6)},
    "browInnerUp": {
        "brow_inner": (0.4, 8.0, -0.8), "brow_centre": (0, 6.0, -0.4), "brow_mid": (0.2, 3.6, -0.2), "brow_outer": (0, 0.2, 0), "forehead_centre": (0, 4.2, -1.4), "forehead_inner": (0, 4.6, -1.4), "forehead_mid": (0, 2.0, -0.6),
        "lid_fold_inner": (0, 2.4, -0.2), "lid_fold_mid": (0, 1.2, 0), "nose_root": (0, 1.0, 0)},
}
SIDEWAYS = (  # mouthLeft: the left half and the right half, both in model axes
    {"corner": (6.5, 0.8, -5.0), "up2": (6.8, 0.5, -3.8), "up1": (7.0, 0.2, -1.6), "up0": (7.2, 0, -0.4), "low2": (6.8, 0.4, -3.8), "low1": (7.0, 0, -1.6), "low0": (7.2, 0, -0.4), "philtrum": (3.6, 0, -0.2), "mentolabial": (4.4, 0, 0),
     "chin_boss": (1.4, 0, 0), "lip_skin": (4.6, 0.2, -1.6), "chin_side": (2.2, 0, -0.4), "marionette": (4.6, 0, -1.6), "fold_low": (4.0, 0.6, 1.4), "fold_mid": (1.8, 0.4, 0.8), "cheek_low": (2.0, 0.4, 1.6), "columella": (0.8, 0, 0), "nose_tip": (0.5, 0, 0)},
    {"corner": (6.8, -0.4, 4.6), "up2": (7.0, 0, 3.4), "up1": (7.2, 0, 1.6), "low2": (7.0, 0, 3.4), "low1": (7.2, 0, 1.6), "lip_skin": (4.6, 0, 1.8), "chin_side": (2.6, 0, 0.8), "marionette": (5.4, 0, 3.2), "fold_low": (4.8, -0.2, 2.4), "fold_mid": (2.0, 0, 0.8),
     "cheek_low": (2.6, 0, 0.6)},
)
LIDS = {  # how far the lids go: (upper, lower); 1 is closed, upper -1 as far open beyond neutral as neutral is from closed
    "eyeBlinkLeft": (1.0, 1.0), "eyeSquintLeft": (0.22, 2.6), "eyeWideLeft": (-0.30, -1.0), "eyeLookUpLeft": (-0.20, 0.3), "eyeLookDownLeft": (0.48, -1.0),
    "eyeLookInLeft": (0.0, 0.0), "eyeLookOutLeft": (0.0, 0.0), "mouthSmileLeft": (0.0, 0.7), "cheekSquintLeft": (0.06, 1.7),
}
# fmt: on
_LID_SHARE = {"lid_rim": 1.0, "lid_margin": 1.0, "lid_plate": 0.88, "lid_crease": 0.42, "lid_fold": 0.06}


def build_expressions(head: Head) -> Array:
    """(51, n, 3) displacements in the order of ``ARKIT_NAMES``."""
    rig = Rig(head)
    shapes = {name: rig.move(table) + _lids(head, *LIDS.get(name, (0.0, 0.0))) for name, table in LEFT.items()}
    for name in shapes:
        if name.startswith("eyeLook"):
            direction = name.removeprefix("eyeLook").removesuffix("Left")
            shapes[name] += _look(head, direction)
    shapes["mouthLeft"] = rig.move(*SIDEWAYS)
    shapes["jawLeft"] = _jaw(head, rig, _turn_left)
    symmetric = {name: rig.move(table, _mirrored(table)) for name, table in BOTH.items()}
    symmetric["jawOpen"] = _jaw(head, rig, _open) + rig.move(*_pair({"corner": (-2.0, 0, -1.0), "up1": (0, -0.4, -0.2), "cheek_low": (-1.0, 0, -0.5)}))
    symmetric["jawForward"] = _jaw(head, rig, lambda p: np.broadcast_to([0.0, -0.8, 6.5], p.shape))
    symmetric["mouthClose"] = _close_mouth(rig, symmetric["jawOpen"])
    flip = np.array([-1.0, 1.0, 1.0])
    for name, shape in symmetric.items():
        shapes[name] = 0.5 * (shape + shape[head.mirror] * flip)
    for name in list(shapes):
        shapes.setdefault(mirrored_name(name), shapes[name][head.mirror] * flip)
    return np.stack([shapes[name] for name in ARKIT_NAMES])


def _mirrored(table: dict[str, tuple]) -> dict[str, tuple]:
    """The same movement of the right half; handles on the mirror plane already moved with the left."""
    return {name: (-x, y, z) for name, (x, y, z) in table.items() if name.split(".")[0] not in _ON_PLANE}


_ON_PLANE = {"brow_centre", "forehead_centre", "nose_root", "nose_bridge", "nose_tip", "columella", "philtrum", "mentolabial", "chin_boss", "menton", "under_chin", "up0", "low0"}


def _pair(table: dict[str, tuple]) -> tuple[dict[str, tuple], dict[str, tuple]]:
    return table, _mirrored(table)


def _lids(head: Head, upper: float, lower: float) -> Array:
    """The left lids turned about the eye's centre: each ring by its share of the margin's way to the closed line."""
    moved = np.zeros_like(head.vertices)
    if upper == 0 and lower == 0:
        return moved
    margin = head.vertices[head.marks["lid_margin"]] - anatomy.EYE_CENTRE
    station = np.arange(EYE_POINTS)
    is_upper = (station > 0) & (station < EYE_POINTS // 2)
    is_lower = station > EYE_POINTS // 2
    outer, inner = margin[0], margin[EYE_POINTS // 2]
    along = np.clip((margin[:, 0] - inner[0]) / (outer[0] - inner[0]), 0, 1)
    closed = inner[1] + along * (outer[1] - inner[1]) - 2.9 * 4 * along * (1 - along) + np.where(is_upper, -0.35, 0.15)
    radius = np.hypot(margin[:, 1], margin[:, 2])
    way = np.arcsin(np.clip(closed / radius, -1, 1)) - np.arcsin(margin[:, 1] / radius)
    amount = np.where(is_upper, upper, np.where(is_lower, lower, 0.0))
    lift = 0.6 * np.clip(amount, 0, 1) * is_upper  # keeps half-way positions, which lie on the chord, off the eyeball
    for ring, share in _LID_SHARE.items():
        index = head.marks[ring]
        p = head.vertices[index] - anatomy.EYE_CENTRE
        turn = share * amount * way
        y = p[:, 1] * np.cos(turn) + p[:, 2] * np.sin(turn)
        z = p[:, 2] * np.cos(turn) - p[:, 1] * np.sin(turn)
        grow = 1 + share * lift / np.hypot(y, z) * (ring != "lid_rim")
        moved[index] = np.stack([np.zeros_like(y), y * grow - p[:, 1], z * grow - p[:, 2]], 1)
    return moved


def _look(head: Head, direction: str) -> Array:
    """The left eyeball turned; the displacement is the rotation's chord, so that the ball never grows."""
    moved = np.zeros_like(head.vertices)
    index = head.marks["eyeball"]
    p = head.vertices[index] - anatomy.EYE_CENTRE
    angle = np.radians(EYE_DEGREES[direction])
    across, sign = {"Up": (1, 1.0), "Down": (1, -1.0), "Out": (0, 1.0), "In": (0, -1.0)}[direction]
    turned = p.copy()
    turned[:, across] = p[:, across] * np.cos(angle) + sign * p[:, 2] * np.sin(angle)
    turned[:, 2] = p[:, 2] * np.cos(angle) - sign * p[:, across] * np.sin(angle)
    moved[index] = turned - p
    return moved


def _open(points: Array) -> Array:
    p = points - anatomy.JAW_AXIS
    a = np.radians(JAW_OPEN_DEGREES)
    return np.stack([np.zeros(len(p)), p[:, 1] * (np.cos(a) - 1) - p[:, 2] * np.sin(a), p[:, 2] * (np.cos(a) - 1) + p[:, 1] * np.sin(a)], 1)


def _turn_left(points: Array) -> Array:
    """The chin to the subject's left: a turn about a vertical axis between the joints, plus a slide."""
    p = points - anatomy.JAW_AXIS
    a = np.radians(4.0)
    return np.stack([p[:, 2] * np.sin(a) + 2.0 + 0 * p[:, 0], 0 * p[:, 0], -p[:, 0] * np.sin(a)], 1)


def _jaw(head: Head, rig: Rig, motion) -> Array:  # type: ignore[no-untyped-def]
    weight = rig.weight(JAW_WEIGHT)
    weight[head.has("teeth_lower")] = 1.0
    return weight[:, None] * motion(head.vertices)


def _close_mouth(rig: Rig, jaw_open: Array) -> Array:
    """Added to jawOpen it brings the lips together: the lower lip takes most of the way, the skin below follows."""
    table: dict[str, tuple] = {}
    for up, low in (("up0", "low0"), ("up1", "low1"), ("up2", "low2")):
        for ring in ("border", "crest", "contact"):
            gap = _at(rig, jaw_open, f"{low}.{ring}") - _at(rig, jaw_open, f"{up}.{ring}")
            table[f"{low}.{ring}"] = tuple(-0.72 * gap)
            table[f"{up}.{ring}"] = tuple(0.28 * gap)
    for name, share in (("mentolabial", -0.42), ("chin_side", -0.25), ("marionette", -0.3), ("corner", -0.2)):
        handle = "corner.border" if name == "corner" else name
        table[name] = tuple(share * _at(rig, jaw_open, handle))
    gap = _at(rig, jaw_open, "low0.border")
    table |= {"philtrum": tuple(0.10 * gap), "lip_skin": tuple(0.10 * gap)}
    return rig.move(*_pair(table))


def _at(rig: Rig, shape: Array, handle: str) -> Array:
    index: Index = rig.handles[handle]
    return shape[index[0]]
