"""Distances between a reconstructed face and a scan of another topology, in millimetres of the scan.

A reconstruction is brought onto the scan by the similarity of their landmarks (Umeyama 1991) and by iterated closest
points, and is measured from the scan's points within a radius.
"""

from __future__ import annotations

import numpy as np

from jr2net.data.readers.problems import DatasetError
from jr2net.data.scans.mesh import Array, Indices, Mesh
from jr2net.data.scans.schemes import Landmarks, in_common
from jr2net.evaluation.metrics.geometry import rotation_matrix, similarity
from jr2net.evaluation.metrics.surface import Surface
from jr2net.face.landmarks import NOSE_TIP

FEWEST_POINTS = 50
"""Points of a scan within the radius, below which there is nothing to measure."""

FARTHEST_LANDMARK = 20.0
"""Millimetres between the tip of the nose and the scan beyond which the landmarks are not this scan's."""

LARGEST_RESIDUAL = 25.0
"""Root mean square in millimetres, after the similarity of the landmarks, beyond which they do not correspond."""

ALIGNED_POINTS = 3000
"""Points of a scan, evenly spaced, from which the alignment is found; all of them are measured."""

_ITERATIONS, _TOLERANCE, _LEAST_DAMPING = 30, 1e-3, 1e-6
_NOSE_REACH = 30.0


def align_landmarks(vertices: Array, answer: Landmarks, truth: Landmarks, name: str) -> Array:
    """Vertices (N, 3) of a reconstruction, moved by the similarity of its landmarks to the scan's.

    Raises DatasetError naming the answer where the landmarks do not correspond.
    """
    target, source = in_common(truth, answer, name)
    scale, rotation, translation = similarity(source, target)
    gap = scale * source @ rotation.T + translation - target
    residual = float(np.sqrt((gap**2).sum(1).mean()))
    if not residual <= LARGEST_RESIDUAL:
        raise DatasetError(
            "landmarks do not correspond",
            f"{name}: after alignment its landmarks miss the scan's by {residual:.0f} mm: they are in another order, "
            "or left and right are exchanged; correct them",
        )
    return scale * vertices @ rotation.T + translation


def crop(mesh: Mesh, centre: Array, radius: float, name: str) -> Array:
    """The vertices (P, 3) of a scan within ``radius`` mm of a point. Raises DatasetError naming the scan: too few."""
    near = mesh.vertices[np.linalg.norm(mesh.vertices - centre, axis=1) <= radius]
    if len(near) < FEWEST_POINTS:
        raise DatasetError(
            "empty crop",
            f"{name}: {len(near)} points within {radius:.0f} mm of the face's centre, {FEWEST_POINTS} are needed: the "
            "landmarks belong to another scan, or it has a hole there",
        )
    return near


def nose_tip(mesh: Mesh, landmarks: Landmarks, name: str) -> Array:
    """The tip of the nose (3,) of a scan: its landmark, or, where it has none, of the points near the base of the nose
    the foremost. Raises DatasetError naming the scan.
    """
    tip = landmarks.find((NOSE_TIP,))
    if tip is None:
        tip = _foremost(mesh, landmarks, name)
    gap = float(np.linalg.norm(mesh.vertices - tip, axis=1).min())
    if gap > FARTHEST_LANDMARK:
        raise DatasetError(
            "landmarks of another scan",
            f"{name}: the tip of the nose lies {gap:.0f} mm off the scan: the landmarks are another scan's, or in "
            "another unit or system of coordinates than it; give its own",
        )
    return tip


def point_to_plane(points: Array, vertices: Array, faces: Indices) -> Array:
    """Signed distances (P,) of points (P, 3) of a scan to the planes of the nearest triangles of a reconstruction, once
    it is turned and moved so that the sum of their squares is least: iterated closest points (Besl and McKay 1992) with
    point-to-plane steps (Chen and Medioni 1992). Positive in front of the surface.
    """
    vertices = _refined(points, vertices, faces, planes=True)
    nearest, normal = _nearest(points, vertices, faces)
    return ((points - nearest) * normal).sum(1)


def scan_to_mesh(points: Array, vertices: Array, faces: Indices) -> Array:
    """Distances (P,) of points (P, 3) of a scan to the surface of a reconstruction, once it is scaled, turned and
    moved so that the sum of their squares is least."""
    vertices = _refined(points, vertices, faces, planes=False)
    return np.linalg.norm(_nearest(points, vertices, faces)[0] - points, axis=1)


