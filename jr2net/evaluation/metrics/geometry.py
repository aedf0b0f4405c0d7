"""Geometric error of reconstructed faces in millimetres, by the protocol of the paper's FaceWarehouse table.

For every mesh: align the prediction to the ground truth by a similarity transform of the 3D landmarks, crop the true
surface to ``crop_mm`` around the nose tip, refine rigidly by ICP, then compute the distance of every true vertex to the
tangent plane at the nearest predicted vertex. Only skin and lips are compared, not eyeballs, teeth and sockets.

Difference to the paper: there the ground truth is scaled to the prediction, here the prediction to the ground truth, so
that errors are in millimetres of the true face and small predictions have no advantage.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from jr2net.face.landmarks import NOSE_TIP
from jr2net.face.model import FaceModel

Array = NDArray[np.float64]

SURFACE_LABELS = ("skin", "lips")


@dataclass(frozen=True)
class GeometryErrors:
    """Errors of M meshes, mm; each array is (M,).

    rmse         root mean square of the point-to-plane distances
    mae          mean absolute point-to-plane distance
    vertex_rmse  root mean square distance of corresponding surface vertices after similarity alignment. Stricter than
                 point-to-plane distances: since prediction and ground truth share their topology, it includes
                 displacements along the surface.
    """

    rmse: Array
    mae: Array
    vertex_rmse: Array

    @staticmethod
    def concatenate(parts: Iterable[GeometryErrors]) -> GeometryErrors:
        """Of the meshes of all parts, in order."""
        return GeometryErrors(
            *(np.concatenate(each) for each in zip(*((part.rmse, part.mae, part.vertex_rmse) for part in parts)))
        )

    def take(self, meshes: NDArray[np.int64]) -> GeometryErrors:
        """Of some of the meshes, by their numbers."""
        return GeometryErrors(self.rmse[meshes], self.mae[meshes], self.vertex_rmse[meshes])

    def summary(self) -> dict[str, float]:
        """The paper's columns: mean, standard deviation, median and 80th percentile of the meshes' RMSE; mean and
        standard deviation of their MAE; mean vertex RMSE."""
        return {
            "rmse_mm": float(self.rmse.mean()),
            "std_mm": float(self.rmse.std()),
            "median_mm": float(np.median(self.rmse)),
            "p80_mm": float(np.percentile(self.rmse, 80)),
            "mae_mm": float(self.mae.mean()),
            "mae_std_mm": float(self.mae.std()),
            "vertex_rmse_mm": float(self.vertex_rmse.mean()),
        }


def geometry_errors(model: FaceModel, predicted: Tensor, truth: Tensor, crop_mm: float = 85.0) -> GeometryErrors:
    """Model-space (or any similar) vertices (M, N, 3) of ``model``'s topology, mm, against the ground truth (M, N, 3).

    ``crop_mm`` is 85 in the paper's FaceWarehouse table, 95 for FRGC v2.0. Raises ValueError for inconsistent shapes or
    NaN.
    """
    if predicted.shape != truth.shape or predicted.shape[1:] != model.mean.shape or not len(predicted):
        raise ValueError(
            f"predicted {tuple(predicted.shape)} and true vertices {tuple(truth.shape)}: "
            f"both must be (M, {model.mean.shape[0]}, 3) with M ≥ 1"
        )
    if not (torch.isfinite(predicted).all() and torch.isfinite(truth).all()):
        raise ValueError(
            "predicted or true vertices hold NaN or infinite values: check the parameters they were computed from"
        )
    surface = surface_vertices(model).cpu().numpy()
    landmarks = model.landmarks.cpu().numpy()
    # Normals only use triangles of the surface: cheaper, and sockets do not affect the normals at their rim.
    faces = model.faces.cpu().numpy()
    faces = faces[surface[faces].all(1)]
    rows = [
        _mesh_errors(p, t, faces, surface, landmarks, crop_mm)
        for p, t in zip(predicted.detach().double().cpu().numpy(), truth.detach().double().cpu().numpy())
    ]
    rmse, mae, vertex_rmse = np.array(rows).T
    return GeometryErrors(rmse, mae, vertex_rmse)


def vertex_gaps(model: FaceModel, predicted: Tensor, truth: Tensor, crop_mm: float = 85.0) -> Array:
    """(M, N): distance in mm of every predicted vertex to the true one, of meshes as in ``geometry_errors``; NaN for
    those that are not compared. ``vertex_rmse`` is their root mean square."""
    surface, landmarks = surface_vertices(model).cpu().numpy(), model.landmarks.cpu().numpy()
    found = np.full(truth.shape[:2], np.nan)
    for row, (p, t) in enumerate(zip(*(each.detach().double().cpu().numpy() for each in (predicted, truth)))):
        near = _near(t, surface, landmarks, crop_mm)
        found[row, near] = _gaps(p[near], t[near])
    return found


def expression_rmse_mm(model: FaceModel, expression: Tensor, truth: Tensor) -> float:
    """Mean over M meshes of ``expression_errors_mm``, as ``rmse_mm`` is one."""
    return float(expression_errors_mm(model, expression, truth).mean())


def expression_errors_mm(model: FaceModel, expression: Tensor, truth: Tensor) -> Tensor:
    """(M,): error of the expression only, in mm: coefficients (M, 51) against the ground truth (M, 51).

    For every mesh the root mean square, over the surface vertices (skin and lips, no crop, no alignment), of the norm
    of Σ b_exp (β − β_gt).
    """
    basis = model.expression_basis[:, surface_vertices(model)]  # (51, V, 3)
    displacement = ((expression - truth).to(basis) @ basis.flatten(1)).view(len(expression), -1, 3)
    return displacement.square().sum(-1).mean(-1).sqrt()


def surface_vertices(model: FaceModel) -> Tensor:
    """(N,) bool: the vertices on which geometry is compared. Raises ValueError if the model has none."""
    surface = model.has_label(*SURFACE_LABELS)
    if not surface.any():
        raise ValueError(
            f"{model.name}: no vertex is labelled {' or '.join(SURFACE_LABELS)}; label the model's skin "
            f"(its labels are {', '.join(model.label_names)})"
        )
    return surface


def similarity(source: Array, target: Array) -> tuple[float, Array, Array]:
    """Scale, rotation (3, 3) and translation (3,) that minimise ``|s R source + t − target|²`` over corresponding
    points (K, 3) (Umeyama 1991)."""
    source_mean, target_mean = source.mean(0), target.mean(0)
    centred = source - source_mean
    u, singular, vt = np.linalg.svd((target - target_mean).T @ centred)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = (u * signs) @ vt
    scale = float((singular * signs).sum() / (centred**2).sum())
    return scale, rotation, target_mean - scale * rotation @ source_mean


def icp_point_to_plane(
    points: Array, surface: Array, normals: Array, iterations: int = 8, tolerance: float = 1e-3
) -> tuple[Array, Array]:
    """Aligns ``points`` (P, 3) rigidly to a surface (Q, 3) with unit normals (Q, 3).

    Minimises point-to-plane distances to nearest vertices (Chen and Medioni 1992), until a step moves no point by more
    than about ``tolerance`` mm. Returns the moved points and their signed distances (P,) mm.
    """
    tree = cKDTree(surface)
    for _ in range(iterations):
        nearest = tree.query(points)[1]
        normal = normals[nearest]
        distance = ((points - surface[nearest]) * normal).sum(1)
        centre = points.mean(0)
        jacobian = np.hstack([np.cross(points - centre, normal), normal])
        # Least squares by normal equations; a small ridge keeps planes and spheres, which slide freely, from drifting.
        gram = jacobian.T @ jacobian
        step = np.linalg.solve(gram + 1e-9 * np.trace(gram) * np.eye(6), -jacobian.T @ distance)
        points = (points - centre) @ rotation_matrix(step[:3]).T + centre + step[3:]
        reach = np.abs(points - centre).max()
        if np.abs(step[:3]).max() * reach + np.abs(step[3:]).max() < tolerance:
            break
    nearest = tree.query(points)[1]
    return points, ((points - surface[nearest]) * normals[nearest]).sum(1)


def _mesh_errors(
    predicted: Array, truth: Array, faces: NDArray, surface: NDArray, landmarks: NDArray, crop_mm: float
) -> tuple[float, float, float]:
    scale, rotation, translation = similarity(predicted[landmarks], truth[landmarks])
    aligned = scale * predicted @ rotation.T + translation
    near = _near(truth, surface, landmarks, crop_mm)
    _, distance = icp_point_to_plane(truth[near], aligned[surface], _vertex_normals(aligned, faces)[surface])
    gap = _gaps(predicted[near], truth[near])
    return (
        float(np.sqrt((distance**2).mean())),
        float(np.abs(distance).mean()),
        float(np.sqrt((gap**2).mean())),
    )


def _near(truth: Array, surface: NDArray, landmarks: NDArray, crop_mm: float) -> NDArray[np.bool_]:
    """(N,): the vertices that are compared."""
    return surface & (np.linalg.norm(truth - truth[landmarks[NOSE_TIP]], axis=1) <= crop_mm)


def _gaps(predicted: Array, truth: Array) -> Array:
    """(K,): distances of corresponding points after their similarity alignment."""
    scale, rotation, translation = similarity(predicted, truth)
    return np.linalg.norm(scale * predicted @ rotation.T + translation - truth, axis=1)


def _vertex_normals(vertices: Array, faces: NDArray) -> Array:
    """Unit normals (N, 3), area-weighted; zero for vertices without faces."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    face_normal = np.cross(b - a, c - a)
    corner = faces.ravel()
    summed = np.stack(
        [np.bincount(corner, np.repeat(face_normal[:, axis], 3), len(vertices)) for axis in range(3)], axis=1
    )
    return summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-12)


def rotation_matrix(vector: Array) -> Array:
    """Rotation matrix of an axis-angle vector (3,) (Rodrigues' formula)."""
    angle = np.linalg.norm(vector)
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew
