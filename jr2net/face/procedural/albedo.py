"""The colours of the procedural face: a mean and 64 modes of reflectance.

Colours are RGB reflectances such that under light of irradiance 1 the picture looks like a photograph.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from jr2net.face.procedural import anatomy
from jr2net.face.procedural.mesh import Head
from jr2net.face.procedural.modes import interleaved, principal_modes, symmetrised
from jr2net.face.procedural.parts import IRIS_RADIUS, PUPIL_RADIUS
from jr2net.face.procedural.skin import Array, to_chart

SYMMETRIC, ASYMMETRIC = 54, 10

SKIN = np.array([0.66, 0.47, 0.39])
MEAN = {
    "skin": SKIN, "lips": (0.62, 0.34, 0.32), "mouth_socket": (0.20, 0.06, 0.06), "eye_socket": (0.58, 0.33, 0.29), "teeth_upper": (0.84, 0.81, 0.74),
    "teeth_lower": (0.82, 0.78, 0.70), "sclera": (0.82, 0.79, 0.77), "iris": (0.30, 0.20, 0.13), "pupil": (0.03, 0.03, 0.03),
}  # fmt: skip
GUM = np.array([0.62, 0.30, 0.29])
HAIR = np.array([0.20, 0.14, 0.11])

MELANIN = np.array([0.135, 0.120, 0.108])
BLOOD = np.array([0.020, -0.026, -0.022])
YELLOW = np.array([0.010, 0.004, -0.028])


def build_albedo(head: Head) -> tuple[Array, Array]:
    """Mean (n, 3) and basis (64, n, 3) of one standard deviation each."""
    weights = _regions(head)
    mean = np.stack([np.asarray(MEAN[label], float) for label in head.labels])
    mean = _blend(mean, weights["gum"], GUM)
    mean = _blend(mean, 0.86 * weights["nostril"], np.array([0.12, 0.06, 0.05]))
    mean = _blend(mean, 0.80 * weights["brow"], HAIR)
    mean = _blend(mean, 0.62 * weights["lash"], HAIR)
    mean += weights["cheek"][:, None] * (0.02, -0.03, -0.03) + weights["nose"][:, None] * (0.015, -0.02, -0.02)
    mean += weights["eye_shadow"][:, None] * (-0.05, -0.05, -0.035) + weights["beard"][:, None] * (-0.02, -0.01, -0.004)
    mean += weights["limbus"][:, None] * (-0.12, -0.08, -0.05) - weights["mouth_line"][:, None] * (0.26, 0.18, 0.17)

    flip = np.ones(3)
    named = _named_fields(head, weights)
    even, odd = symmetrised(_harmonics(head, weights["tone"]), head.mirror, flip)
    even = principal_modes(np.concatenate([named, even]), SYMMETRIC)
    odd = principal_modes(odd, ASYMMETRIC)
    even, odd = symmetrised(even, head.mirror, flip)[0], symmetrised(odd, head.mirror, flip)[1]
    return np.clip(0.5 * (mean + mean[head.mirror]), 0.0, 1.0), interleaved(even, odd)


def _blend(colour: Array, weight: Array, target: Array) -> Array:
    return colour + weight[:, None] * (target - colour)


def _regions(head: Head) -> dict[str, Array]:
    """Smooth symmetric masks (n,) in [0, 1]."""
    n = len(head.vertices)
    side = head.vertices * [1, 1, 1]
    side[:, 0] = np.abs(side[:, 0])
    skin = head.has("skin").astype(float)

    def spot(centre: tuple, reach: tuple) -> Array:
        return skin * np.exp(-0.5 * np.square((side - centre) / reach).sum(1))

    def marked(*names: str) -> Array:
        weight = np.zeros(n)
        for name in names:
            left = head.marks[name]
            weight[left] = weight[head.mirror[left]] = 1.0
        return weight

    regions = {
        "gum": marked("teeth_upper_gum", "teeth_lower_gum"),
        "nostril": marked("nostril_pit", "nostril_end") + 0.45 * marked("nostril"),
        "brow": _brow(side, 1.0) * skin, "brow_wide": _brow(side, 1.7) * skin,
        "cheek": spot((43, 4, 92), (15, 13, 30)), "nose": spot((0, 2, 126), (13, 9, 20)),
        "eye_shadow": spot((30, 24, 96), (13, 6, 20)) + 0.5 * spot((20, 40, 97), (7, 9, 14)),
        "beard": skin * _step(-(side[:, 1] + 8 - 0.32 * np.maximum(side[:, 0] - 18, 0)), 10) * _step(105 + side[:, 1] - 0.2 * side[:, 2], 12),
        "moustache": spot((9, -18.5, 112), (11, 3.6, 14)), "forehead": spot((0, 80, 92), (46, 17, 60)),
        "neck": skin * _step(-(side[:, 1] + 80), 6), "lips": head.has("lips").astype(float),
        "tone": np.where(head.has("skin"), 1.0, np.where(head.has("lips", "eye_socket"), 0.62, 0.0)),
        "sclera": head.has("sclera").astype(float), "iris": head.has("iris").astype(float),
        "teeth": head.has("teeth_upper", "teeth_lower") * (1 - marked("teeth_upper_gum", "teeth_lower_gum")),
        "mouth_line": 0.75 * marked("lip_contact") * head.has("lips"),
    }  # fmt: skip
    upper = np.zeros(n)
    margin = head.marks["lid_margin"]
    upper[margin[1:12]] = 1.0
    upper[head.marks["lid_rim"][1:12]] = 1.0
    upper[margin[13:24]] = 0.3
    regions["lash"] = np.maximum(upper, upper[head.mirror])
    offset = np.hypot(*(side - anatomy.EYE_CENTRE)[:, :2].T)
    regions["limbus"] = regions["iris"] * _step(offset - 0.5 * (IRIS_RADIUS + PUPIL_RADIUS) - 1.0, 0.6)
    regions["tone"] = regions["tone"] * (1 - 0.75 * regions["brow"]) * (1 - 0.8 * np.minimum(regions["nostril"], 1.0)) * (1 - 0.6 * regions["lash"])
    return regions


def _brow(side: Array, thicker: float) -> Array:
    """Weight of the brow's hair: 1 on its middle line, falling off over its thickness."""
    fine = np.linspace(0, len(anatomy.BROW) - 1, 60)
    at = np.arange(len(anatomy.BROW))
    line = np.stack([np.interp(fine, at, anatomy.BROW[:, k]) for k in (0, 1)], 1)
    thickness = thicker * np.interp(fine, at, anatomy.BROW_THICKNESS)
    distance, nearest = cKDTree(line).query(side[:, :2])
    return np.exp(-np.power(distance / thickness[nearest], 4.0)) * _step(side[:, 2] - 60, 6)


