"""Export of a fitted face as binary glTF 2.0 (``.glb``), for Blender, game engines and browsers.

The mesh is the person's neutral face in model space (no head pose), in metres, y up and facing +z as glTF requires,
with the albedo as vertex colours. Vertices have the order of the face model, whoever the person is. The 51 ARKit
blendshapes are named morph targets whose weights are the fitted expression. Each target moves few vertices, so targets
are stored sparsely.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.camera import TO_CAMERA
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters

_METRES = 1e-3
_MIN_DISPLACEMENT = 1e-5  # metres; smaller displacements (below 0.01 mm) are left out of a morph target
_FLOAT, _UNSIGNED = 5126, 5125
_VERTICES, _INDICES = 34962, 34963
_JSON, _BIN = b"JSON", b"BIN\0"


def face_glb(model: FaceModel, face: FaceParameters) -> bytes:
    """The first face of a batch as the bytes of a ``.glb`` file. Raises ValueError for an empty batch."""
    buffer = _Buffer()
    return _container(_document(model, face, buffer), buffer)


@dataclass(frozen=True)
class FaceMotion:
    """How a face moves: seconds (T,), ascending; expression (T, 51); rotation (T, 3) Euler angles in radians and
    translation (T, 3) in mm of the head, as ``FaceParameters`` has them."""

    seconds: np.ndarray
    expression: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray


def animated_face_glb(model: FaceModel, face: FaceParameters, motion: FaceMotion) -> bytes:
    """As ``face_glb``, with an animation ``track`` of the blendshapes' weights and of the node's rotation and
    translation. The head of the first frame is where the mesh is: translations are relative to it.

    Raises ValueError for a motion without frames.
    """
    if not len(motion.seconds):
        raise ValueError("no frames to animate; give at least one")
    buffer = _Buffer()
    document = _document(model, face, buffer)
    time = buffer.scalars(motion.seconds - motion.seconds[0], bounds=True)
    moved = (motion.translation - motion.translation[0]) * np.array(TO_CAMERA) * _METRES
    channels = {
        "weights": buffer.scalars(motion.expression.reshape(-1)),
        "rotation": buffer.quaternions(_quaternions(motion.rotation)),
        "translation": buffer.dense(moved.astype(np.float32), target=None),
    }
    document["animations"] = [
        {
            "name": "track",
            "samplers": [{"input": time, "output": output, "interpolation": "LINEAR"} for output in channels.values()],
            "channels": [
                {"sampler": number, "target": {"node": 0, "path": path}} for number, path in enumerate(channels)
            ],
        }
    ]
    return _container(document, buffer)


def _document(model: FaceModel, face: FaceParameters, buffer: _Buffer) -> dict[str, Any]:
    """The glTF document of a face, its arrays in ``buffer``."""
    if not len(face):
        raise ValueError("no face to write; give a batch of at least one")
    model, face = model.to("cpu"), face.detach().to("cpu")[0]
    neutral = (model.shape(face.identity, face.expression * 0)[0] * _METRES).numpy()
    triangles = model.faces.numpy()
    primitive = {
        "attributes": {
            "POSITION": buffer.dense(neutral, bounds=True),
            "NORMAL": buffer.dense(vertex_normals(neutral, triangles)),
            "COLOR_0": buffer.dense(_linear(model.reflectance(face.albedo)[0].clamp(0, 1).numpy())),
        },
        "indices": buffer.indices(triangles),
        "targets": [{"POSITION": buffer.sparse(shape.numpy() * _METRES)} for shape in model.expression_basis],
        "material": 0,
    }
    weights = face.expression[0].tolist()
    return {
        "asset": {"version": "2.0", "generator": "JR2Net", "copyright": _credit(model)},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "face", "mesh": 0}],
        "meshes": [
            {"name": "face", "primitives": [primitive], "weights": weights, "extras": {"targetNames": [*ARKIT_NAMES]}}
        ],
        "materials": [{"name": "skin", "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.7}}],
    }


def _linear(colours: np.ndarray) -> np.ndarray:
    """Colours as pictures have them (sRGB) to linear ones, as vertex colours are by the standard."""
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)


def _quaternions(rotation: np.ndarray) -> np.ndarray:
    """Unit quaternions (T, 4), x y z w, of Euler angles (T, 3); each on the side of the one before, so that what lies
    between two is the shorter way."""
    pitch, yaw, roll = rotation.astype(np.float64).T
    found = Rotation.from_euler("xyz", np.stack([pitch, yaw, roll], -1)).as_quat()
    turns = np.where((found[1:] * found[:-1]).sum(1) < 0, -1.0, 1.0)
    return found * np.cumprod([1.0, *turns])[:, None]


def _credit(model: FaceModel) -> str:
    """The face model that the mesh is made of, with its licence; whose face it shows is another matter."""
    return f"Mesh, blendshapes and colours from the face model {model.name!r}: {model.license or 'licence not stated'}"


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit normals (N, 3) float32 of vertices (N, 3), weighted by the area of their triangles (F, 3)."""
    a, b, c = (vertices[triangles[:, corner]].astype(np.float64) for corner in range(3))
    normals = np.zeros(vertices.shape)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], np.cross(b - a, c - a))
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(lengths > 0, normals / np.maximum(lengths, 1e-30), [0.0, 0.0, 1.0]).astype(np.float32)


