"""Decimation of an imported face model.

The order of the edge collapses is that of quadric simplification (Garland and Heckbert 1997; ``fast_simplification``).
Each part of the face (label) has a vertex budget and stops collapsing when it is reached. Each group of merged vertices
is represented by one of its members: the bases, labels and landmarks of the small model are rows of the large one, so
coefficients keep their meaning.
"""

from __future__ import annotations

from dataclasses import replace

import fast_simplification
import numpy as np
import torch

from jr2net.face.model import FaceModel, FaceModelError

PART_DETAIL = {
    "mouth_socket": 0.3,
    "eye_socket": 0.4,
    "teeth_upper": 0.4,
    "teeth_lower": 0.4,
    "sclera": 0.5,
    "iris": 0.7,
    "pupil": 0.5,
}
"""Fraction of its vertices that each part keeps, relative to skin and lips."""

RELIEF_MM = 6.0
"""Height of the relief (white over black) that is added to the mesh while it is decimated."""

_PLAIN, _LANDMARK, _MIDDLE, _MIDDLE_LANDMARK = range(4)


def decimate(model: FaceModel, vertices: int) -> FaceModel:
    """``model`` with about ``vertices`` vertices; unchanged if it has no more than that.

    Landmarks keep their coordinates. If the mesh is exactly symmetric, one half is decimated and then mirrored, so the
    result is exactly symmetric too. Raises FaceModelError if so few vertices cannot be reached.
    """
    if vertices >= len(model.mean):
        return model
    faces, mirror, labels = model.faces.numpy(), model.mirror.numpy(), model.labels.numpy()
    points, n = _relief(model), len(model.mean)
    budgets = _budgets(labels, model.label_names, vertices)
    kind = np.where(np.isin(np.arange(n), model.landmarks.numpy()), _LANDMARK, _PLAIN)
    middle = mirror == np.arange(n)
    half = middle | (model.mean[:, 0].numpy() > 0)
    left = half[faces].all(1)
    if np.array_equal(mirror[mirror], np.arange(n)) and (left ^ half[mirror[faces]].all(1)).all():
        # The ends of the midline (chin and forehead) are protected like landmarks, so that the midline does not shrink.
        ends = middle & np.isin(np.arange(n), _border(faces))
        kind = np.maximum(kind, np.maximum(kind[mirror], ends * _LANDMARK)) + np.where(middle, _MIDDLE, _PLAIN)
        group = _merge(points, faces[left], kind, np.where(middle, 1, 2), labels, budgets)
        group = np.where(half, group, mirror[group[mirror]])
        corners = _without_collapsed(group[faces[left]])
        corners = corners[~middle[corners].all(1)]  # a face in the mirror plane would be doubled by its reflection
        corners = np.concatenate([corners, mirror[corners][:, ::-1]])
    else:
        group = _merge(points, faces, kind, np.ones(n, int), labels, budgets)
        corners = _without_collapsed(group[faces])

    keep = np.union1d(corners, model.landmarks.numpy())
    if len(keep) > 1.05 * vertices + 10:
        raise FaceModelError(
            f"{model.name}: cannot be decimated to {vertices} vertices, only to {len(keep)}; raise `face.vertices`"
        )
    new_index = np.full(n, -1)
    new_index[keep] = np.arange(len(keep))
    rows = torch.from_numpy(keep)
    return replace(
        model,
        mean=model.mean[rows],
        faces=torch.from_numpy(new_index[corners]),
        identity_basis=model.identity_basis[:, rows],
        expression_basis=model.expression_basis[:, rows],
        albedo_mean=model.albedo_mean[rows],
        albedo_basis=model.albedo_basis[:, rows],
        landmarks=torch.from_numpy(new_index[model.landmarks.numpy()]),
        labels=model.labels[rows],
        mirror=torch.from_numpy(new_index[group[mirror[keep]]]),
        uv=model.uv[rows],
        name=f"{model.name} at {len(keep)} vertices",
    )


