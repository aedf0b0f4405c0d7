"""Displacement in mm of each handle of the rig in each ARKit shape at coefficient 1.

Vectors are (x outwards on the left half, y up, z forward). The name of a lip column stands for its three rings.
"""

from __future__ import annotations

Vector = tuple[float, float, float]
Table = dict[str, Vector]

# fmt: off
JAW_WEIGHT = {  # fraction of the jaw's motion at each handle
    "low0": 1.0, "low1": 1.0, "low2": 0.86, "corner": 0.42, "up2": 0.08, "mentolabial": 1.0, "chin_boss": 1.0,
    "chin_side": 1.0, "menton": 1.0, "jaw_front": 1.0, "jaw_mid": 0.95, "jaw_back": 0.72, "gonion": 0.5,
    "under_chin": 0.85, "under_jaw": 0.75, "marionette": 0.78, "cheek_low": 0.28, "cheek_deep": 0.5, "fold_low": 0.24,
    "cheek_mid": 0.04, "cheek_side": 0.1, "neck": 0.2, "mouth_floor": 1.0,
}
LEFT: dict[str, Table] = {  # displacements on the left half in a Left shape
    "mouthSmileLeft": {
        "corner": (6.0, 8.5, -5.5), "up2": (4.2, 5.4, -4.0), "up2.contact": (0, -0.9, 0), "up1.contact": (0, -0.4, 0),
        "up1": (1.6, 1.8, -1.8), "up0": (0.3, 0.5, -0.8), "low2": (4.2, 4.4, -4.0), "low1": (1.8, 1.4, -1.8),
        "low0": (0.3, 0.3, -0.8), "fold_low": (5.0, 6.5, 1.0), "fold_mid": (3.0, 4.6, 1.8),
        "fold_upper": (1.4, 1.8, 0.8), "lip_skin": (2.2, 2.8, -1.5), "cheek_upper": (0.6, 3.4, 2.0),
        "cheek_mid": (2.4, 5.0, 3.2), "cheek_low": (3.0, 4.6, 0.6), "cheek_deep": (2.0, 2.5, -0.5),
        "cheek_outer": (0.5, 2.0, 1.2), "marionette": (3.2, 4.4, -2.5), "wing": (1.0, 0.8, -0.3),
        "wing_base": (0.8, 0.6, -0.3), "lid_fold_low": (0.0, 1.5, 0.6)},
    "mouthFrownLeft": {
        "corner": (1.0, -7.0, -1.0), "up2": (0.4, -3.8, -0.4), "up1": (0.0, -1.0, 0.2), "low2": (0.6, -4.4, 0.4),
        "low1": (0.2, -0.8, 0.6), "marionette": (0.8, -5.5, 0.2), "fold_low": (0.4, -4.2, -0.6),
        "fold_mid": (0.0, -1.6, 0.0), "lip_skin": (0, -1.5, 0), "chin_side": (0, -1.0, 0.8),
        "cheek_low": (0, -1.5, 0)},
    "mouthDimpleLeft": {
        "corner": (6.0, 0.8, -7.0), "up2": (3.6, 0.4, -3.2), "up1": (1.4, 0.0, -1.0), "low2": (3.6, 0.6, -3.2),
        "low1": (1.4, 0.0, -1.0), "fold_low": (2.8, 0.6, 1.6), "marionette": (3.0, 0.4, -0.5),
        "cheek_low": (2.0, 0.4, 2.0), "lip_skin": (1.2, 0.2, -0.8)},
    "mouthStretchLeft": {
        "corner": (8.0, -3.4, -6.5), "up2": (5.0, -1.6, -3.4), "up1": (2.0, -0.4, -1.2), "up0": (0.3, 0, -0.4),
        "low2": (5.0, -4.6, -3.0), "low1": (2.4, -3.4, -0.8), "low0": (0.4, -1.6, -0.2),
        "marionette": (6.0, -4.6, -3.5), "fold_low": (4.0, -2.2, -1.2), "lip_skin": (1.8, -0.4, -0.8),
        "cheek_low": (3.0, -1.2, 0.0), "chin_side": (1.6, -2.0, 0.0), "jaw_mid": (2.0, -1.8, 0.0),
        "cheek_deep": (2.5, -1.0, 0.5)},
    "mouthPressLeft": {
        "up0.border": (0, -0.6, -0.4), "up0.crest": (0, -1.2, -1.4), "up0.contact": (0, 0.0, -1.0),
        "up1.border": (0.2, -1.4, -1.0), "up1.crest": (0.2, -2.2, -3.4), "up1.contact": (0, 0.0, -2.4),
        "up2.border": (0.8, -1.4, -1.2), "up2.crest": (0.8, -1.2, -3.0), "up2.contact": (0.6, 0.0, -2.4),
        "corner": (1.6, 0.4, -2.0), "low0.border": (0, 0.9, -0.2), "low0.crest": (0, 0.9, -1.2),
        "low0.contact": (0, 0.0, -1.0), "low1.border": (0.2, 2.0, -0.8), "low1.crest": (0.2, 1.9, -3.2),
        "low1.contact": (0, 0.0, -2.4), "low2.border": (0.8, 1.8, -1.0), "low2.crest": (0.8, 1.0, -2.8),
        "low2.contact": (0.6, 0.0, -2.2), "marionette": (0.8, 0.6, 1.4), "fold_low": (0.6, 0, 1.2),
        "chin_side": (0, 1.2, 1.0), "mentolabial": (0, 0.8, 0.2)},
    "mouthLowerDownLeft": {
        "low1": (0.6, -7.0, 0.4), "low2": (2.0, -5.6, -0.8), "low0": (0.1, -3.8, 0.2), "corner": (0.8, -1.2, -0.6),
        "mentolabial": (0, -2.6, 1.2), "chin_side": (1.2, -3.0, 1.4), "marionette": (1.6, -3.4, 0.2)},
    "mouthUpperUpLeft": {
        "up1": (0.2, 6.0, 0.2), "up2": (1.0, 5.2, -0.4), "up0": (0.1, 3.2, 0.0), "corner": (0.6, 1.4, -0.4),
        "lip_skin": (0.6, 5.2, 0.8), "philtrum": (0, 2.0, 0.2), "fold_mid": (0.8, 4.2, 2.2),
        "fold_low": (1.0, 2.8, 1.4), "fold_upper": (0.4, 2.6, 1.6), "wing": (0.8, 1.6, 0.2),
        "wing_base": (0.6, 1.8, 0.2), "cheek_mid": (0.4, 2.0, 1.4), "cheek_inner": (0, 1.2, 0.8)},
    "cheekSquintLeft": {
        "cheek_upper": (0.2, 5.4, 2.8), "cheek_mid": (0.6, 4.4, 2.2), "cheek_outer": (0.4, 4.4, 1.8),
        "cheek_inner": (0, 3.2, 0.8), "lid_fold_low": (0, 3.4, 1.0), "fold_mid": (0.6, 2.2, 0.8),
        "fold_low": (0.6, 1.8, 0.2), "fold_upper": (0.2, 1.8, 0.8), "crow": (-0.8, 1.2, 0.6), "corner": (0.4, 0.8, 0)},
    "noseSneerLeft": {
        "wing": (1.6, 4.8, -0.6), "wing_base": (1.2, 3.8, 0.0), "nose_side": (-0.6, 3.2, 1.8),
        "fold_upper": (0, 4.4, 2.8), "fold_mid": (0.2, 3.0, 1.6), "up1": (0, 1.7, 0.2), "up2": (0.6, 1.5, 0.0),
        "up0": (0, 0.8, 0), "lip_skin": (0.2, 3.0, 0.4), "nose_tip": (0, 0.9, -0.4), "columella": (0, 0.6, 0),
        "brow_inner": (-0.8, -2.0, 0.6), "brow_centre": (0, -1.0, 0.6), "nose_root": (0, 0.6, 0.8),
        "cheek_inner": (0, 2.8, 1.4), "lid_fold_inner": (0, -0.8, 0.4)},
    "browDownLeft": {
        "brow_inner": (-2.6, -5.4, 1.2), "brow_mid": (-1.6, -5.0, 1.0), "brow_outer": (-0.6, -3.2, 0.6),
        "brow_centre": (0, -2.2, 1.0), "nose_root": (0, -0.6, 0.4), "lid_fold_inner": (-0.6, -2.6, 1.0),
        "lid_fold_mid": (-0.2, -2.8, 1.0), "lid_fold_outer": (0, -2.0, 0.6), "forehead_inner": (-0.6, -2.0, 0),
        "forehead_mid": (-0.2, -1.6, 0), "temple": (0, -0.6, 0)},
    "browOuterUpLeft": {
        "brow_outer": (0.4, 7.0, -1.4), "brow_mid": (0, 5.0, -0.4), "brow_inner": (0, 0.6, 0),
        "forehead_outer": (0, 3.6, -0.8), "forehead_mid": (0, 3.2, -0.4), "temple": (0, 2.2, -0.2),
        "lid_fold_outer": (0, 2.2, -0.2), "lid_fold_mid": (0, 1.6, 0.0)},
    "eyeSquintLeft": { "lid_fold_low": (0, 2.4, 1.0), "cheek_upper": (0, 1.4, 0.6), "crow": (-1.4, 0.2, 0.6),
    "lid_fold_mid": (0, -1.0, 0.4), "lid_fold_outer": (-0.3, -1.2, 0.4), "brow_outer": (0, -0.8, 0.2),
    "brow_mid": (0, -0.6, 0.2)},
    "eyeWideLeft": { "lid_fold_mid": (0, 1.2, -0.2), "lid_fold_outer": (0, 1.0, -0.2), "lid_fold_inner": (0, 0.8, 0),
    "brow_mid": (0, 0.8, 0), "brow_outer": (0, 0.6, 0)},
    "eyeBlinkLeft": { "lid_fold_mid": (0, -0.8, 0.0), "lid_fold_outer": (0, -0.6, 0), "lid_fold_inner": (0, -0.5, 0),
    "lid_fold_low": (0, 0.4, 0.1)},
    "eyeLookUpLeft": { "lid_fold_mid": (0, 0.5, 0)}, "eyeLookDownLeft": { "lid_fold_mid": (0, -0.5, 0)},
    "eyeLookInLeft": {}, "eyeLookOutLeft": {},
}
BOTH: dict[str, Table] = {  # displacements on both halves in a symmetric shape (jawOpen: besides the jaw's rotation)
    "jawOpen": {"corner": (-2.0, 0, -1.0), "up1": (0, -0.4, -0.2), "cheek_low": (-1.0, 0, -0.5)},
    "mouthFunnel": {
        "up0.border": (0, 2.4, 4.6), "up0.crest": (0, 3.8, 6.4), "up0.contact": (0, 5.4, 5.0),
        "up1.border": (-1.0, 2.2, 5.0), "up1.crest": (-1.2, 3.6, 6.8), "up1.contact": (-1.2, 5.0, 5.2),
        "up2.border": (-5.0, 0.6, 6.0), "up2.crest": (-5.4, 1.8, 7.2), "up2.contact": (-5.4, 3.0, 6.0),
        "corner": (-9.0, -0.4, 6.5), "low2.border": (-5.0, -1.0, 6.4), "low2.crest": (-5.4, -2.8, 7.4),
        "low2.contact": (-5.4, -4.2, 6.2), "low1.border": (-1.0, -3.0, 5.4), "low1.crest": (-1.2, -5.2, 7.0),
        "low1.contact": (-1.2, -7.0, 5.4), "low0.border": (0, -3.4, 5.0), "low0.crest": (0, -5.6, 6.6),
        "low0.contact": (0, -7.6, 5.2), "philtrum": (0, 1.0, 2.6), "lip_skin": (-1.8, 0.8, 3.4),
        "fold_low": (-4.4, -0.4, 3.2), "fold_mid": (-1.4, -0.6, 1.0), "marionette": (-4.6, -1.2, 4.0),
        "mentolabial": (0, -2.2, 2.4), "chin_side": (-0.6, -1.8, 0.8), "chin_boss": (0, -1.4, 0.4),
        "cheek_low": (-2.4, 0, -1.4), "cheek_mid": (-0.6, -0.6, -0.4), "columella": (0, -0.4, 0)},
    "mouthPucker": {
        "up0": (0, 0.4, 7.0), "up1": (-3.0, 0.4, 7.6), "up2": (-8.2, -0.6, 8.6), "corner": (-13.0, -0.2, 8.6),
        "low2": (-8.6, 0.4, 8.6), "low1": (-3.8, -0.3, 7.4), "low0": (0, -0.4, 6.8), "up0.contact": (0, 0, -1.0),
        "low0.contact": (0, 0, -1.0), "philtrum": (0, -0.4, 3.2), "lip_skin": (-3.2, -0.6, 4.4),
        "fold_low": (-6.2, -0.4, 4.2), "fold_mid": (-2.0, -1.0, 1.4), "marionette": (-7.0, 0.8, 4.4),
        "mentolabial": (0, 1.0, 2.6), "chin_side": (-1.2, 1.0, 0.8), "cheek_low": (-3.4, -0.2, -1.8),
        "cheek_mid": (-0.8, -0.8, -0.6), "wing": (-0.6, -0.6, 0), "wing_base": (-0.6, -0.6, 0.2),
        "columella": (0, -0.6, 0.2)},
    "mouthRollLower": {
        "low0.border": (0, 5.2, -3.4), "low0.crest": (0, 3.6, -6.0), "low0.contact": (0, 0.4, -4.6),
        "low1.border": (0, 4.8, -3.2), "low1.crest": (0, 3.4, -5.8), "low1.contact": (0, 0.4, -4.4),
        "low2.border": (0.2, 3.0, -2.0), "low2.crest": (0.2, 1.8, -3.6), "low2.contact": (0, 0.2, -2.8),
        "corner": (0.4, 0, -1.0), "mentolabial": (0, 2.4, 0.6), "chin_side": (0, 1.4, 0.6), "chin_boss": (0, 1.4, 0.4),
        "marionette": (0, 1.0, 0.2)},
    "mouthRollUpper": {
        "up0.border": (0, -5.4, -3.2), "up0.crest": (0, -3.4, -6.0), "up0.contact": (0, -0.6, -4.6),
        "up1.border": (0, -5.4, -3.0), "up1.crest": (0, -3.4, -5.8), "up1.contact": (0, -0.6, -4.4),
        "up2.border": (0.2, -3.4, -1.8), "up2.crest": (0.2, -2.0, -3.6), "up2.contact": (0, -0.2, -2.8),
        "corner": (0.4, 0, -1.0), "philtrum": (0, -2.2, 0.4), "lip_skin": (0, -2.4, 0.2)},
    "mouthShrugLower": {
        "low0": (0, 4.2, 2.8), "low1": (0, 4.0, 2.6), "low2": (0, 2.4, 1.2), "low0.border": (0, 0.6, 0.6),
        "low1.border": (0, 0.6, 0.6), "up0": (0, 2.2, 0.8), "up1": (0, 2.1, 0.8), "up2": (0, 1.0, 0.4),
        "corner": (-0.4, -0.6, 0.2), "mentolabial": (0, 4.2, 0.8), "chin_boss": (0, 4.6, 1.6),
        "chin_side": (0, 3.6, 1.2), "menton": (0, 2.4, 0.4), "jaw_front": (0, 1.0, 0), "marionette": (-0.4, 0.8, 0.4),
        "philtrum": (0, 0.8, 0.2)},
    "mouthShrugUpper": {
        "up0": (0, 3.6, 3.2), "up1": (0, 3.4, 3.2), "up2": (0, 1.8, 1.6), "low0": (0, 1.2, 1.0), "low1": (0, 1.1, 1.0),
        "low2": (0, 0.6, 0.5), "philtrum": (0, 2.6, 0.8), "lip_skin": (0, 2.4, 0.4), "corner": (0, -0.4, 0),
        "columella": (0, 0.6, 0), "wing_base": (0, 0.4, 0), "fold_mid": (0, 0.8, 0.2)},
    "cheekPuff": {
        "cheek_low": (8.0, 0.4, 9.5), "cheek_deep": (10.5, 0, 5.5), "cheek_mid": (4.0, 1.4, 5.6),
        "fold_low": (2.6, 0.4, 7.0), "marionette": (2.4, -0.8, 5.2), "cheek_side": (5.0, 0, 1.4),
        "fold_mid": (0.6, 0.2, 2.2), "lip_skin": (0, 0.4, 3.4), "philtrum": (0, 0.4, 2.0),
        "mentolabial": (0, -0.4, 1.6), "chin_side": (0.4, -0.4, 1.6), "corner": (-0.6, 0, 3.0), "up0": (0, 0, 1.0),
        "up1": (0, 0, 1.2), "up2": (-0.4, 0, 2.0), "low0": (0, 0, 0.9), "low1": (0, 0, 1.1), "low2": (-0.4, 0, 2.0),
        "jaw_mid": (4.0, 0, 2.0), "jaw_back": (3.0, 0, 0.5)},
    "browInnerUp": {
        "brow_inner": (0.4, 8.0, -0.8), "brow_centre": (0, 6.0, -0.4), "brow_mid": (0.2, 3.6, -0.2),
        "brow_outer": (0, 0.2, 0), "forehead_centre": (0, 4.2, -1.4), "forehead_inner": (0, 4.6, -1.4),
        "forehead_mid": (0, 2.0, -0.6), "lid_fold_inner": (0, 2.4, -0.2), "lid_fold_mid": (0, 1.2, 0),
        "nose_root": (0, 1.0, 0)},
}
SIDEWAYS: tuple[Table, Table] = (  # mouthLeft: displacements on the left and on the right half, both in model axes
    {
        "corner": (6.5, 0.8, -5.0), "up2": (6.8, 0.5, -3.8), "up1": (7.0, 0.2, -1.6), "up0": (7.2, 0, -0.4),
        "low2": (6.8, 0.4, -3.8), "low1": (7.0, 0, -1.6), "low0": (7.2, 0, -0.4), "philtrum": (3.6, 0, -0.2),
        "mentolabial": (4.4, 0, 0), "chin_boss": (1.4, 0, 0), "lip_skin": (4.6, 0.2, -1.6), "chin_side": (2.2, 0, -0.4),
        "marionette": (4.6, 0, -1.6), "fold_low": (4.0, 0.6, 1.4), "fold_mid": (1.8, 0.4, 0.8),
        "cheek_low": (2.0, 0.4, 1.6), "columella": (0.8, 0, 0), "nose_tip": (0.5, 0, 0)},
    {
        "corner": (6.8, -0.4, 4.6), "up2": (7.0, 0, 3.4), "up1": (7.2, 0, 1.6), "low2": (7.0, 0, 3.4),
        "low1": (7.2, 0, 1.6), "lip_skin": (4.6, 0, 1.8), "chin_side": (2.6, 0, 0.8), "marionette": (5.4, 0, 3.2),
        "fold_low": (4.8, -0.2, 2.4), "fold_mid": (2.0, 0, 0.8), "cheek_low": (2.6, 0, 0.6)},
)
LIDS = {  # fraction by which the (upper, lower) lid closes; negative opens wider, above 1 moves past the closed line
    "eyeBlinkLeft": (1.0, 1.0), "eyeSquintLeft": (0.22, 2.6), "eyeWideLeft": (-0.30, -1.0),
    "eyeLookUpLeft": (-0.20, 0.3), "eyeLookDownLeft": (0.38, -1.0), "mouthSmileLeft": (0.0, 0.7),
    "cheekSquintLeft": (0.08, 2.0),
}
# fmt: on
