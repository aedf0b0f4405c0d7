"""Faces' landmarks and the files that datasets keep them in, made for tests."""

from __future__ import annotations

import io
import struct

import numpy as np
from scipy.io import savemat

from jr2net.face.camera import rotation_matrix


def face_points(size: float = 200.0, roll: float = 0.0) -> np.ndarray:
    """68 landmarks (68, 2) of a plain frontal face in a picture of ``size`` pixels, edges at integers."""
    angle = np.linspace(np.pi, 0, 17)
    jaw = np.stack([np.cos(angle), np.sin(angle)], -1) * [0.8, 1.0]
    brow = np.linspace(0, 1, 5)
    right_brow = np.stack([-0.65 + 0.45 * brow, -0.42 - 0.1 * np.sin(np.pi * brow)], -1)
    left_brow = right_brow[::-1] * [-1, 1]
    bridge = np.stack([np.zeros(4), np.linspace(-0.25, 0.2, 4)], -1)
    nostrils = np.stack([np.linspace(-0.15, 0.15, 5), np.full(5, 0.3)], -1)
    lids = np.deg2rad([180, 120, 60, 0, -60, -120])
    eye = np.stack([0.15 * np.cos(lids), -0.07 * np.sin(lids)], -1)
    turn = np.deg2rad(180 + 30 * np.arange(12))
    mouth = np.stack([0.35 * np.cos(turn), 0.14 * np.sin(turn)], -1) + np.array([0, 0.6])
    turn = np.deg2rad(180 + 45 * np.arange(8))
    inner = np.stack([0.25 * np.cos(turn), 0.04 * np.sin(turn)], -1) + np.array([0, 0.6])
    points = np.concatenate(
        [
            jaw,
            right_brow,
            left_brow,
            bridge,
            nostrils,
            eye + np.array([-0.38, -0.22]),
            eye + np.array([0.38, -0.22]),
            mouth,
            inner,
        ]
    )
    turned = points @ np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    return turned * size / 4 + size / 2


def mat_file(points: np.ndarray, rotation: tuple[float, float, float] = (0.0, 0.0, 0.0), key: str = "pt2d") -> bytes:
    """A ``.mat`` as in 300W-LP (``pt2d``) or AFLW2000-3D (``pt3d_68``); rotation: Pose_Para's three angles."""
    rows = points.T + 0.5
    if key == "pt3d_68":
        rows = np.vstack([rows, np.zeros(68)])
    content = io.BytesIO()
    savemat(content, {key: rows, "Pose_Para": np.array([[*rotation, 0.0, 0.0, 0.0, 1e-3]], np.float32)})
    return content.getvalue()


def pts_file(points: np.ndarray) -> bytes:
    lines = "\n".join(f"{x:.4f} {y:.4f}" for x, y in points + 0.5)
    return f"version: 1\nn_points:  {len(points)}\n{{\n{lines}\n}}\n".encode()


def npy_file(points: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, points + 0.5)
    return content.getvalue()


def t7_file(points: np.ndarray, transposed: bool = False) -> bytes:
    """A tensor in Torch 7's binary format; transposed: its storage is (2, 68)."""

    def text(value: str) -> bytes:
        return struct.pack("<i", len(value)) + value.encode()

    values = (points + 0.5).astype("<f4")
    rows, columns = values.shape
    strides = (1, rows) if transposed else (columns, 1)
    tensor = struct.pack("<ii", 4, 1) + text("V 1") + text("torch.FloatTensor")
    tensor += struct.pack("<i2q2qq", 2, rows, columns, *strides, 1)
    storage = struct.pack("<ii", 4, 2) + text("V 1") + text("torch.FloatStorage")
    return tensor + storage + struct.pack("<q", values.size) + (values.T if transposed else values).tobytes()


def turned_by(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """Rotation matrix of the project's Euler angles."""
    import torch

    return rotation_matrix(torch.tensor([pitch, yaw, roll], dtype=torch.float64)).numpy()