def _border(faces: np.ndarray) -> np.ndarray:
    """Vertices on boundary edges, i.e. edges of only one face."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    return np.unique(unique[count == 1])


def _relief(model: FaceModel) -> np.ndarray:
    """(N, 3): the mean face displaced along its normals by its brightness; brows, lips and irises become shape."""
    points, faces = model.mean.numpy().astype(np.float64), model.faces.numpy()
    corners = points[faces]
    face_normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal = np.zeros_like(points)
    np.add.at(normal, faces.ravel(), np.repeat(face_normal, 3, axis=0))
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    return points + RELIEF_MM * model.albedo_mean.numpy().mean(1, keepdims=True) * normal


def _budgets(labels: np.ndarray, label_names: tuple[str, ...], vertices: int) -> np.ndarray:
    """(L,): maximum number of vertices of each part; the sum is ``vertices``."""
    sizes = np.bincount(labels, minlength=len(label_names))
    detail = np.array([PART_DETAIL.get(name, 1.0) for name in label_names])
    low, high = 0.0, 1 / detail.min()
    for _ in range(50):  # bisection: the sum grows with the rate; each part is capped by its size
        rate = (low + high) / 2
        low, high = (rate, high) if np.minimum(sizes, rate * detail * sizes).sum() < vertices else (low, rate)
    return np.minimum(sizes, low * detail * sizes)


def _merge(
    points: np.ndarray, faces: np.ndarray, kind: np.ndarray, cost: np.ndarray, labels: np.ndarray, budgets: np.ndarray
) -> np.ndarray:
    """(N,): the representative of each vertex after collapsing edges of ``faces`` until each part is within its budget.

    ``kind`` (N,) protects landmarks and the midline; ``cost`` (N,) is 2 for vertices that will be mirrored, else 1.
    """
    used = np.unique(faces)
    local = np.full(len(points), -1)
    local[used] = np.arange(len(used))
    # The library only supplies the order of all possible collapses; the loop below decides where to stop.
    collapses = fast_simplification.simplify(
        points[used], local[faces].astype(np.int32), target_count=4, return_collapses=True
    )[2]
    parent, root_kind = list(range(len(points))), kind.tolist()
    left = np.bincount(labels[used], cost[used], minlength=len(budgets)).tolist()

    around: list[set[int]] = [set() for _ in parent]
    for a, b, c in faces.tolist():
        around[a] |= {b, c}
        around[b] |= {a, c}
        around[c] |= {a, b}

    def root(vertex: int) -> int:
        while parent[vertex] != vertex:
            parent[vertex] = parent[parent[vertex]]
            vertex = parent[vertex]
        return vertex

    for one, other in used[collapses].tolist():
        gone, kept = sorted((root(one), root(other)), key=lambda vertex: (root_kind[vertex], vertex == one))
        # Landmarks only absorb plain vertices, so they never move; midline vertices only merge with the midline.
        protected = root_kind[gone] in (_LANDMARK, _MIDDLE_LANDMARK)
        # Merging two vertices with more than two common neighbours would make the mesh non-manifold at an edge.
        pinches = len(around[gone] & around[kept]) > 2
        if gone == kept or protected or pinches or left[labels[gone]] <= budgets[labels[gone]]:
            continue
        parent[gone] = kept
        left[labels[gone]] -= cost[gone]
        for vertex in around[gone] - {kept}:
            around[vertex].remove(gone)
            around[vertex].add(kept)
        around[kept] |= around[gone]
        around[kept] -= {gone, kept}
    group = np.array([root(vertex) for vertex in range(len(points))])
    return _representatives(points, faces, group, kind)[group]


def _representatives(points: np.ndarray, faces: np.ndarray, group: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """(N,): for each group id, the member closest to the planes of all faces around the group (smallest quadric error).

    Landmarks and midline vertices take precedence. Ties, as on a flat cheek, go to the member nearest to the mean.
    """
    n = len(points)
    normal = np.cross(points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]])
    area = np.maximum(np.linalg.norm(normal, axis=1), 1e-12)
    plane = np.hstack([normal, -(normal * points[faces[:, 0]]).sum(1, keepdims=True)]) / area[:, None]
    quadric = np.zeros((n, 4, 4))
    for corner in range(3):
        np.add.at(quadric, group[faces[:, corner]], plane[:, :, None] * plane[:, None, :] * area[:, None, None])
    homogeneous = np.hstack([points, np.ones((n, 1))])
    error = np.einsum("ni,nij,nj->n", homogeneous, quadric[group], homogeneous)

    members = np.bincount(group, minlength=n)[group]
    centre = np.stack([np.bincount(group, points[:, axis], n) for axis in range(3)], 1)[group] / members[:, None]
    error += 1e-3 * ((points - centre) ** 2).sum(1)
    order = np.lexsort((error, -kind, group))
    groups, first = np.unique(group[order], return_index=True)
    chosen = np.arange(n)
    chosen[groups] = order[first]
    return chosen


def _without_collapsed(faces: np.ndarray) -> np.ndarray:
    """Faces (F, 3) without degenerate ones, and without pairs of faces on the same three vertices."""
    faces = faces[(faces != np.roll(faces, 1, axis=1)).all(1)]
    _, inverse, count = np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True, return_counts=True)
    return faces[count[inverse] == 1]
