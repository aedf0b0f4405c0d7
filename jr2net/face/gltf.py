"""Export of a fitted face as binary glTF 2.0 (``.glb``), for Blender, game engines and browsers.

The mesh is the person's neutral face in model space (no head pose), in metres and y up as glTF requires, with the
albedo as vertex colours. The 51 ARKit blendshapes are named morph targets whose weights are the fitted expression.
Each target moves few vertices, so targets are stored sparsely.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field

import numpy as np

from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters

_METRES = 1e-3
_MIN_DISPLACEMENT = 1e-5  # metres; smaller displacements (below 0.01 mm) are left out of a morph target
_FLOAT, _UNSIGNED = 5126, 5125
_VERTICES, _INDICES = 34962, 34963
_JSON, _BIN = b"JSON", b"BIN\0"


def face_glb(model: FaceModel, face: FaceParameters) -> bytes:
    """The first face of a batch as the bytes of a ``.glb`` file. Raises ValueError for an empty batch."""
    if not len(face):
        raise ValueError("no face to write; give a batch of at least one")
    model, face = model.to("cpu"), face.detach().to("cpu")[0]
    neutral = (model.shape(face.identity, face.expression * 0)[0] * _METRES).numpy()
    triangles = model.faces.numpy()
    buffer = _Buffer()
    primitive = {
        "attributes": {
            "POSITION": buffer.dense(neutral, bounds=True),
            "NORMAL": buffer.dense(vertex_normals(neutral, triangles)),
            "COLOR_0": buffer.dense(model.reflectance(face.albedo)[0].clamp(0, 1).numpy()),
        },
        "indices": buffer.indices(triangles),
        "targets": [{"POSITION": buffer.sparse(shape.numpy() * _METRES)} for shape in model.expression_basis],
        "material": 0,
    }
    weights = face.expression[0].tolist()
    document = {
        "asset": {"version": "2.0", "generator": "JR2Net", "copyright": _credit(model)},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "face", "mesh": 0}],
        "meshes": [
            {"name": "face", "primitives": [primitive], "weights": weights, "extras": {"targetNames": [*ARKIT_NAMES]}}
        ],
        "materials": [{"name": "skin", "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.7}}],
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.data)}],
    }
    return _container(document, bytes(buffer.data))


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

    def dense(self, values: np.ndarray, bounds: bool = False) -> int:
        accessor = {"bufferView": self._view(values.astype("<f4"), _VERTICES), **_vectors(len(values))}
        return self._add(accessor | (_bounds(values) if bounds else {}))

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


def _container(document: dict, binary: bytes) -> bytes:
    """GLB container: header and two chunks, padded to four bytes (JSON with spaces, binary with zeros)."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    chunks = b"".join(
        struct.pack("<I4s", len(content), kind) + content
        for kind, content in ((_JSON, text + b" " * (-len(text) % 4)), (_BIN, binary + b"\0" * (-len(binary) % 4)))
    )
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
