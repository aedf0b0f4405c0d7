"""How far a reconstructed face is from the true one, in millimetres: the protocol of the paper's FaceWarehouse table.

For every mesh: bring the prediction onto the truth by a similarity through the 3D landmarks, keep the true surface
within ``crop_mm`` of the nose tip, refine rigidly by ICP, then take the distance of every true vertex to the plane of
the nearest predicted vertex. Only skin and lips count; eyeballs, teeth and sockets do not.

Where this departs from the paper's text: there the truth is scaled to the prediction, here the prediction to the
truth, so that a millimetre is one of the true face and a prediction gains nothing by being small.
"""

from __future__ import annotations

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
    vertex_rmse  root mean square distance of corresponding surface vertices after the best similarity. Prediction and
                 truth share their topology, so this also sees vertices that slid along the surface, which
                 point-to-plane distances cannot: it is the stricter number.
    """

    rmse: Array
    mae: Array
    vertex_rmse: Array

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
    """Model-space (or any similar) vertices (M, N, 3) of ``model``'s topology, mm, against the true ones (M, N, 3).

    ``crop_mm`` is 85 for the paper's FaceWarehouse table, 95 for FRGC v2.0. Raises ValueError on meshes that do not
    fit together or hold NaN.
    """
    if predicted.shape != truth.shape or predicted.shape[1:] != model.mean.shape or not len(predicted):
        raise ValueError(
            f"predicted {tuple(predicted.shape)} and true vertices {tuple(truth.shape)}: "
            f"both must be (M, {model.mean.shape[0]}, 3) with M ≥ 1"
        )
    if not (torch.isfinite(predicted).all() and torch.isfinite(truth).all()):
        raise ValueError(
            "predicted or true vertices hold NaN or infinite values: look at the parameters they came from"
        )
    surface = surface_vertices(model).cpu().numpy()
    landmarks = model.landmarks.cpu().numpy()
    # Normals need only triangles that touch the surface: cheaper, and sockets do not bend the rim's normals.
    faces = model.faces.cpu().numpy()
    faces = faces[surface[faces].all(1)]
    rows = [
        _mesh_errors(p, t, faces, surface, landmarks, crop_mm)
        for p, t in zip(predicted.detach().double().cpu().numpy(), truth.detach().double().cpu().numpy())
    ]
    rmse, mae, vertex_rmse = np.array(rows).T
    return GeometryErrors(rmse, mae, vertex_rmse)


def expression_rmse_mm(model: FaceModel, expression: Tensor, truth: Tensor) -> float:
    """Error of the expression alone, mm: coefficients (M, 51) against the true (M, 51).

    For every mesh the root mean square, over the surface vertices (skin and lips, no crop, no alignment), of the norm
    of Σ b_exp (β − β_gt); then the mean over the M meshes, as ``rmse_mm`` is.
    """
    basis = model.expression_basis[:, surface_vertices(model)]  # (51, V, 3)
    displacement = ((expression - truth).to(basis) @ basis.flatten(1)).view(len(expression), -1, 3)
    return float(displacement.square().sum(-1).mean(-1).sqrt().mean())


def surface_vertices(model: FaceModel) -> Tensor:
    """(N,) bool: the vertices that geometry is judged on."""
    surface = model.has_label(*SURFACE_LABELS)
    if not surface.any():
        raise ValueError(
            f"{model.name}: no vertex is labelled {' or '.join(SURFACE_LABELS)}; label the model's skin "
            f"(its labels are {', '.join(model.label_names)})"
        )
    return surface


def similarity(source: Array, target: Array) -> tuple[float, Array, Array]:
    """Scale, rotation (3, 3) and translation (3,) with the least squares of ``s R source + t − target`` (Umeyama 1991);
    corresponding points (K, 3)."""
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
    """Moves ``points`` (P, 3) rigidly onto a surface (Q, 3) with unit normals (Q, 3).

    Minimises point-to-plane distances to nearest vertices (Chen and Medioni 1992), stopping once a step moves no point
    by more than about ``tolerance`` mm. Returns the moved points and their signed distances (P,) mm.
    """
    tree = cKDTree(surface)
    for _ in range(iterations):
        nearest = tree.query(points)[1]
        normal = normals[nearest]
        distance = ((points - surface[nearest]) * normal).sum(1)
        centre = points.mean(0)
        jacobian = np.hstack([np.cross(points - centre, normal), normal])
        # lstsq by normal equations; the tiny ridge keeps planes and spheres, which slide freely, from drifting.
        gram = jacobian.T @ jacobian
        step = np.linalg.solve(gram + 1e-9 * np.trace(gram) * np.eye(6), -jacobian.T @ distance)
        points = (points - centre) @ _rotation(step[:3]).T + centre + step[3:]
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
    near = surface & (np.linalg.norm(truth - truth[landmarks[NOSE_TIP]], axis=1) <= crop_mm)
    _, distance = icp_point_to_plane(truth[near], aligned[surface], _vertex_normals(aligned, faces)[surface])
    scale, rotation, translation = similarity(predicted[near], truth[near])
    gap = scale * predicted[near] @ rotation.T + translation - truth[near]
    return (
        float(np.sqrt((distance**2).mean())),
        float(np.abs(distance).mean()),
        float(np.sqrt((gap**2).sum(1).mean())),
    )


def _vertex_normals(vertices: Array, faces: NDArray) -> Array:
    """Unit normals (N, 3), area-weighted; zero where no face touches a vertex."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    face_normal = np.cross(b - a, c - a)
    corner = faces.ravel()
    summed = np.stack(
        [np.bincount(corner, np.repeat(face_normal[:, axis], 3), len(vertices)) for axis in range(3)], axis=1
    )
    return summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-12)


def _rotation(vector: Array) -> Array:
    """Rodrigues' formula: axis times angle (3,) to a rotation matrix."""
    angle = np.linalg.norm(vector)
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew
