"""Where a face model comes from: the one function that turns the ``face`` section of a configuration into a model."""

from __future__ import annotations

from pathlib import Path

from jr2net.config import FaceConfig
from jr2net.face.decimate import decimate
from jr2net.face.model import FaceModel, FaceModelError
from jr2net.face.model_file import read_model_file


def load_face_model(config: FaceConfig) -> FaceModel:
    """The model that ``config.model`` names: 'procedural', a model file (.npz), ICT-FaceKit's folder, BFM 2009's .mat.

    An imported model is decimated to about ``config.vertices`` where that is given. Raises FaceModelError.
    """
    if config.model == "procedural":
        from jr2net.face.procedural import build_procedural_face

        return build_procedural_face()

    path = Path(config.model)
    if path.suffix == ".npz":
        model = read_model_file(path)
    elif path.suffix == ".mat":
        from jr2net.face.bfm import read_bfm

        model = read_bfm(path, config.expression_file)
    elif path.is_dir():
        from jr2net.face.ict import read_ict_folder

        model = read_ict_folder(path)
    else:
        raise FaceModelError(
            f"face.model = {config.model!r}: not there; give 'procedural', a model file (.npz), ICT-FaceKit's folder"
            " or BFM 2009's .mat"
        )
    return model if config.vertices is None else decimate(model, config.vertices)