def _step(x: Array, width: float) -> Array:
    """0 below -width, 1 above width, smooth in between."""
    t = np.clip(0.5 + 0.5 * x / width, 0, 1)
    return t * t * (3 - 2 * t)


def _named_fields(head: Head, w: dict[str, Array]) -> Array:
    """What colours of faces are known to do, one standard deviation each."""
    grey = np.ones(3)
    table = [
        (w["tone"], MELANIN), (w["tone"], BLOOD), (w["tone"], YELLOW),
        (w["sclera"] + w["teeth"], 0.03 * grey), (w["teeth"], np.array([0.01, 0.0, -0.03])),
        (w["brow"], np.array([0.10, 0.08, 0.06])), (w["brow_wide"] - w["brow"], np.array([-0.10, -0.08, -0.06])),
        (w["lips"], np.array([0.02, -0.055, -0.045])), (w["lips"], np.array([0.055, 0.05, 0.045])), (w["lips"], np.array([0.04, -0.01, 0.02])),
        (w["cheek"], np.array([0.012, -0.035, -0.030])), (w["nose"], np.array([0.012, -0.03, -0.026])),
        (w["beard"], np.array([-0.060, -0.046, -0.036])), (w["moustache"] + 0.5 * w["beard"], np.array([-0.075, -0.055, -0.044])),
        (w["eye_shadow"], np.array([-0.04, -0.036, -0.026])), (w["forehead"], np.array([0.025, 0.022, 0.020])),
        (w["neck"], np.array([-0.03, -0.028, -0.024])), (w["lash"], np.array([-0.07, -0.06, -0.05])),
        (w["iris"], np.array([0.05, 0.06, 0.06])), (w["iris"], np.array([-0.05, 0.01, 0.08])), (w["iris"], np.array([0.02, 0.04, 0.0])),
    ]  # fmt: skip
    fields = np.stack([weight[:, None] * colour for weight, colour in table])
    return 0.5 * (fields + fields[:, head.mirror])


def _harmonics(head: Head, tone: Array) -> Array:
    """Low frequencies over the face, in the colours of skin, fading with frequency."""
    u, v = (to_chart(head.vertices) / 130.0).T
    fields = []
    for i in range(6):
        for j in range(7):
            frequency = np.hypot(i, j)
            if 0 < frequency <= 6:
                for phase in ((0.0, np.pi / 2) if i else (0.0,)):
                    wave = np.cos(0.5 * np.pi * i * u + phase) * np.cos(0.5 * np.pi * j * (v + 1))
                    size = 0.30 / (1 + frequency)
                    fields += [size * (tone * wave)[:, None] * colour for colour in (MELANIN, 1.2 * BLOOD)]
    return np.stack(fields)
