"""A fitted portrait as what clients asked for: JSON, a mesh, or the photo with the mesh drawn over it."""

from __future__ import annotations

from typing import Any

import numpy as np

from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.gltf import face_glb
from jr2net.face.model import FaceModel
from jr2net.face.obj_file import face_obj
from jr2net.images.mark import encode_image
from jr2net.inference.compositing import draw_mesh
from jr2net.inference.portrait import Portrait
from serve.networks import Fit, to_parameters

MEDIA_TYPES = {"json": "application/json", "obj": "model/obj", "glb": "model/gltf-binary", "overlay": "image/jpeg"}


def as_json(portrait: Portrait, fit: Fit) -> dict[str, Any]:
    """One face of the answer. Landmarks and boxes are in the pixels of the upright photo."""
    height, width = portrait.photo.shape[:2]
    camera = fit.network.camera
    face = {name: numbers(value) for name, value in fit.face.items()}
    face["expression"] = dict(zip(ARKIT_NAMES, face["expression"], strict=True))
    return {
        "model": fit.network.digest,
        **face,
        "landmarks": numbers(portrait.crop.to_image(fit.landmarks.astype(np.float64), camera.size), 3),
        "box": numbers(np.array(portrait.face.box), 3),
        "score": round(portrait.face.score, 4),
        "faces_found": portrait.found,
        "picture": {"width": width, "height": height},
        "camera": {
            "size": camera.size,
            "focal": camera.focal,
            "centre": list(camera.centre),
            "crop": portrait.crop.matrix(camera.size).tolist(),
        },
    }


def as_mesh(model: FaceModel, fit: Fit, kind: str) -> bytes:
    face = to_parameters([fit.face])
    return face_glb(model, face) if kind == "glb" else face_obj(model, face)


def as_overlay(model: FaceModel, portrait: Portrait, fit: Fit) -> bytes:
    drawn = draw_mesh(portrait.photo, portrait.crop, model, to_parameters([fit.face]), fit.network.camera)
    return encode_image(drawn, None)


def numbers(values: np.ndarray, digits: int = 6) -> Any:
    """Nested lists, rounded: more digits say nothing and cost bytes."""
    return np.round(values.astype(np.float64), digits).tolist()
