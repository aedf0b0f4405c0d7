"""Finds and loads weights: those that ship with the package, a checkpoint folder, or a run, local or on S3."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jr2net import storage
from jr2net.config import FaceConfig
from jr2net.face.load import load_face_model
from jr2net.face.model import FaceModel
from jr2net.inference.messages import ModelInfo
from jr2net.networks.checkpoint import DESCRIPTION, WEIGHTS, CheckpointError, Network, load_network, read_description
from jr2net.storage import local_copy
from jr2net.storage.elsewhere import folder_of

RECONSTRUCTION = ("recaugnet",)
"""Folder of the reconstruction network in the shipped weights and in a run."""

REENACTMENT = ("dcnet", "flow3d")
"""Folders of the reenactors in the shipped weights and in a run; of the shipped ones, the first is the default."""

DETECTION = ("detector",)
"""Folder of the face detector in the shipped weights and in a run."""


def shipped_weights(stage: str) -> str:
    """The folder of the weights that ship with the package."""
    return str(files("jr2net") / "weights" / stage)


def checkpoint_folder(weights: str | Path | None, stages: Sequence[str]) -> str:
    """The checkpoint folder that ``weights`` refers to: of None, the shipped one; of a run's folder, its stage,
    which may lie in the folder of another run (``storage/elsewhere.py``).

    Raises CheckpointError where a run has several of the stages, or other networks and none of them.
    """
    if weights is None:
        return shipped_weights(stages[0])
    folder = folder_of(str(weights))
    if storage.exists(storage.join(folder, DESCRIPTION)):
        return folder
    found = list(_networks_of(folder, stages).values())
    if len(found) > 1:
        raise CheckpointError(
            f"{folder}: holds several networks; give the folder of one: {' or '.join(found)} (to serve it, as "
            f"reenactment.weights); the jr2net command also takes --reenactor {' or '.join(stages)}"
        )
    others = _networks_of(folder, (*RECONSTRUCTION, *REENACTMENT, *DETECTION)) if not found else {}
    if others:
        raise CheckpointError(
            f"{folder}: has no {' or '.join(stages)}, only {', '.join(others)}; train it first, or give another folder"
        )
    return found[0] if found else folder


def _networks_of(folder: str, stages: Sequence[str]) -> dict[str, str]:
    """Those of the stages whose networks a run's folder has, and where these lie."""
    inside = {stage: folder_of(storage.join(folder, stage)) for stage in stages}
    return {stage: each for stage, each in inside.items() if storage.exists(storage.join(each, DESCRIPTION))}


def load_checkpoint(folder: str, model: FaceModel) -> tuple[Network, ModelInfo]:
    """A network on the CPU, and its description. Raises CheckpointError or StorageError."""
    with local_copy(folder, (DESCRIPTION, WEIGHTS)) as local:
        description, network = read_description(local), load_network(local, model)
    architecture = description["architecture"]
    if missing := {"image_size", "focal_ratio"} - set(architecture):
        raise CheckpointError(
            f"{storage.join(folder, DESCRIPTION)}: architecture has no {' and no '.join(sorted(missing))}, so crops "
            "for it cannot be made; give them to save_network, or train the network again"
        )
    return network, ModelInfo(
        description["kind"], description["weights_sha256"], architecture["image_size"], architecture["focal_ratio"]
    )


def as_face_model(model: FaceModel | str | Path | None) -> FaceModel:
    """A face model, given or loaded as by the setting ``face.model``; None: the procedural one."""
    if isinstance(model, FaceModel):
        return model
    return load_face_model(FaceConfig() if model is None else FaceConfig(model=str(model)))
