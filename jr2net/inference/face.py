"""A fitted face: coefficients by name, landmarks, and its exports as JSON, GLB, OBJ and overlay."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jr2net import storage
from jr2net.errors import UserError
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.gltf import face_glb
from jr2net.face.model import FaceModel
from jr2net.face.obj_file import face_obj
from jr2net.face.parameters import FaceParameters
from jr2net.images.mark import encode_image
from jr2net.inference.compositing import draw_mesh
from jr2net.inference.confidence import confidence, doubt
from jr2net.inference.messages import Fit, to_parameters
from jr2net.inference.photo import Photo

IMAGE_FORMATS = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png"}


class OutputError(UserError, ValueError):
    """An output file with an unsupported extension, or one that cannot be written."""


@dataclass(frozen=True)
class FittedFace:
    """A face of a photo, as fitted by a network."""

    photo: Photo
    fit: Fit
    model: FaceModel

    @cached_property
    def expression(self) -> dict[str, float]:
        """The 51 ARKit coefficients by name, in [0, 1]."""
        return dict(zip(ARKIT_NAMES, rounded(self.fit.face["expression"]), strict=True))

    @cached_property
    def landmarks(self) -> np.ndarray:
        """(68, 2) float64: the fitted iBUG points in pixels of the upright photo, pixel edges at integers."""
        return self.photo.crop.to_image(self.fit.landmarks.astype(np.float64), self.fit.network.size)

    @cached_property
    def confidence(self) -> float:
        """The probability in [0, 1] that the box holds a face that the fit describes (``inference/confidence.py``)."""
        return confidence(self.photo.image, self.photo.crop, self.landmarks)

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of the photo; and that the confidence is low, where it is."""
        return (*self.photo.notes, *doubt(self.confidence))

    @cached_property
    def parameters(self) -> FaceParameters:
        """The parameters of the morphable model, a batch of one."""
        return to_parameters([self.fit.face])

    def to_json(self) -> dict[str, Any]:
        """JSON-serialisable: all parameters, landmarks and box in pixels of the upright photo, crop and camera."""
        height, width = self.photo.image.shape[:2]
        camera, crop = self.fit.network.camera, self.photo.crop
        parameters = {name: rounded(value) for name, value in self.fit.face.items()}
        return {
            "model": self.fit.network.digest,
            **parameters,
            "expression": self.expression,
            "landmarks": rounded(self.landmarks, 3),
            "box": rounded(np.array(self.photo.face.box), 3),
            "score": round(self.photo.face.score, 4),
            "confidence": round(self.confidence, 4),
            "faces_found": self.photo.faces_found,
            "face": self.photo.index,
            "notes": list(self.notes),
            "boxes": [rounded(np.array(face.box), 3) for face in self.photo.faces],
            "picture": {"width": width, "height": height},
            "camera": {
                "size": camera.size,
                "focal": camera.focal,
                "centre": list(camera.centre),
                "crop": crop.matrix(camera.size).tolist(),
            },
        }

    def to_glb(self) -> bytes:
        """Binary glTF of the neutral face in metres, with the 51 blendshapes as morph targets."""
        return face_glb(self.model, self.parameters)

    def to_obj(self) -> bytes:
        """Wavefront OBJ of the face with its expression, in millimetres."""
        return face_obj(self.model, self.parameters)

    def overlay(self) -> np.ndarray:
        """(H, W, 3) uint8: the photo with the fitted mesh drawn over it."""
        camera = self.fit.network.camera
        return draw_mesh(self.photo.image, self.photo.crop, self.model, self.parameters, camera)

    def save(self, path: str | Path) -> None:
        """Writes a .json, .glb or .obj file, or the overlay as .jpg or .png. Raises OutputError or StorageError."""
        extension = Path(path).suffix.lower()
        if extension == ".json":
            content = (json.dumps(self.to_json(), indent=1) + "\n").encode()
        elif extension == ".glb":
            content = self.to_glb()
        elif extension == ".obj":
            content = self.to_obj()
        elif extension in IMAGE_FORMATS:
            content = encode_image(self.overlay(), None, image_format(path))
        else:
            raise OutputError(f"{path}: unsupported extension; use .json, .glb, .obj, .jpg or .png")
        storage.write_bytes(str(path), content)


def image_format(path: str | Path) -> Any:
    """``jpeg`` or ``png``, by the extension of a file name. Raises OutputError."""
    extension = Path(path).suffix.lower()
    if extension not in IMAGE_FORMATS:
        raise OutputError(f"{path}: unsupported extension; use .jpg or .png")
    return IMAGE_FORMATS[extension]


def rounded(values: np.ndarray, digits: int = 6) -> Any:
    """Nested lists of rounded numbers; further digits would cost bytes and carry no information."""
    return np.round(values.astype(np.float64), digits).tolist()