@dataclass
class _Buffer:
    """The binary chunk under construction with its views and accessors; public methods return an accessor index."""

    data: bytearray = field(default_factory=bytearray)
    views: list[dict] = field(default_factory=list)
    accessors: list[dict] = field(default_factory=list)

    def dense(self, values: np.ndarray, bounds: bool = False, target: int | None = _VERTICES) -> int:
        accessor = {"bufferView": self._view(values.astype("<f4"), target), **_vectors(len(values))}
        return self._add(accessor | (_bounds(values) if bounds else {}))

    def scalars(self, values: np.ndarray, bounds: bool = False) -> int:
        """(N,) numbers of an animation."""
        stored = values.astype("<f4")
        accessor = {"bufferView": self._view(stored), "componentType": _FLOAT, "count": len(values), "type": "SCALAR"}
        extremes = {"min": [float(stored.min())], "max": [float(stored.max())]} if bounds else {}
        return self._add(accessor | extremes)

    def quaternions(self, values: np.ndarray) -> int:
        """(N, 4) rotations of an animation."""
        view = self._view(values.astype("<f4"))
        return self._add({"bufferView": view, "componentType": _FLOAT, "count": len(values), "type": "VEC4"})

    def indices(self, triangles: np.ndarray) -> int:
        view = self._view(triangles.astype("<u4"), _INDICES)
        return self._add({"bufferView": view, "componentType": _UNSIGNED, "count": triangles.size, "type": "SCALAR"})

    def sparse(self, values: np.ndarray) -> int:
        """A sparse accessor: only the rows that move are stored."""
        moved = np.flatnonzero(np.abs(values).max(1) > _MIN_DISPLACEMENT)
        kept = np.zeros_like(values)
        kept[moved] = values[moved]
        accessor = {**_vectors(len(values)), **_bounds(kept)}
        if len(moved):
            accessor["sparse"] = {
                "count": len(moved),
                "indices": {"bufferView": self._view(moved.astype("<u4")), "componentType": _UNSIGNED},
                "values": {"bufferView": self._view(values[moved].astype("<f4"))},
            }
        return self._add(accessor)

    def _view(self, values: np.ndarray, target: int | None = None) -> int:
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": values.nbytes}
        self.views.append(view | ({"target": target} if target else {}))
        self.data += values.tobytes()
        return len(self.views) - 1

    def _add(self, accessor: dict) -> int:
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def _vectors(count: int) -> dict:
    return {"componentType": _FLOAT, "count": count, "type": "VEC3"}


def _bounds(values: np.ndarray) -> dict:
    stored = values.astype("<f4")
    return {"min": stored.min(0).tolist(), "max": stored.max(0).tolist()}


def _container(document: dict, buffer: _Buffer) -> bytes:
    """GLB container: header and two chunks, padded to four bytes (JSON with spaces, binary with zeros)."""
    binary = bytes(buffer.data)
    document |= {
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(binary)}],
    }
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    chunks = b"".join(
        struct.pack("<I4s", len(content), kind) + content
        for kind, content in ((_JSON, text + b" " * (-len(text) % 4)), (_BIN, binary + b"\0" * (-len(binary) % 4)))
    )
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
