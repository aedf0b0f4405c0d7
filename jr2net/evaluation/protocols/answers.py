"""Reconstructions that are measured on scans: of a network, of a folder of any other system, and the mean face.

A folder of predictions has for each scan a file of its name: a mesh (``.obj``, ``.ply``), vertices (``.npy``, N × 3,
of the topology of ``topology.obj`` in the folder), or coefficients of the face model (``.json`` with ``identity`` and
``expression``, as ``jr2net reconstruct`` writes it). A mesh of this project's own face model needs no landmarks. Of
another, landmarks lie beside it under its name, or, as vertex numbers, in ``landmarks.txt`` of the folder.
"""

from __future__ import annotations

import io
import json
import posixpath
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from jr2net import storage
from jr2net.data.readers.problems import DatasetError
from jr2net.data.scans.files import read_mesh
from jr2net.data.scans.mesh import NO_FACES, Array, Indices, Mesh
from jr2net.data.scans.points import POINT_FILES, read_points
from jr2net.data.scans.schemes import SCHEMES, Landmarks
from jr2net.errors import UserError
from jr2net.evaluation.metrics.geometry import surface_vertices
from jr2net.evaluation.protocols.protocol import ProtocolError, Systems
from jr2net.evaluation.protocols.scan_set import BOXES, Scan, ScanSet
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.model import FaceModel
from jr2net.inference.photo import NoFaceError, Photo
from jr2net.inference.reconstruction import Reconstructor

MEAN_FACE = "MeanFace"
_ENDINGS = (".obj", ".ply", ".json")
_TOPOLOGY = "topology.obj"


@dataclass(frozen=True)
class Answer:
    """A reconstruction of any unit: vertices (N, 3), triangles of those that are compared (F, 3), and landmarks."""

    vertices: Array
    faces: Indices
    landmarks: Landmarks


Method = Callable[[Scan], Answer]
"""Raises UserError where there is no answer for a scan."""


def methods_of(systems: Systems, scans: ScanSet, neutral: bool = False) -> dict[str, Method]:
    """Name -> method, the mean face first. neutral: networks answer with the face without its expression."""
    model = OwnTopology(systems.model)
    found: dict[str, Method] = {MEAN_FACE: model.mean}
    for name, reconstructor in systems.reconstructors().items():
        found[name] = Network(reconstructor, scans, model, neutral)
    for name, folder in systems.predictions.items():
        if name in found:
            raise ProtocolError(f"--predictions {name}={folder}: there is a {name} already; name it otherwise")
        found[name] = Predictions(folder, model)
    return found


class OwnTopology:
    """Meshes of the face model: skin and lips are compared, as in the project's other figures."""

    def __init__(self, model: FaceModel) -> None:
        self.model, kept = model, surface_vertices(model).cpu().numpy()
        faces = model.faces.cpu().numpy()
        self.faces, self.indices = faces[kept[faces].all(1)], model.landmarks.cpu().numpy()

    def answer(self, vertices: Array) -> Answer:
        return Answer(vertices, self.faces, Landmarks(vertices[self.indices], SCHEMES[68]))

    def shape(self, identity: np.ndarray, expression: np.ndarray) -> Answer:
        rows = (
            torch.as_tensor(row, dtype=torch.float32, device=self.model.mean.device) for row in (identity, expression)
        )
        vertices = self.model.shape(*(row[None] for row in rows))[0]
        return self.answer(vertices.double().cpu().numpy())

    def mean(self, scan: Scan) -> Answer:
        return self.answer(self.model.mean.double().cpu().numpy())


@dataclass(frozen=True)
class Network:
    """Reconstructs from the photo of a scan."""

    reconstructor: Reconstructor
    scans: ScanSet
    topology: OwnTopology
    neutral: bool

    def __call__(self, scan: Scan) -> Answer:
        if scan.photo is None:
            raise DatasetError("no photo", f"{scan.mesh}: has no photo beside it that a network could reconstruct")
        box = self.scans.boxes.get(scan.name)
        try:
            photo = Photo.open(_readable(scan.photo), box=box)
        except NoFaceError as error:
            raise DatasetError("no face", error.message(f"in {BOXES}: {scan.name},")) from None
        fit = self.reconstructor([photo])[0].fit.face
        expression = fit["expression"]
        return self.topology.shape(fit["identity"], np.zeros_like(expression) if self.neutral else expression)


