"""The ``.mat`` files of 300W-LP and AFLW2000-3D: 68 landmarks and the pose of the head.

Both sets are those of X. Zhu, Z. Lei, X. Liu, H. Shi and S. Z. Li, *Face Alignment Across Large Poses: A 3D Solution*,
CVPR 2016. Their pixels are Matlab's: the centre of the first one is at 1.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from scipy.io import loadmat

from jr2net.data.readers.problems import DatasetError, check_points, refuse_web_page
from jr2net.face.landmarks import LANDMARKS
from jr2net.storage.parquet import one_line

MATLAB_CENTRE = 0.5
"""What Matlab's coordinates exceed this project's by: pixel centres lie at 1, 2, … there and at 0.5, 1.5, … here."""

_LANDMARK_KEYS = ("pt3d_68", "pt2d", "pts_3d", "pts_2d")
"""AFLW2000-3D has ``pt3d_68`` (and 21 points as ``pt2d``), 300W-LP ``pt2d`` of 68, and its folder ``landmarks`` the
others."""


@dataclass(frozen=True)
class MatFace:
    """A labelled face.

    landmarks  (68, 2) float32 pixels of the picture beside the file, edges at integers
    depth      (68,) float32 pixels towards the viewer, from the head's centre; None: only 2D points are known
    rotation   (3,) float32 (pitch, yaw, roll) in radians, as in ``FaceParameters``; None: not known
    published  (3,) float32 (pitch, yaw, roll) in radians, as the file has them and publications compare them
    """

    landmarks: np.ndarray
    depth: np.ndarray | None = None
    rotation: np.ndarray | None = None
    published: np.ndarray | None = None


def parse_mat(content: bytes, name: str) -> MatFace:
    """Parses a file of either set. Raises DatasetError naming the file: truncated, no landmarks, swapped columns."""
    refuse_web_page(content, name)
    try:
        arrays = loadmat(io.BytesIO(content), variable_names=[*_LANDMARK_KEYS, "Pose_Para"])
    except Exception as error:  # damaged files raise OSError, ValueError, TypeError, zlib.error, MatReadError, …
        detail = one_line(error) or type(error).__name__
        raise DatasetError(
            "damaged .mat", f"{name}: not a readable .mat ({detail}): damaged or truncated; copy it again"
        ) from None
    candidates = (_points(arrays.get(key)) for key in _LANDMARK_KEYS)
    points = next((array for array in candidates if array is not None), None)
    if points is None:
        found = ", ".join(key for key in arrays if not key.startswith("__")) or "nothing"
        raise DatasetError(
            "no landmarks", f"{name}: has no 68 landmarks (pt3d_68 or pt2d; found {found}); give the dataset's own file"
        )
    angles = _angles(arrays.get("Pose_Para"), name)
    return MatFace(
        landmarks=check_points(points[:, :2] - MATLAB_CENTRE, name),
        depth=points[:, 2].astype(np.float32) if points.shape[1] == 3 else None,
        rotation=None if angles is None else from_published(angles).astype(np.float32),
        published=None if angles is None else angles.astype(np.float32),
    )


def _points(array: np.ndarray | None) -> np.ndarray | None:
    """(68, 2 or 3) float64; None if it is not that."""
    if array is None or array.ndim != 2 or array.dtype.kind not in "fiu":
        return None
    points = array.T if array.shape[1] == LANDMARKS else array
    return points.astype(np.float64) if points.shape in ((LANDMARKS, 2), (LANDMARKS, 3)) else None


def _angles(parameters: np.ndarray | None, name: str) -> np.ndarray | None:
    """Pitch, yaw and roll of ``Pose_Para``, which also holds a translation and a scale."""
    if parameters is None:
        return None
    if parameters.size != 7 or not np.isfinite(parameters).all():
        raise DatasetError("no pose", f"{name}: Pose_Para has {parameters.size} values, expected 7; copy it again")
    return parameters.ravel()[:3].astype(np.float64)


def from_published(angles: np.ndarray) -> np.ndarray:
    """Pitch, yaw and roll (3,) of these sets, whose rotation is ``Rx Ry Rz`` with the opposite sense of each angle, as
    those of ``FaceParameters``, which is ``Rz Ry Rx``. Both turn a face with y up and z towards the viewer."""
    (sx, sy, sz), (cx, cy, cz) = np.sin(angles), np.cos(angles)
    about_x = np.array([[1, 0, 0], [0, cx, sx], [0, -sx, cx]])
    about_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    about_z = np.array([[cz, sz, 0], [-sz, cz, 0], [0, 0, 1]])
    return euler_angles(about_x @ about_y @ about_z)


def to_published(rotation: np.ndarray) -> np.ndarray:
    """The inverse of ``from_published``, for yaws below 90°: the transposed rotation has these angles, as ours are."""
    (sx, sy, sz), (cx, cy, cz) = np.sin(rotation), np.cos(rotation)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return euler_angles((about_z @ about_y @ about_x).T)


def euler_angles(matrix: np.ndarray) -> np.ndarray:
    """(pitch, yaw, roll) in radians of a rotation matrix (3, 3): the inverse of ``camera.rotation_matrix``."""
    yaw = np.arcsin(np.clip(-matrix[2, 0], -1, 1))
    return np.array([np.arctan2(matrix[2, 1], matrix[2, 2]), yaw, np.arctan2(matrix[1, 0], matrix[0, 0])])
