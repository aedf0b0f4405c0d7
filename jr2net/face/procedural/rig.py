"""Rig of the skin: named handles, each with a smooth weight field.

A handle is a vertex or a group of vertices that moves rigidly. Its field is biharmonic on the mesh: 1 at the handle, 0
at all others, as smooth as a thin plate in between. It does not leak across the lips, which are not connected.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_matrix, csc_matrix, diags_array
from scipy.sparse.linalg import splu

from jr2net.face.procedural.expression_tables import Table, Vector
from jr2net.face.procedural.half import Array, Index
from jr2net.face.procedural.mesh import Head

# fmt: off
POINTS = {  # (x, y, z): the handle is the nearest vertex of the skin
    "brow_centre": (0, 56, 107), "brow_inner": (10.5, 57, 106), "brow_mid": (28, 61, 103),
    "brow_outer": (50, 57.5, 89), "temple": (61, 46, 74), "forehead_centre": (0, 78, 95),
    "forehead_inner": (16, 78, 95), "forehead_mid": (34, 77, 90), "forehead_outer": (54, 73, 72),
    "cheek_inner": (21, 14, 99.5), "cheek_upper": (34, 16, 97), "cheek_outer": (51, 20, 86), "crow": (57, 34, 79),
    "cheek_mid": (38, 1, 97), "cheek_side": (59, 1, 70), "cheek_low": (44, -18, 88), "cheek_deep": (51, -33, 73),
    "fold_upper": (22, 1, 102.5), "fold_mid": (24, -10, 102.5), "fold_low": (33, -25, 98), "nose_root": (0, 42, 105),
    "nose_bridge": (0, 25, 115), "nose_side": (11, 20, 107), "nose_tip": (0, 3.5, 130), "wing": (16.6, -5, 112),
    "wing_base": (12.8, -11.4, 110.6), "columella": (0, -12.4, 115.4), "philtrum": (0, -18, 114),
    "lip_skin": (14, -19.5, 110), "marionette": (29, -42, 98), "mentolabial": (0, -51.5, 111.4),
    "chin_boss": (0, -63, 114.4), "chin_side": (17, -57, 108), "menton": (0, -76, 103), "jaw_front": (21.5, -71.5, 96),
    "jaw_mid": (43, -58.5, 75), "jaw_back": (58, -43, 52), "gonion": (64, -34, 34), "under_chin": (0, -83, 72),
    "under_jaw": (34, -77, 62),
}
LIP_COLUMNS = {"up0": 0, "up1": 3, "up2": 6, "corner": 9, "low2": 12, "low1": 15, "low0": 18}
LIP_RINGS = {"border": "lip_border", "crest": "lip_crest", "contact": "lip_contact"}
# fmt: on


class Rig:
    """Handles of the left half, their mirror images (name + "'"), and their fields."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self.handles = self._handles()
        self._fields = self._solve()

    def _handles(self) -> dict[str, Index]:
        marks, vertices = self.head.marks, self.head.vertices
        open_skin = marks["skin"]
        groups: dict[str, Index] = {}
        for name, point in POINTS.items():
            candidates = open_skin[(vertices[open_skin, 0] == 0) == (point[0] == 0)]
            nearest = candidates[np.argmin(np.linalg.norm(vertices[candidates] - point, axis=1))]
            groups[name] = np.array([nearest])
        for column, index in LIP_COLUMNS.items():
            for ring, mark in LIP_RINGS.items():
                groups[f"{column}.{ring}"] = marks[mark][index : index + 1]
        for name, index in (("lid_fold_outer", 3), ("lid_fold_mid", 6), ("lid_fold_inner", 9), ("lid_fold_low", 18)):
            groups[name] = marks["lid_fold"][index : index + 1]
        groups["lids"] = np.concatenate([marks[m] for m in ("lid_plate", "lid_margin", "lid_rim")])
        groups["mouth_roof"] = np.concatenate([marks[m][:7] for m in ("mouth_pouch", "mouth_middle", "mouth_back")])
        groups["mouth_floor"] = np.concatenate([marks[m][12:] for m in ("mouth_pouch", "mouth_middle")])
        edge = _border(self.head)
        groups["border"], groups["neck"] = edge[vertices[edge, 1] > -45], edge[vertices[edge, 1] <= -45]
        return groups

    def _solve(self) -> dict[str, Array]:
        """Field (n,) of every handle, left and right separately."""
        head, n = self.head, len(self.head.vertices)
        stiffness, mass = _laplacian(head.vertices, head.faces)
        energy = csc_matrix(stiffness @ diags_array(1 / mass) @ stiffness)
        columns: list[tuple[str, Index]] = []
        for name, left in self.handles.items():
            right = head.mirror[left]
            columns += [(name, left), (name + "'", right)] if not np.array_equal(left, right) else [(name, left)]
        values = np.zeros((n, len(columns)))
        fixed = np.zeros(n, bool)
        for k, (_, vertices) in enumerate(columns):
            fixed[vertices] = True
            values[vertices, k] = 1.0
        # A vertex on the mirror plane that is in the groups of both sides divides its weight between them.
        values /= np.maximum(values.sum(1, keepdims=True), 1.0)
        free = np.flatnonzero(head.has("skin", "lips", "mouth_socket", "eye_socket") & ~fixed)
        right_side = energy[free][:, fixed] @ values[fixed]
        values[free] = splu(energy[free][:, free]).solve(-right_side)
        return {name: values[:, k] for k, (name, _) in enumerate(columns)}

    def move(self, left: Table, right: Table | None = None) -> Array:
        """Displacement (n, 3) in mm for displacements of handles of the left (and of the right) half, in model axes."""
        total = np.zeros_like(self.head.vertices)
        for side, table in (("", left), ("'", right or {})):
            for handle, vector in _expand(table):
                total += self._fields[handle + side][:, None] * np.array(vector, float)
        return total

    def move_both(self, table: Table) -> Array:
        """Symmetric displacement (n, 3): the table on both halves; handles on the mirror plane move once."""
        total = self.move(table)
        for handle, (x, y, z) in _expand(table):
            if handle + "'" in self._fields:
                total += self._fields[handle + "'"][:, None] * np.array([-x, y, z], float)
        return total

    def weight(self, table: dict[str, float]) -> Array:
        """A symmetric scalar field (n,) with these values at the handles and 0 at the others."""
        columns = self.move_both({name: (0.0, value, 0.0) for name, value in table.items()})
        return columns[:, 1]


