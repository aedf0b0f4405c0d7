"""Pinhole camera: ``v_proj = K (R v + t)`` (the paper's camera model), in OpenCV's axes.

Model space has y up and z out of the face, camera space y down and z forward. ``R`` is therefore the head's Euler
rotation followed by the flip ``diag(1, -1, -1)``: a head with zero rotation is upright and looks into the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jr2net.config import Config
from jr2net.device import constant

TO_CAMERA = (1.0, -1.0, -1.0)
"""From model axes, or those of light, to camera axes and back: y and z are flipped."""


@dataclass(frozen=True)
class Camera:
    """Intrinsics of a square image, in pixels; pixel centres lie at +0.5.

    size: side of the image. focal: focal length. centre: principal point (x, y).
    """

    size: int
    focal: float
    centre: tuple[float, float]

    @staticmethod
    def default(size: int, focal_ratio: float = 5.0) -> Camera:
        """The camera of a face crop: focal length ``focal_ratio`` times the side, principal point in the middle.

        A face at a distance of 1,080 mm then fills about as much of the crop as a face fills in the cropped clips.
        """
        return Camera(size, focal_ratio * size, (size / 2, size / 2))

    @staticmethod
    def from_config(config: Config) -> Camera:
        """The camera of all crops of a run."""
        return Camera.default(config.image_size, config.face.focal_ratio)

    def project(self, points: Tensor) -> Tensor:
        """Camera-space points (..., 3) in mm to pixels (..., 2)."""
        depth = points[..., 2:]
        centre = constant(self.centre, points)
        return self.focal * points[..., :2] / depth + centre

    def unproject(self, pixels: Tensor, depth: Tensor) -> Tensor:
        """Pixels (..., 2) at depths (...) in mm to camera-space points (..., 3): ``D K⁻¹ p`` of Eq. 2."""
        centre = constant(self.centre, pixels)
        return torch.cat([(pixels - centre) / self.focal * depth[..., None], depth[..., None]], dim=-1)


def rotation_matrix(rotation: Tensor) -> Tensor:
    """Euler angles (..., 3) = (pitch, yaw, roll) in radians to ``Rz Ry Rx`` (..., 3, 3), in model axes.

    Positive pitch turns the face down, positive yaw turns it to the subject's left (the right of the image), positive
    roll tilts the head counter-clockwise in the image.
    """
    (sx, sy, sz), (cx, cy, cz) = rotation.sin().unbind(-1), rotation.cos().unbind(-1)
    return torch.stack(
        [
            torch.stack([cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx], -1),
            torch.stack([sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx], -1),
            torch.stack([-sy, cy * sx, cy * cx], -1),
        ],
        -2,
    )


def to_camera(vertices: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
    """Model-space vertices (B, N, 3) to camera space (B, N, 3), mm; rotation (B, 3), translation (B, 3)."""
    flipped = rotation_matrix(rotation) * constant(TO_CAMERA, rotation)[:, None]
    return vertices @ flipped.transpose(-1, -2) + translation[:, None]
