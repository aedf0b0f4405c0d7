"""What is known of a filmed row, in the terms in which faces are reconstructed."""

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
    """Euler angles (3,) and translation (3,) in mm with which ``camera`` sees model points (K, 3) nearest to pixels
    (K, 2), searched from a frontal distance of 1,080 mm and the given angles.

    A film's own lens is another one; reconstruction assumes the crop's default camera.
    """
    start = _FLIP @ rotation_matrix(torch.from_numpy(angles)[None])[0].numpy()
    intrinsics = np.array([[camera.focal, 0, camera.centre[0]], [0, camera.focal, camera.centre[1]], [0, 0, 1]])
    guess = cv2.Rodrigues(start)[0], np.array([[0.0], [0.0], [1080.0]])
    _, vector, translation = cv2.solvePnP(points.astype(float), pixels.astype(float), intrinsics, None, *guess, True)
    matrix = _FLIP @ cv2.Rodrigues(vector)[0]
    pitch, yaw = np.arctan2(matrix[2, 1], matrix[2, 2]), np.arcsin(np.clip(-matrix[2, 0], -1, 1))
    return np.array([pitch, yaw, np.arctan2(matrix[1, 0], matrix[0, 0])]), translation[:, 0]


def harmonics_of(light: Light) -> np.ndarray:
    """The nine harmonics (9, 3) nearest to a light's irradiance over the sphere."""
    index = np.arange(200) + 0.5
    height, turn = 1 - index / 100, np.pi * (1 + 5**0.5) * index
    across = np.sqrt(1 - height**2)
    normals = np.stack([across * np.cos(turn), height, across * np.sin(turn)], 1)
    basis = spherical_harmonics(torch.from_numpy(normals)).numpy()
    return np.linalg.lstsq(basis, light.irradiance(normals), rcond=None)[0]
