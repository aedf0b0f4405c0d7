"""Both halves as one mesh, exactly symmetric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jr2net.face.procedural.half import Array, Half, Index
from jr2net.face.procedural.parts import build_eyeball, build_teeth
from jr2net.face.procedural.skin import build_skin
from jr2net.face.procedural.surface import to_chart

LABELS = ("skin", "lips", "mouth_socket", "eye_socket", "teeth_upper", "teeth_lower", "sclera", "iris", "pupil")


@dataclass(frozen=True)
class Head:
    """The neutral mesh.

    vertices (n, 3) mm; faces (m, 3); labels (n,) names; mirror (n,) index of the mirrored vertex; marks: named groups
    of vertex indices on the LEFT half (x ≥ 0); uv (n, 2) in [0, 1]; landmarks (68,) iBUG.
    """

    vertices: Array
    faces: Index
    labels: NDArray[np.str_]
    mirror: Index
    marks: dict[str, Index]
    uv: Array
    landmarks: Index

    def has(self, *names: str) -> NDArray[np.bool_]:
        return np.isin(self.labels, names)


def build_head() -> Head:
    half = _merge([build_skin(), build_eyeball(), build_teeth(upper=True), build_teeth(upper=False)])
    n = len(half.vertices)
    on_plane = half.vertices[:, 0] == 0
    copies = np.arange(n)
    copies[~on_plane] = n + np.arange((~on_plane).sum())
    vertices = np.concatenate([half.vertices, half.vertices[~on_plane] * [-1, 1, 1]])
    vertices = to_grid(vertices)
    mirror = np.concatenate([copies, np.flatnonzero(~on_plane)])
    faces = np.concatenate([half.faces, copies[half.faces][:, ::-1]])
    labels = np.concatenate([half.labels, half.labels[~on_plane]])
    chart = to_chart(vertices)
    uv = 0.5 + chart * (0.5 / np.abs(chart).max())
    return Head(vertices, faces, labels, mirror, half.marks, uv, _landmarks(half.marks, copies))


def to_grid(values: Array) -> Array:
    """Rounds to multiples of 2⁻¹⁴, so that the model is identical on processors that round differently."""
    return np.round(values * 2.0**14) / 2.0**14 + 0.0  # + 0.0 turns -0.0 into 0.0


def _merge(parts: list[Half]) -> Half:
    starts = np.cumsum([0] + [len(p.vertices) for p in parts])
    return Half(
        np.concatenate([p.vertices for p in parts]),
        np.concatenate([p.faces + s for p, s in zip(parts, starts)]),
        np.concatenate([p.labels for p in parts]),
        {name: index + s for p, s in zip(parts, starts) for name, index in p.marks.items()},
    )


_IBUG_MIRROR = {
    **{i: 16 - i for i in range(8)},
    **{17 + i: 26 - i for i in range(5)},
    **dict(zip((31, 32), (35, 34))),
    **dict(zip((36, 37, 38, 39, 40, 41), (45, 44, 43, 42, 47, 46))),
    **dict(zip((48, 49, 50, 60, 61, 67, 58, 59), (54, 53, 52, 64, 63, 65, 56, 55))),
}
"""Landmark of the subject's right half -> landmark of the left half."""


def _landmarks(marks: dict[str, Index], copies: Index) -> Index:
    margin, outer, inner = marks["lid_margin"], marks["lip_border"], marks["lip_contact"]
    left = {
        int(name.removeprefix("landmark")): index[0] for name, index in marks.items() if name.startswith("landmark")
    }
    # Rings have two points per control point around the eye, and three per two control points around the mouth.
    left |= {45: margin[0], 44: margin[4], 43: margin[8], 42: margin[12], 47: margin[16], 46: margin[20]}
    left |= {51: outer[0], 52: outer[3], 53: outer[6], 54: outer[9], 55: outer[12], 56: outer[15], 57: outer[18]}
    left |= {62: inner[0], 63: inner[3], 64: inner[9], 65: inner[15], 66: inner[18]}
    points = np.full(68, -1)
    for number, vertex in left.items():
        points[number] = vertex
    for right, number in _IBUG_MIRROR.items():
        points[right] = copies[left[number]]
    return points
