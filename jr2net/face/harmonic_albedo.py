"""Albedo for a model without one (ICT-FaceKit): the mean is painted by label, the basis is a set of low-frequency
harmonics of the mesh.

The harmonics are eigenfunctions of the cotangent Laplacian (Vallet and Levy 2008), sorted by frequency; the first is
constant and models the skin tone. Each is combined with three colour directions; amplitudes fall with frequency.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import eigsh, spsolve
from scipy.spatial import cKDTree

HARMONICS = 21
"""21 harmonics × 3 colour directions + 1 for the iris = 64 bases, as in the paper."""

PAINT = {
    "skin": (0.64, 0.46, 0.38),
    "lips": (0.58, 0.32, 0.30),
    "mouth_socket": (0.14, 0.05, 0.05),
    "eye_socket": (0.50, 0.33, 0.28),
    "teeth_upper": (0.80, 0.76, 0.69),
    "teeth_lower": (0.74, 0.70, 0.63),
    "sclera": (0.78, 0.75, 0.73),
    "iris": (0.27, 0.18, 0.12),
    "pupil": (0.03, 0.03, 0.03),
}
"""Reflectance of each part, RGB in [0, 1]."""

_LIP_EDGE_MM = 1.0
_BROW = (0.24, 0.16, 0.12)

# One standard deviation along each colour direction: lightness (melanin darkens blue less than red in absolute terms),
# redness (blood), yellowness. _TONE: of the whole skin; _PATTERN: of the patterns at the lowest frequency.
_TONE = np.array([[0.13, 0.12, 0.105], [0.030, -0.020, -0.018], [0.010, 0.008, -0.022]])
_PATTERN = np.array([[0.050, 0.039, 0.033], [0.010, -0.006, -0.006], [0.003, 0.003, -0.006]])
_IRIS = np.array([-0.02, 0.07, 0.13])  # brown to blue

# Variation of each part relative to the skin. Eyes and teeth hardly change with skin tone and have no patterns.
_VARIATION = {"skin": 1.0, "lips": 0.75, "eye_socket": 0.75, "mouth_socket": 0.1}
_OTHER_VARIATION = 0.08


def paint_albedo(
    vertices: np.ndarray,
    faces: np.ndarray,
    labels: np.ndarray,
    label_names: tuple[str, ...],
    lip_mask: np.ndarray | None = None,
    brow_weight: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean (N, 3) and basis (64, N, 3), float32, of a labelled mesh (N, 3), (F, 3), (N,).

    Unknown labels are painted as skin. lip_mask (N,) paints lips over skin; brow_weight (N,) in [0, 1] darkens brows.
    The first basis is skin tone; each basis is one standard deviation. Deterministic.
    """
    part = np.array(label_names)[labels]
    if lip_mask is not None:
        part = np.where((lip_mask > 0.5) & (part == "skin"), "lips", part)
    is_skin = ~np.isin(part, [name for name in PAINT if name not in ("skin", "lips")])
    mean = np.array([PAINT.get(name, PAINT["skin"]) for name in part])
    lips = _blurred_mask(vertices, faces[is_skin[faces].all(1)], part == "lips")
    mean[is_skin] += lips[is_skin, None] * (np.array(PAINT["lips"]) - PAINT["skin"]) + PAINT["skin"] - mean[is_skin]
    if brow_weight is not None:
        weight = np.clip(brow_weight, 0, 1)[:, None] * (part == "skin")[:, None]
        mean += 0.8 * weight * (np.array(_BROW) - mean)

    variation = np.array([_VARIATION.get(name, 1.0 if name not in PAINT else _OTHER_VARIATION) for name in part])
    harmonics = skin_harmonics(vertices, faces, is_skin, HARMONICS)
    # Skin colour is nearly symmetric, so asymmetric harmonics get a smaller amplitude.
    mirror = cKDTree(vertices).query(vertices * [-1, 1, 1])[1]
    symmetry = (harmonics * harmonics[:, mirror])[:, is_skin].mean(1).clip(-1, 1)
    amplitude = (0.7 + 0.3 * symmetry[1:]) / np.sqrt(np.arange(1, HARMONICS))
    tones = [variation[:, None] * direction for direction in _TONE]
    iris = [(part == "iris")[:, None] * _IRIS]
    patterns = [
        (size * variation * is_skin * harmonic)[:, None] * direction
        for size, harmonic in zip(amplitude, harmonics[1:])
        for direction in _PATTERN
    ]
    return mean.astype(np.float32), np.array(tones + iris + patterns, dtype=np.float32)