def _expand(table: Table) -> Iterator[tuple[str, Vector]]:
    """(handle, displacement) pairs; the name of a lip column stands for its three rings."""
    for name, vector in table.items():
        for handle in [f"{name}.{ring}" for ring in LIP_RINGS] if name in LIP_COLUMNS else [name]:
            yield handle, vector


def _border(head: Head) -> Index:
    """Border vertices of the left half (on edges of only one triangle), without the lid rims."""
    faces = head.faces[head.has("skin", "lips", "mouth_socket", "eye_socket")[head.faces].all(1)]
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    edge = np.unique(unique[count == 1])
    return edge[(head.vertices[edge, 0] >= 0) & ~head.has("eye_socket")[edge]]


def _laplacian(vertices: Array, faces: Index) -> tuple[csc_matrix, Array]:
    """Cotangent stiffness matrix and lumped vertex areas."""
    n = len(vertices)
    stiffness = csc_matrix((n, n))
    mass = np.full(n, 1e-9)
    corners = vertices[faces]
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    for k in range(3):
        i, j, o = faces[:, (k + 1) % 3], faces[:, (k + 2) % 3], faces[:, k]
        u, v = vertices[i] - vertices[o], vertices[j] - vertices[o]
        cotangent = np.clip(0.25 * (u * v).sum(1) / np.maximum(area, 1e-6), -2.0, 5.0)
        off = coo_matrix((cotangent, (i, j)), shape=(n, n))
        stiffness = stiffness + csc_matrix(off + off.T)
        np.add.at(mass, o, area / 3)
    degree = np.asarray(stiffness.sum(1)).ravel()
    return csc_matrix(diags_array(degree) - stiffness), mass