def _refined(points: Array, vertices: Array, faces: Indices, planes: bool) -> Array:
    """The vertices, moved from where they are by damped Gauss-Newton steps (Levenberg-Marquardt). planes: to the planes
    of the nearest triangles, without scaling; else to the nearest points, with scaling."""
    chosen = points[np.linspace(0, len(points) - 1, min(ALIGNED_POINTS, len(points))).round().astype(int)]
    damping, current = _LEAST_DAMPING, _linearised(chosen, vertices, faces, planes)
    for _ in range(_ITERATIONS):
        residual, jacobian, centre, reach = current
        gram = jacobian.T @ jacobian
        ridge = damping * (np.diag(np.diag(gram)) + 1e-3 * np.trace(gram) * np.eye(len(gram)))
        turn, shift, scale = np.split(np.linalg.solve(gram + ridge, -jacobian.T @ residual), [3, 6])
        factor = 1 + scale.sum()
        tried = factor * (vertices - centre) @ rotation_matrix(turn).T + centre + shift
        trial = _linearised(chosen, tried, faces, planes)
        if (trial[0] ** 2).sum() <= (residual**2).sum():
            vertices, current, damping = tried, trial, max(damping / 10, _LEAST_DAMPING)
        else:
            damping *= 100
        if (np.abs(turn).max() + abs(factor - 1)) * reach + np.abs(shift).max() < _TOLERANCE:
            break
    return vertices


def _linearised(points: Array, vertices: Array, faces: Indices, planes: bool) -> tuple[Array, Array, Array, float]:
    """Distances (P,) mm, their derivatives (P, 6 or 7) by the surface's rotation and translation (and scale) around a
    centre (3,), and how far the surface reaches from there."""
    nearest, normal = _nearest(points, vertices, faces)
    gap = nearest - points
    distance = np.linalg.norm(gap, axis=1, keepdims=True)
    away = normal if planes else np.where(distance > 1e-9, gap / np.maximum(distance, 1e-9), normal)
    centre = nearest.mean(0)
    arm = nearest - centre
    columns = [np.cross(arm, away), away, *([] if planes else [(arm * away).sum(1, keepdims=True)])]
    return (gap * away).sum(1), np.hstack(columns), centre, float(np.abs(arm).max())


def _nearest(points: Array, vertices: Array, faces: Indices) -> tuple[Array, Array]:
    """The nearest points (P, 3) of the surface, and the unit normals (P, 3) of the triangles that they lie on."""
    nearest, triangle = Surface(vertices, faces).nearest(points)
    a, b, c = np.moveaxis(vertices[faces[triangle]], 1, 0)
    normal = np.cross(b - a, c - a)
    return nearest, normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)


def now_region(landmarks: Landmarks, name: str) -> tuple[Array, float]:
    """Centre (3,) and radius of the part of a scan that NoW measures (Sanyal et al. 2019): 0.3 of the way from the base
    of the nose to its bridge, and 0.7 times the sum of the distance of the eyes' outer corners and the nose's height.

    Raises DatasetError naming the scan without these landmarks.
    """
    found = [landmarks.find((number,)) for number in (36, 39, 42, 45, 33)]
    if any(point is None for point in found):
        raise DatasetError("number of landmarks", f"{name}: NoW's seven landmarks are needed; give its .pp file")
    right_outer, right_inner, left_inner, left_outer, base = np.array(found)
    bridge = (right_inner + left_inner) / 2
    width, height = np.linalg.norm(right_outer - left_outer), np.linalg.norm(bridge - base)
    return base + 0.3 * (bridge - base), float(0.7 * (width + height))


def _foremost(mesh: Mesh, landmarks: Landmarks, name: str) -> Array:
    """Forward is where left × up points, from the eyes and the mouth."""
    found = [landmarks.find((number,)) for number in (36, 45, 48, 54, 33)]
    if any(point is None for point in found):
        raise DatasetError(
            "number of landmarks", f"{name}: its landmarks have no tip of the nose (iBUG 30); add it to its landmarks"
        )
    right, left, mouth_right, mouth_left, base = np.array(found)
    forward = np.cross(left - right, (right + left) / 2 - (mouth_right + mouth_left) / 2)
    near = mesh.vertices[np.linalg.norm(mesh.vertices - base, axis=1) <= _NOSE_REACH]
    return near[(near @ forward).argmax()] if len(near) else base
