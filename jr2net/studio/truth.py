"""Ground truth of a filmed row, expressed in the parameters of reconstruction."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from jr2net.face.camera import Camera, rotation_matrix
from jr2net.face.light import spherical_harmonics
from jr2net.studio.scene import Light

_FLIP = np.diag([1.0, -1.0, -1.0])


def fit_pose(
    points: np.ndarray, pixels: np.ndarray, camera: Camera, angles: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Solves PnP: Euler angles (3,) and translation (3,) in mm with which ``camera`` projects model points (K, 3) onto
    pixels (K, 2). The search starts from ``angles`` at a distance of 1,080 mm.

    Footage is filmed with another focal length; reconstruction assumes the crop's default camera.
    """
    start = _FLIP @ rotation_matrix(torch.from_numpy(angles)[None])[0].numpy()
    intrinsics = np.array([[camera.focal, 0, camera.centre[0]], [0, camera.focal, camera.centre[1]], [0, 0, 1]])
    guess = cv2.Rodrigues(start)[0], np.array([[0.0], [0.0], [1080.0]])
    found = cv2.solvePnP(points.astype(float), pixels.astype(float), intrinsics, None, *guess, True)
    _, rotation_vector, translation = found
    matrix = _FLIP @ cv2.Rodrigues(rotation_vector)[0]
    pitch, yaw = np.arctan2(matrix[2, 1], matrix[2, 2]), np.arcsin(np.clip(-matrix[2, 0], -1, 1))
    return np.array([pitch, yaw, np.arctan2(matrix[1, 0], matrix[0, 0])]), translation[:, 0]


def fit_harmonics(light: Light) -> np.ndarray:
    """Least-squares fit of nine spherical harmonics (9, 3) to a light's irradiance over the sphere."""
    index = np.arange(200) + 0.5
    height, azimuth = 1 - index / 100, np.pi * (1 + 5**0.5) * index  # a Fibonacci sphere
    radius = np.sqrt(1 - height**2)
    normals = np.stack([radius * np.cos(azimuth), height, radius * np.sin(azimuth)], 1)
    basis = spherical_harmonics(torch.from_numpy(normals)).numpy()
    return np.linalg.lstsq(basis, light.irradiance(normals), rcond=None)[0]