class Predictions:
    """A folder of another system's answers."""

    def __init__(self, folder: str, model: OwnTopology) -> None:
        self.folder, self.model, self.files = folder, model, frozenset(storage.list_files(folder))
        if not self.files:
            raise ProtocolError(f"--predictions {folder}: has no files; give the folder with the answers")
        self.faces = read_mesh(storage.join(folder, _TOPOLOGY)).faces if _TOPOLOGY in self.files else NO_FACES

    def __call__(self, scan: Scan) -> Answer:
        name = next((scan.name + ending for ending in _ENDINGS if scan.name + ending in self.files), None)
        if name is None and f"{scan.name}.npy" in self.files:
            name = f"{scan.name}.npy"
        if name is None:
            raise DatasetError(
                "no answer", f"{storage.join(self.folder, scan.name)}: there is no such .obj, .ply, .npy or .json"
            )
        path = storage.join(self.folder, name)
        if name.endswith(".json"):
            return self._coefficients(path)
        mesh = read_mesh(path)
        found = self._landmarks(scan.name, name)
        if found is None and len(mesh.vertices) == len(self.model.model.mean):
            return self.model.answer(mesh.vertices)
        if found is None:
            raise DatasetError(
                "no landmarks",
                f"{path}: has no landmarks: put a file of its name with one of {', '.join(POINT_FILES)} beside it, or "
                "landmarks.txt with vertex numbers into the folder",
            )
        points = read_points(found)
        return Answer(
            mesh.vertices, self._triangles(mesh, path), Landmarks.of(points.on(mesh, found), points.ibug, found)
        )

    def _landmarks(self, scan: str, file: str) -> str | None:
        own = [scan + ending for ending in POINT_FILES]
        shared = [posixpath.join(folder, "landmarks") for folder in (posixpath.dirname(scan), "")]
        candidates = [*own, *(name + ending for name in shared for ending in POINT_FILES)]
        return next((storage.join(self.folder, c) for c in candidates if c in self.files and c != file), None)

    def _triangles(self, mesh: Mesh, path: str) -> Indices:
        faces = mesh.faces if len(mesh.faces) else self.faces
        if not len(faces) or faces.max() >= len(mesh.vertices):
            raise DatasetError(
                "no triangles", f"{path}: has no triangles; put {_TOPOLOGY} of its topology into the folder"
            )
        return faces

    def _coefficients(self, path: str) -> Answer:
        sizes = self.model.model.sizes
        try:
            tree = json.loads(storage.read_bytes(path))
            identity, expression = np.array(tree["identity"], np.float64), tree["expression"]
            if isinstance(expression, dict):
                expression = [expression[name] for name in ARKIT_NAMES]
            values = np.array(expression, np.float64)
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                "damaged .json", f"{path}: needs identity and expression ({error}); write it with jr2net reconstruct"
            ) from None
        if identity.shape != (sizes["identity"],) or values.shape != (sizes["expression"],):
            raise DatasetError(
                "another face model",
                f"{path}: {identity.size} identity and {values.size} expression coefficients, the face model has "
                f"{sizes['identity']} and {sizes['expression']}; give its own (--face-model), or meshes",
            )
        return self.model.shape(identity, values)


def _readable(path: str) -> str | bytes:
    """A photo, those of FRGC (``.ppm``), which photos of users are not, among them."""
    if not storage.base_name(path).lower().endswith(".ppm"):
        return path
    try:
        with Image.open(io.BytesIO(storage.read_bytes(path)), formats=("PPM",)) as image:
            converted = io.BytesIO()
            image.convert("RGB").save(converted, "PNG", compress_level=1)
            return converted.getvalue()
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{path}: not a readable .ppm ({error}); copy it again") from None
