"""Identity basis: 80 modes of shape.

Every mode is a smooth deformation of space, so that lids, lips, eyeballs and teeth move together and no mode opens the
mouth. The sum of named traits (longer nose, wider jaw, …) and a smooth random field is a Gaussian distribution of
shapes; its principal components are the basis.
"""

from __future__ import annotations

import numpy as np

from jr2net.face.procedural import anatomy
from jr2net.face.procedural.half import Array
from jr2net.face.procedural.mesh import Head
from jr2net.face.procedural.modes import principal_modes, sort_by_variance, split_by_symmetry

SYMMETRIC, ASYMMETRIC = 64, 16
_ASYMMETRY = 0.28  # standard deviation of the asymmetric part of the random field, relative to the symmetric part

# fmt: off
TRAITS: dict[str, list[tuple]] = {
    # name: [(centre on the left half, radius, displacement at one standard deviation)], mm; mirrored on the right
    "face width": [((75, 10, 40), 70, (3.2, 0, 0))],
    "upper face length": [((0, 80, 85), 60, (0, 4.0, -0.5))],
    "lower face length": [((0, -70, 95), 48, (0, -4.2, 0))],
    "forehead slope": [((0, 85, 85), 50, (0, 0, -4.0))],
    "forehead width": [((65, 70, 50), 42, (3.0, 0, 0))],
    "forehead bulge": [((14, 76, 95), 26, (0, 0, 2.2))],
    "brow ridge": [((18, 57, 105), 17, (0, -0.6, 2.0))],
    "brow height": [((30, 58, 102), 20, (0, 2.2, 0))],
    "temple": [((64, 48, 65), 25, (2.0, 0, 0))],
    "eye distance": [((33, 35, 85), 24, (1.5, 0, 0))],
    "eye depth": [((31, 35, 85), 22, (0, 0, -1.8))],
    "eye height": [((31, 35, 85), 26, (0, 1.6, 0))],
    "nose length": [((0, -3, 120), 22, (0, -2.6, 0))],
    "nose projection": [((0, 1, 128), 21, (0, 0, 3.0))],
    "nose bridge": [((0, 27, 113), 17, (0, 0, 2.4))],
    "nose hump": [((0, 17, 121), 10, (0, 0, 1.5))],
    "nose root": [((0, 41, 106), 14, (0, 0, 2.0))],
    "nose tip turn": [((0, 2, 130), 13, (0, 2.0, -0.4))],
    "nose tip width": [((8, 1, 123), 10, (1.3, 0, 0))],
    "wing width": [((17, -5, 110), 12, (1.9, 0, 0))],
    "wing height": [((15, -6, 112), 11, (0, 1.2, 0.4))],
    "bridge width": [((9, 24, 106), 13, (1.2, 0, 0.4))],
    "cheekbone": [((53, 18, 83), 26, (2.0, 0, 1.8))],
    "cheek fullness": [((46, -18, 85), 28, (2.4, 0, 2.4))],
    "cheek front": [((30, 5, 99), 20, (0, 0, 1.8))],
    "jaw width": [((60, -38, 50), 34, (3.8, 0, 0))],
    "jaw angle": [((60, -40, 48), 26, (0, 3.0, 0))],
    "chin projection": [((0, -66, 112), 25, (0, 0, 3.4))],
    "chin width": [((18, -66, 104), 20, (2.4, 0, 0))],
    "chin length": [((0, -74, 105), 22, (0, -3.0, 0))],
    "mentolabial fold": [((0, -51, 111), 13, (0, 0, 1.2))],
    "double chin": [((14, -80, 80), 26, (0, -3.0, 1.0))],
    "mouth width": [((26, -35, 102), 15, (2.6, 0, -0.4))],
    "mouth height": [((0, -35, 112), 26, (0, 2.2, 0))],
    "mouth projection": [((0, -34, 115), 24, (0, 0, 2.2))],
    "upper lip length": [((0, -22, 115), 13, (0, -1.4, 0))],
    "lip thickness": [((0, -25, 117), 8, (0, 1.3, 0.5)), ((0, -43, 114), 9, (0, -1.4, 0.4))],
    "upper lip thickness": [((0, -25, 117), 8, (0, 1.0, 0.3))],
    "mouth corner height": [((25, -34.5, 102), 13, (0, 0.8, 0))],
    "philtrum": [((0, -19, 114), 8, (0, 0, -0.6))],
    "ear plane": [((75, 20, 28), 40, (0, 0, 4.0))],
    "face depth": [((0, -5, 128), 75, (0, 0, 3.5))],
    "neck": [((20, -100, 38), 34, (3.0, 0, 2.0))],
}
# fmt: on
_RANDOM = ((34.0, 0.75), (18.0, 0.40))
"""The random field: (radius, standard deviation) in mm of its two scales."""
_SOCKET = (18.0, 30.0)
"""Radii in mm around the centre of an eye: deformations are similarities within the first, free beyond the second."""


