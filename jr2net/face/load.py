"""Loads the face model that the ``face`` section of a configuration names."""

from __future__ import annotations

from pathlib import Path

from jr2net import storage
from jr2net.config import FaceConfig
from jr2net.face.bfm import read_bfm
from jr2net.face.decimate import decimate
from jr2net.face.ict import read_ict_folder
from jr2net.face.model import FaceModel, FaceModelError
from jr2net.face.model_file import read_model_file
from jr2net.face.procedural import build_procedural_face


def load_face_model(config: FaceConfig) -> FaceModel:
    """The model that ``config.model`` names: 'procedural', a model file (.npz), ICT-FaceKit's folder, BFM 2009's .mat.

    Files may be in a bucket (``s3://…``). A folder must be local; ``jr2net face convert`` converts it to a file. An
    imported model is decimated to about ``config.vertices`` if that is set. Raises FaceModelError or StorageError.
    """
    if config.model == "procedural":
        return build_procedural_face()
    name = storage.base_name(config.model)
    if name.endswith(".npz"):
        model = read_model_file(config.model)
    elif name.endswith(".mat"):
        model = read_bfm(config.model, config.expression_file)
    elif not storage.is_remote(config.model) and Path(config.model).is_dir():
        model = read_ict_folder(config.model)
    else:
        raise FaceModelError(
            f"face.model = {config.model!r}: not found; give 'procedural', a model file (.npz), ICT-FaceKit's folder"
            " or BFM 2009's .mat"
        )
    return model if config.vertices is None else decimate(model, config.vertices)
