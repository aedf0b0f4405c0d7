"""Model files: a ``FaceModel`` as one ``.npz`` with named expression bases.

| key | shape | |
|---|---|---|
| ``mean``, ``faces`` | (N, 3), (F, 3) | mm, x to the subject's left, y up, z out of the face; triangles |
| ``identity_basis`` | (K, N, 3) | one standard deviation each |
| ``expression_basis``, ``expression_names`` | (51, N, 3), (51,) | at coefficient 1; ARKit names in any order |
| ``landmarks`` | (68,) | vertex indices of the iBUG points |
| ``labels``, ``label_names`` | (N,), (L,) | skin, lips, mouth_socket, eye_socket, teeth_upper, …, iris, pupil |
| ``mirror``, ``uv`` | (N,), (N, 2) | index of the mirrored vertex; texture coordinates |
| ``albedo_mean``, ``albedo_basis`` | (N, 3), (A, N, 3) | both or neither; without them the albedo is painted |
| ``lip_mask``, ``brow_weight`` | (N,), (N,) | optional, for painted albedo |
| ``license`` | str | optional |

Nothing is unpickled. Half-precision arrays are converted to float32; other keys are ignored.
"""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from jr2net import storage
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.harmonic_albedo import paint_albedo
from jr2net.face.model import FaceModel, FaceModelError
from jr2net.storage import StorageError

Arrays = dict[str, np.ndarray]

_REQUIRED = (
    "mean", "faces", "identity_basis", "expression_basis", "expression_names", "landmarks", "labels", "label_names",
    "mirror", "uv",
)  # fmt: skip
_OPTIONAL = ("albedo_mean", "albedo_basis", "lip_mask", "brow_weight", "license")
_INDICES = ("faces", "landmarks", "labels", "mirror")
_TEXT = ("expression_names", "label_names", "license")


def read_model_file(path: str | Path) -> FaceModel:
    """Loads a model file, local or in a bucket (``s3://…``).

    Expression bases are sorted into the order of ``ARKIT_NAMES`` by name.

    Raises FaceModelError naming the file, the field and the remedy: missing or corrupt file, missing key, wrong type,
    an expression basis that is not the 51 ARKit shapes, inconsistent shapes.
    """
    path = str(path)
    arrays = read_arrays(path, _REQUIRED, _OPTIONAL)
    arrays["expression_basis"] = arkit_order(path, arrays["expression_basis"], arrays["expression_names"])
    if ("albedo_mean" in arrays) != ("albedo_basis" in arrays):
        raise FaceModelError(f"{path}: albedo_mean and albedo_basis go together; give both or neither")
    return assemble(path, arrays)


def write_model_file(model: FaceModel, path: str | Path) -> None:
    """Saves every field losslessly. Deterministic (same model, same bytes) and atomic."""
    path = Path(path)
    arrays: dict[str, Any] = {}
    for key in (*_REQUIRED, "albedo_mean", "albedo_basis", "license"):
        if key == "expression_names":
            arrays[key] = np.array(ARKIT_NAMES)
        elif key in _TEXT:
            arrays[key] = np.array(getattr(model, key))
        else:
            value = getattr(model, key).detach().cpu().numpy()
            arrays[key] = value.astype(np.int32) if key in _INDICES else value
    # Uncompressed, so that the bytes do not depend on the version of zlib; NumPy's timestamps are constant (1980).
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("wb") as file:
        np.savez(file, **arrays)
    partial.replace(path)


def open_file(path: str) -> IO[bytes]:
    """Opens a local file, or reads a remote one into memory."""
    return io.BytesIO(storage.read_bytes(path)) if storage.is_remote(path) else Path(path).open("rb")