def build_identities(head: Head) -> Array:
    """(80, n, 3): one standard deviation each, orthogonal, largest first, without rigid motion."""
    traits = np.stack([_field(head, bumps) for bumps in TRAITS.values()])
    flip = np.array([-1.0, 1.0, 1.0])
    traits, _ = split_by_symmetry(traits, head.mirror, flip)
    traits *= 2.0  # the sum of a bump and its mirror image, not their mean
    even, odd = split_by_symmetry(_random_fields(head), head.mirror, flip)
    even, odd = np.concatenate([traits, np.sqrt(2) * even]), np.sqrt(2) * _ASYMMETRY * odd
    even, odd = (_remove_rigid_motion(_keep_eyes_rigid(fields, head), head) for fields in (even, odd))
    even, odd = principal_modes(even, SYMMETRIC), principal_modes(odd, ASYMMETRIC)
    even, odd = split_by_symmetry(even, head.mirror, flip)[0], split_by_symmetry(odd, head.mirror, flip)[1]
    return sort_by_variance(even, odd)


def _field(head: Head, bumps: list[tuple]) -> Array:
    total = np.zeros_like(head.vertices)
    for centre, radius, vector in bumps:
        squared = np.square(head.vertices - centre).sum(1)
        weight = 0.5 if centre[0] == 0 else 1.0
        total += weight * np.exp(-squared / (2 * (0.72 * radius) ** 2))[:, None] * np.array(vector, float)
    return total


def _random_fields(head: Head) -> Array:
    """Gaussian bumps on a lattice, in three directions each; weighted randomly, they sum to a smooth field."""
    fields = []
    for radius, deviation in _RANDOM:
        step = 1.3 * radius
        lattice = np.stack(
            np.meshgrid(*[np.arange(lo, hi, step) for lo, hi in ((0.3 * step, 80), (-105, 110), (25, 135))]), -1
        ).reshape(-1, 3)
        distance = np.sqrt(np.square(head.vertices[None] - lattice[:, None]).sum(-1))
        near = distance.min(1) < 0.6 * radius
        bumps = np.exp(-np.square(distance[near]) / (2 * (0.6 * radius) ** 2))
        fields.append(deviation * np.einsum("kn,de->kdne", bumps, np.eye(3)).reshape(-1, *head.vertices.shape))
    return np.concatenate(fields)


def _keep_eyes_rigid(fields: Array, head: Head) -> Array:
    """Makes each field a similarity around the eyes, so that eyeballs stay spheres and lids stay on them."""
    left = head.marks["eyeball"]
    fields = fields.copy()
    for ball in (left, head.mirror[left]):
        centre = anatomy.EYE_CENTRE * [np.sign(head.vertices[ball, 0].sum()), 1, 1]
        offset = head.vertices - centre
        shift = fields[:, ball].mean(1)
        arm = offset[ball] - offset[ball].mean(0)
        growth = ((fields[:, ball] - shift[:, None]) * arm).sum((1, 2)) / np.square(arm).sum()
        similar = shift[:, None] + growth[:, None, None] * (offset - offset[ball].mean(0))
        distance = np.linalg.norm(offset, axis=1)
        t = np.clip((_SOCKET[1] - distance) / (_SOCKET[1] - _SOCKET[0]), 0, 1)
        t = (t * t * (3 - 2 * t))[None, :, None]
        fields = fields + t * (similar - fields)
    return fields


def _remove_rigid_motion(fields: Array, head: Head) -> Array:
    """Projects out the six rigid motions of the whole mesh."""
    p = head.vertices - head.vertices.mean(0)
    axes = np.eye(3)
    motions = np.stack([np.broadcast_to(a, p.shape) for a in axes] + [np.cross(a, p) for a in axes]).reshape(6, -1)
    basis, _ = np.linalg.qr(motions.T)
    flat = fields.reshape(len(fields), -1)
    return (flat - (flat @ basis) @ basis.T).reshape(fields.shape)