def _blurred_mask(vertices: np.ndarray, faces: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(N,): a mask blurred by _LIP_EDGE_MM along the surface, by one implicit step of heat diffusion.

    Labels are per vertex; without the blur the edge of the lips would follow the jagged edges of triangles.
    """
    laplacian, mass = cotangent_laplacian(np.asarray(vertices, np.float64), faces)
    return spsolve((sparse.diags(mass) + _LIP_EDGE_MM**2 * laplacian).tocsc(), mass * mask)


def skin_harmonics(vertices: np.ndarray, faces: np.ndarray, is_skin: np.ndarray, count: int) -> np.ndarray:
    """(count, N): harmonics of the largest connected component of the skin, constant first, root mean square 1 over its
    area. Vertices outside of the component have the value of its nearest vertex.

    If the mesh is too small for ``count`` harmonics, the remaining rows are zero.
    """
    component, triangles = _largest_component(faces, is_skin)
    local = np.full(len(vertices), -1)
    local[component] = np.arange(len(component))
    points = np.asarray(vertices, np.float64)[component]
    found = _harmonics(points, local[triangles], min(count, len(component) - 2))
    nearest = cKDTree(points).query(vertices)[1]
    result = np.zeros((count, len(vertices)))
    result[: len(found)] = found[:, nearest]
    return result


def _largest_component(faces: np.ndarray, is_skin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (P,) and faces (Q, 3) of the largest connected component of the skin (of the mesh, without skin)."""
    triangles = faces[is_skin[faces].all(1)]
    if len(triangles) == 0:
        triangles = faces
    n = int(faces.max()) + 1
    edges = sparse.coo_matrix(
        (np.ones(len(triangles) * 2), (triangles[:, :2].ravel(), triangles[:, 1:].ravel())), (n, n)
    )
    component = connected_components(edges, directed=False)[1][triangles[:, 0]]
    triangles = triangles[component == np.bincount(component).argmax()]
    return np.unique(triangles), triangles


def _harmonics(points: np.ndarray, faces: np.ndarray, count: int) -> np.ndarray:
    """(count, P): lowest eigenvectors of ``L u = λ M u``; a fixed start vector and sign make them reproducible."""
    laplacian, mass = cotangent_laplacian(points, faces)
    mass /= mass.sum()
    laplacian /= laplacian.diagonal().mean() * len(points)  # so that the shift below fits meshes of any size
    start = np.random.default_rng(0).standard_normal(len(points))
    values, vectors = eigsh(laplacian, count, sparse.diags(mass), sigma=-1e-2, v0=start)
    modes = vectors[:, np.argsort(values)].T
    modes[0] = 1.0
    # Fix the arbitrary sign at the largest value; only on the subject's left, since a symmetric face has two.
    peak = np.abs(modes * (points[:, 0] >= np.median(points[:, 0]))).argmax(1)
    return modes * np.sign(modes[np.arange(count), peak])[:, None]


def cotangent_laplacian(points: np.ndarray, faces: np.ndarray) -> tuple[sparse.csc_matrix, np.ndarray]:
    """The mesh's stiffness matrix (P, P) and lumped mass (P,) of vertices (P, 3) and faces (Q, 3).

    Pinkall and Polthier 1993. Cotangents are clamped, so that slivers do not ruin the conditioning.
    """
    n = len(points)
    rows, columns, weights = [], [], []
    mass = np.zeros(n)
    for corner in range(3):
        apex, left, right = faces[:, corner], faces[:, (corner + 1) % 3], faces[:, (corner + 2) % 3]
        u, v = points[left] - points[apex], points[right] - points[apex]
        doubled_area = np.maximum(np.linalg.norm(np.cross(u, v), axis=1), 1e-9)
        cotangent = np.clip((u * v).sum(1) / doubled_area, -20, 20)
        rows += [left, right]
        columns += [right, left]
        weights += [cotangent / 2, cotangent / 2]
        np.add.at(mass, apex, doubled_area / 6)
    adjacency = sparse.coo_matrix((np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), (n, n))
    adjacency = adjacency.tocsc()
    return sparse.diags(np.asarray(adjacency.sum(1)).ravel()).tocsc() - adjacency, np.maximum(mass, 1e-9)