def read_arrays(path: str, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> Arrays:
    """Loads the named arrays of an ``.npz``: indices as int64, text unchanged, everything else as float32."""
    try:
        with open_file(path) as file, np.load(file, allow_pickle=False) as archive:
            missing = [key for key in required if key not in archive.files]
            if missing:
                found = ", ".join(archive.files) or "nothing"
                raise FaceModelError(
                    f"{path}: {', '.join(missing)} missing (found {found}); export the model with all keys"
                )
            raw = {key: archive[key] for key in (*required, *optional) if key in archive.files}
    except FileNotFoundError:
        raise FaceModelError(f"{path}: no such face model file; correct `face.model`") from None
    except (FaceModelError, StorageError):
        raise
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise FaceModelError(f"{path}: not a readable .npz ({error}); copy or export the file again") from None
    return {key: _typed(path, key, value) for key, value in raw.items()}


def arkit_order(path: str, basis: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Expression bases (51, …) in the order of ``ARKIT_NAMES``. Raises FaceModelError for any other set of names."""
    given = [str(name) for name in np.atleast_1d(names)]
    if len(given) != basis.shape[0]:
        raise FaceModelError(
            f"{path}: expression_basis has {basis.shape[0]} shapes but expression_names {len(given)} names"
        )
    if sorted(given) != sorted(ARKIT_NAMES):
        missing = ", ".join(sorted(set(ARKIT_NAMES) - set(given))) or "none"
        unknown = ", ".join(sorted(set(given) - set(ARKIT_NAMES))) or "none"
        raise FaceModelError(
            f"{path}: expression_names must be the {len(ARKIT_NAMES)} ARKit shapes without tongueOut, each once"
            f" (missing: {missing}; unknown: {unknown}); rename or complete the basis"
        )
    return basis[[given.index(name) for name in ARKIT_NAMES]]


def assemble(path: str, arrays: Arrays) -> FaceModel:
    """Builds a ``FaceModel`` from arrays in ARKit order; paints the albedo if there is none.

    ``path`` becomes the model's name, so that the errors of its checks name the file.
    """
    labels = arrays["labels"]
    if labels.size and not 0 <= labels.min() <= labels.max() < len(arrays["label_names"]):
        raise FaceModelError(f"{path}: labels refers to names outside label_names; export both from the same model")
    tensors = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in arrays.items() if key not in _TEXT}
    if "albedo_mean" not in tensors:
        _check_paintable(path, arrays)
        mean, basis = paint_albedo(
            arrays["mean"],
            arrays["faces"],
            arrays["labels"],
            tuple(str(label) for label in arrays["label_names"]),
            lip_mask=arrays.get("lip_mask"),
            brow_weight=arrays.get("brow_weight"),
        )
        tensors |= {"albedo_mean": torch.from_numpy(mean), "albedo_basis": torch.from_numpy(basis)}
    fields = (
        "mean", "faces", "identity_basis", "expression_basis", "albedo_mean", "albedo_basis", "landmarks", "labels",
        "mirror", "uv",
    )  # fmt: skip
    return FaceModel(
        **{field: tensors[field] for field in fields},
        label_names=tuple(str(label) for label in arrays["label_names"]),
        name=path,
        license=str(arrays.get("license", "")),
    )


def _typed(path: str, key: str, value: np.ndarray) -> np.ndarray:
    if key in _TEXT:
        if value.dtype.kind != "U":
            raise FaceModelError(f"{path}: {key} must be text, found {value.dtype}; export it as strings")
        return value
    if key in _INDICES:
        if value.dtype.kind not in "iu":
            raise FaceModelError(f"{path}: {key} must be whole numbers, found {value.dtype}; export it as integers")
        return value.astype(np.int64)
    if value.dtype.kind not in "fiub":
        raise FaceModelError(f"{path}: {key} must be numbers, found {value.dtype}; export it as float32")
    return value.astype(np.float32)


def _check_paintable(path: str, arrays: Arrays) -> None:
    """Checks what painting needs, since it runs before the checks of ``FaceModel``."""
    n = arrays["mean"].shape[0]
    for key, shape in {"mean": (n, 3), "faces": (arrays["faces"].shape[0], 3), "labels": (n,)}.items():
        if arrays[key].shape != shape:
            raise FaceModelError(
                f"{path}: {key} has shape {arrays[key].shape}, expected {shape}; export the model again"
            )
    for key in ("lip_mask", "brow_weight"):
        if key in arrays and arrays[key].shape != (n,):
            raise FaceModelError(f"{path}: {key} has shape {arrays[key].shape}, expected {(n,)}; export it per vertex")
    if not np.isfinite(arrays["mean"]).all():
        raise FaceModelError(f"{path}: mean holds NaN or infinite values; export the model again")
    if n == 0 or arrays["faces"].size == 0 or arrays["faces"].min() < 0 or arrays["faces"].max() >= n:
        raise FaceModelError(f"{path}: faces refers to vertices outside 0 … {n - 1}; export the model again")
