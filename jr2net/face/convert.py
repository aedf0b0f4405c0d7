"""Makes one model file of any face model, so that a cluster's machines can read it from a bucket."""

from __future__ import annotations

from jr2net.config import FaceConfig
from jr2net.face.load import load_face_model
from jr2net.face.model import FaceModel
from jr2net.face.model_file import write_model_file


def convert(model: str, output: str, vertices: int | None = None, expressions: str | None = None) -> FaceModel:
    """Reads the model that ``model`` names, as ``face.model`` does, and writes it as a model file (.npz).

    vertices: decimate to about this many. expressions: expression basis (.npz) that goes with BFM 2009's .mat. Raises
    FaceModelError or StorageError.
    """
    face = load_face_model(FaceConfig(model=model, vertices=vertices, expression_file=expressions))
    write_model_file(face, output)
    return face
