"""Wavefront ``.obj`` files: vertices, triangles and texture coordinates."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from jr2net.face.model import FaceModel, FaceModelError
from jr2net.face.parameters import FaceParameters


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (N, 3), triangles (F, 3) int64 from 0, and one texture coordinate per vertex (N, 2), zero if absent.

    Polygons are triangulated as fans. A vertex on a texture seam gets the coordinate of its last corner.
    Raises FaceModelError naming the file and the remedy.
    """
    vertices = read_obj_vertices(path)
    lines = path.read_text().splitlines()
    try:
        texture = np.array([line.split()[1:3] for line in lines if line.startswith("vt ")], dtype=np.float64)
        polygons = [[corner.split("/") for corner in line.split()[1:]] for line in lines if line.startswith("f ")]
        fans = [[first[0], b[0], c[0]] for first, *others in polygons for b, c in pairwise(others)]
        faces = np.array(fans, dtype=np.int64).reshape(-1, 3) - 1
        if len(faces) == 0 or faces.min() < 0 or faces.max() >= len(vertices):
            raise IndexError("they refer to missing vertices")
        uv = np.zeros((len(vertices), 2))
        if len(texture):
            corners = np.array([corner[:2] for polygon in polygons for corner in polygon], dtype=np.int64) - 1
            uv[corners[:, 0]] = texture[corners[:, 1]]
    except (ValueError, IndexError) as error:
        raise FaceModelError(f"{path}: faces or texture coordinates cannot be read ({error}); copy it again") from None
    return vertices, faces, uv


def read_obj_vertices(path: Path, count: int | None = None) -> np.ndarray:
    """Vertices (N, 3) only. Raises FaceModelError, also if there are not ``count`` of them."""
    try:
        lines = path.read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        raise FaceModelError(f"{path}: no such file; give the complete folder it belongs to") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FaceModelError(f"{path}: not a readable .obj ({error}); copy the file again") from None
    try:
        vertices = np.loadtxt([line for line in lines if line.startswith("v ")] or ["v"], usecols=(1, 2, 3), ndmin=2)
    except ValueError as error:
        raise FaceModelError(f"{path}: vertices cannot be read ({error}); copy the file again") from None
    if count is not None and len(vertices) != count:
        raise FaceModelError(f"{path}: {len(vertices)} vertices, the neutral mesh has {count}; copy the folder again")
    if not np.isfinite(vertices).all():
        raise FaceModelError(f"{path}: vertices hold NaN or infinite values; copy the file again")
    return vertices


def face_obj(model: FaceModel, face: FaceParameters) -> bytes:
    """The first face of a batch as an ``.obj`` file: model space, in millimetres, with the albedo as vertex colours and
    the model's texture coordinates. Raises ValueError for an empty batch.
    """
    if not len(face):
        raise ValueError("no face to write; give a batch of at least one")
    face = face.to(model.mean.device)
    shape = model.shape(face.identity[:1], face.expression[:1])[0].detach().cpu().numpy()
    colour = model.reflectance(face.albedo[:1])[0].detach().clamp(0, 1).cpu().numpy()
    triangles = model.faces.cpu().numpy() + 1
    lines = ["# JR2Net; millimetres, y up, z out of the face"]
    lines += ["v {:.4f} {:.4f} {:.4f} {:.4f} {:.4f} {:.4f}".format(*row) for row in np.hstack([shape, colour]).tolist()]
    lines += ["vt {:.5f} {:.5f}".format(*row) for row in model.uv.cpu().tolist()]
    lines += ["f {0}/{0} {1}/{1} {2}/{2}".format(*row) for row in triangles.tolist()]
    return "\n".join([*lines, ""]).encode()
