"""Albedo of the procedural face: a mean and 64 modes of reflectance.

RGB reflectances, scaled so that a rendering under light of irradiance 1 looks like a photograph.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from jr2net.face.procedural import anatomy
from jr2net.face.procedural.half import Array
from jr2net.face.procedural.mesh import Head
from jr2net.face.procedural.modes import principal_modes, sort_by_variance, split_by_symmetry
from jr2net.face.procedural.parts import IRIS_RADIUS, PUPIL_RADIUS
from jr2net.face.procedural.surface import EYE_POINTS, to_chart

SYMMETRIC, ASYMMETRIC = 54, 10

SKIN = np.array([0.66, 0.47, 0.39])
MEAN = {
    "skin": SKIN,
    "lips": (0.62, 0.34, 0.32),
    "mouth_socket": (0.20, 0.06, 0.06),
    "eye_socket": (0.58, 0.33, 0.29),
    "teeth_upper": (0.80, 0.77, 0.70),
    "teeth_lower": (0.77, 0.73, 0.66),
    "sclera": (0.82, 0.79, 0.77),
    "iris": (0.30, 0.20, 0.13),
    "pupil": (0.03, 0.03, 0.03),
}
PAINT = (  # region, opacity, colour; painted in this order
    ("lip_edge", 0.5, SKIN),
    ("gum", 1.0, (0.62, 0.30, 0.29)),
    ("nostril", 0.95, (0.11, 0.055, 0.045)),
    ("brow", 0.80, (0.20, 0.14, 0.11)),
    ("lash", 0.62, (0.20, 0.14, 0.11)),
    ("tongue", 0.8, (0.52, 0.24, 0.23)),
    ("lip_contact", 0.6, (0.28, 0.12, 0.11)),
)
TINT = {
    "far_teeth": (-0.30, -0.30, -0.28),
    "far_sclera": (-0.16, -0.19, -0.19),
    "cheek": (0.015, -0.02, -0.02),
    "nose": (0.015, -0.02, -0.02),
    "eye_shadow": (-0.05, -0.05, -0.035),
    "beard": (-0.02, -0.01, -0.004),
    "limbus": (-0.12, -0.08, -0.05),
}

MELANIN = np.array([0.135, 0.120, 0.108])
BLOOD = np.array([0.012, -0.016, -0.013])
YELLOW = np.array([0.008, 0.004, -0.018])


def build_albedo(head: Head) -> tuple[Array, Array]:
    """Mean (n, 3) and basis (64, n, 3), one standard deviation each."""
    weights = _regions(head)
    mean = np.stack([np.array(MEAN[label], float) for label in head.labels])
    for region, opacity, colour in PAINT:
        mean += opacity * weights[region][:, None] * (np.array(colour) - mean)
    for region, change in TINT.items():
        mean += weights[region][:, None] * np.array(change)

    flip = np.ones(3)
    named = _named_fields(head, weights)
    even, odd = split_by_symmetry(_harmonics(head, weights["tone"]), head.mirror, flip)
    even = principal_modes(np.concatenate([named, even]), SYMMETRIC)
    odd = principal_modes(odd, ASYMMETRIC)
    even, odd = split_by_symmetry(even, head.mirror, flip)[0], split_by_symmetry(odd, head.mirror, flip)[1]
    return np.clip(mean, 0.0, 1.0), sort_by_variance(even, odd)


def _regions(head: Head) -> dict[str, Array]:
    """Smooth symmetric weights (n,) of the regions, in [0, 1]."""
    side = np.stack([np.abs(head.vertices[:, 0]), *head.vertices[:, 1:].T], 1)
    x, y, z = side.T
    skin = head.has("skin").astype(float)

    def spot(centre: tuple[float, float, float], radius: tuple[float, float, float]) -> Array:
        return skin * np.exp(-0.5 * np.square((side - centre) / radius).sum(1))

    def marked(*names: str, part: slice = slice(None)) -> Array:
        weight = np.zeros(len(side))
        for name in names:
            left = head.marks[name][part]
            weight[left] = weight[head.mirror[left]] = 1.0
        return weight

    upper, lower = slice(1, EYE_POINTS // 2), slice(EYE_POINTS // 2 + 1, None)
    brow, lash = _brow(side, 1.0) * skin, marked("lid_margin", part=upper)
    lash += 0.6 * marked("lid_rim", part=upper) + 0.3 * marked("lid_margin", part=lower)
    nostril = marked("nostril_pit", "nostril_end") + 0.75 * marked("nostril")
    gum = marked("teeth_upper_gum", "teeth_lower_gum")
    jaw = _step(-(y + 8 - 0.32 * np.maximum(x - 18, 0)), 10) * _step(105 + y - 0.2 * z, 12)
    from_axis = np.hypot(*(side - anatomy.EYE_CENTRE)[:, :2].T)
    tone = np.where(head.has("skin"), 1.0, np.where(head.has("lips", "eye_socket"), 0.62, 0.0))
    return {
        "tone": tone * (1 - 0.75 * brow) * (1 - 0.8 * nostril) * (1 - 0.6 * lash),
        "brow": brow,
        "brow_edge": _brow(side, 1.7) * skin - brow,
        "lash": lash,
        "nostril": nostril,
        "lips": head.has("lips") * (1 - 0.5 * marked("lip_border")),
        "lip_edge": marked("lip_border"),
        "lip_contact": marked("lip_contact"),
        "cheek": spot((43, 4, 92), (15, 13, 30)),
        "nose": spot((0, 2, 126), (13, 9, 20)),
        "eye_shadow": spot((30, 24, 96), (13, 6, 20)) + 0.5 * spot((20, 40, 97), (7, 9, 14)),
        "forehead": spot((0, 80, 92), (46, 17, 60)),
        "beard": skin * jaw,
        "moustache": spot((9, -18.5, 112), (11, 3.6, 14)),
        "neck": skin * _step(-(y + 80), 6),
        "gum": gum,
        "tongue": marked("mouth_middle", part=slice(14, None)),
        "teeth": head.has("teeth_upper", "teeth_lower") * (1 - gum),
        "far_teeth": head.has("teeth_upper", "teeth_lower") * _step(93 - z, 10),
        "far_sclera": head.has("sclera") * _step(from_axis - 10.5, 4),
        "sclera": head.has("sclera").astype(float),
        "iris": head.has("iris").astype(float),
        "limbus": head.has("iris") * _step(from_axis - 0.5 * (IRIS_RADIUS + PUPIL_RADIUS) - 1.0, 0.6),
    }


def _brow(side: Array, thickness_scale: float) -> Array:
    """Weight of brow hair: 1 on the centre line of the brow, falling off over its thickness."""
    fine = np.linspace(0, len(anatomy.BROW) - 1, 60)
    index = np.arange(len(anatomy.BROW))
    line = np.stack([np.interp(fine, index, anatomy.BROW[:, k]) for k in (0, 1)], 1)
    thickness = thickness_scale * np.interp(fine, index, anatomy.BROW_THICKNESS)
    distance, nearest = cKDTree(line).query(side[:, :2])
    return np.exp(-np.power(distance / thickness[nearest], 3.0)) * _step(side[:, 2] - 60, 6)


def _step(x: Array, width: float) -> Array:
    """Smoothstep: 0 below -width, 1 above width."""
    t = np.clip(0.5 + 0.5 * x / width, 0, 1)
    return t * t * (3 - 2 * t)


def _named_fields(head: Head, w: dict[str, Array]) -> Array:
    """Hand-made modes of colour variation, one standard deviation each: skin tone, brows, lips, beard, iris, …"""
    table = [
        (w["tone"], MELANIN),
        (w["tone"], BLOOD),
        (w["tone"], YELLOW),
        (w["sclera"] + w["teeth"], (0.03, 0.03, 0.03)),
        (w["teeth"], (0.01, 0.0, -0.03)),
        (w["brow"], (0.10, 0.08, 0.06)),
        (w["brow_edge"], (-0.10, -0.08, -0.06)),
        (w["lips"], (0.012, -0.036, -0.030)),
        (w["lips"], (0.036, 0.032, 0.030)),
        (w["lips"], (0.010, -0.006, 0.010)),
        (w["cheek"], (0.010, -0.022, -0.019)),
        (w["nose"], (0.010, -0.020, -0.017)),
        (w["beard"], (-0.060, -0.046, -0.036)),
        (w["moustache"] + 0.5 * w["beard"], (-0.075, -0.055, -0.044)),
        (w["eye_shadow"], (-0.04, -0.036, -0.026)),
        (w["forehead"], (0.025, 0.022, 0.020)),
        (w["neck"], (-0.03, -0.028, -0.024)),
        (w["lash"], (-0.07, -0.06, -0.05)),
        (w["iris"], (0.05, 0.06, 0.06)),
        (w["iris"], (-0.05, 0.01, 0.08)),
        (w["iris"], (0.02, 0.04, 0.0)),
    ]
    return np.stack([weight[:, None] * np.array(colour) for weight, colour in table])


def _harmonics(head: Head, tone: Array) -> Array:
    """Cosine waves over the chart in two skin colours; amplitudes fall with frequency."""
    u, v = (to_chart(head.vertices) / 130.0).T
    fields = []
    for i in range(6):
        for j in range(7):
            frequency = np.hypot(i, j)
            if 0 < frequency <= 6:
                for phase in (0.0, np.pi / 2) if i else (0.0,):
                    wave = np.cos(0.5 * np.pi * i * u + phase) * np.cos(0.5 * np.pi * j * (v + 1))
                    size = 0.30 / (1 + frequency)
                    fields += [size * (tone * wave)[:, None] * colour for colour in (MELANIN, 1.2 * BLOOD)]
    return np.stack(fields)
