"""The Basel Face Model 2009 (Paysan et al. 2009) as a face model: ``01_MorphableModel.mat`` and an expression file.

The ``.mat`` file, available from the University of Basel on request, holds a shape and texture PCA of 53,490 vertices,
in micrometres and 8-bit colour, without expressions and landmarks. Both come from the expression file, an ``.npz`` for
the same vertices:

| key | shape | |
|---|---|---|
| ``expression_basis``, ``expression_names`` | (51, N, 3), (51,) | mm at coefficient 1; ARKit names in any order |
| ``landmarks`` | (68,) | vertex indices of the iBUG points, from 0 |
| ``labels``, ``label_names`` | (N,), (L,) | optional; without them everything is skin |
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from jr2net.face.ict import mirror_map
from jr2net.face.model import FaceModel, FaceModelError
from jr2net.face.model_file import arkit_order, assemble, open_file, read_arrays
from jr2net.storage import StorageError

IDENTITIES, ALBEDOS = 80, 64
LICENSE = "Basel Face Model 2009: for non-commercial research, under the licence agreement with the University of Basel"

_MM_PER_UNIT = 1e-3
_KEYS = ("shapeMU", "shapePC", "shapeEV", "texMU", "texPC", "texEV", "tl")


def read_bfm(path: str | Path, expression_file: str | Path | None) -> FaceModel:
    """Loads the first 80 shape and 64 texture components and the expression file's bases.

    Raises FaceModelError naming the file, the field and the remedy.
    """
    path = str(path)
    if expression_file is None:
        raise FaceModelError(
            f"{path}: BFM 2009 has no expressions; give a basis of the 51 ARKit shapes as `face.expression_file`"
        )
    expression_path = str(expression_file)
    bfm = _read_mat(path)
    mean = bfm["shapeMU"].reshape(-1, 3) * _MM_PER_UNIT
    n = len(mean)
    faces = _orient_outwards(mean, bfm["tl"].astype(np.int64) - 1)  # Matlab counts from 1
    extra = read_arrays(
        expression_path, ("expression_basis", "expression_names", "landmarks"), ("labels", "label_names")
    )
    if extra["expression_basis"].shape[1:] != (n, 3):
        raise FaceModelError(
            f"{expression_path}: expression_basis is for {extra['expression_basis'].shape[1:]} coordinates, but {path}"
            f" has {(n, 3)}; give the basis made for this model"
        )
    arrays = {
        "mean": mean,
        "identity_basis": _components(bfm["shapePC"], bfm["shapeEV"], IDENTITIES) * _MM_PER_UNIT,
        "expression_basis": arkit_order(expression_path, extra["expression_basis"], extra["expression_names"]),
        "albedo_mean": bfm["texMU"].reshape(-1, 3) / 255,
        "albedo_basis": _components(bfm["texPC"], bfm["texEV"], ALBEDOS) / 255,
        "uv": _cylindrical(mean),
    }
    return assemble(
        path,
        {key: value.astype(np.float32) for key, value in arrays.items()}
        | {
            "faces": faces,
            "landmarks": extra["landmarks"],
            "labels": extra.get("labels", np.zeros(n, np.int64)),
            "label_names": extra.get("label_names", np.array(["skin"])),
            "mirror": mirror_map(mean),
            "license": np.array(LICENSE),
        },
    )


def _read_mat(path: str) -> dict[str, np.ndarray]:
    """The arrays of _KEYS as float64, with mutually consistent shapes."""
    try:
        with open_file(path) as file:
            content = loadmat(file, variable_names=_KEYS)
    except StorageError:
        raise
    except FileNotFoundError:
        raise FaceModelError(f"{path}: no such file; correct `face.model`") from None
    except (OSError, ValueError, TypeError, NotImplementedError, MatReadError) as error:
        raise FaceModelError(f"{path}: not a readable .mat ({error}); copy 01_MorphableModel.mat again") from None
    missing = [key for key in _KEYS if key not in content]
    if missing:
        raise FaceModelError(f"{path}: {', '.join(missing)} missing; give BFM 2009's unchanged 01_MorphableModel.mat")
    arrays = {key: np.asarray(content[key], np.float64) for key in _KEYS}
    coordinates = arrays["shapeMU"].size
    fits = coordinates % 3 == 0 and arrays["texMU"].size == coordinates and arrays["tl"].shape[1:] == (3,)
    for kind in ("shape", "tex"):
        components, deviations = arrays[f"{kind}PC"], arrays[f"{kind}EV"]
        fits = fits and components.shape == (coordinates, deviations.size)
    if not fits or arrays["tl"].min() < 1 or arrays["tl"].max() > coordinates // 3:
        shapes = ", ".join(f"{key} {value.shape}" for key, value in arrays.items())
        raise FaceModelError(f"{path}: arrays do not fit together ({shapes}); copy 01_MorphableModel.mat again")
    return arrays


def _components(basis: np.ndarray, deviations: np.ndarray, count: int) -> np.ndarray:
    """(3N, C) unit components and their C standard deviations -> (count, N, 3), one standard deviation each."""
    scaled = basis[:, :count] * deviations.ravel()[:count]
    return scaled.T.reshape(scaled.shape[1], -1, 3)


def _orient_outwards(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Faces (F, 3), all flipped if needed so that most of the area faces away from the inside of the head."""
    corners = points[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inside = points.mean(0) - [0, 0, np.ptp(points[:, 2])]  # the face is a shell in front of this point
    return faces if (normal * (corners.mean(1) - inside)).sum() > 0 else faces[:, ::-1]


def _cylindrical(points: np.ndarray) -> np.ndarray:
    """Texture coordinates (N, 2) in [0, 1]: angle around the head's vertical axis, and height."""
    angle = np.arctan2(points[:, 0] - points[:, 0].mean(), points[:, 2] - points[:, 2].min())
    low, high = points[:, 1].min(), points[:, 1].max()
    return np.stack([0.5 + angle / (2 * np.pi), (points[:, 1] - low) / max(high - low, 1e-9)], axis=1)
