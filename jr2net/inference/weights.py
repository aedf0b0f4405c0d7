"""Finds and loads weights: those that ship with the package, a checkpoint folder, or a run, local or on S3."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from jr2net import storage
from jr2net.config import FaceConfig
from jr2net.face.load import load_face_model
from jr2net.face.model import FaceModel
from jr2net.inference.messages import ModelInfo
from jr2net.networks.checkpoint import DESCRIPTION, WEIGHTS, Network, load_network, read_description
from jr2net.storage import local_copy

RECONSTRUCTION, REENACTMENT = "recaugnet", "dcnet"
"""Folders of the two networks in the shipped weights and in a run."""


def shipped_weights(stage: str) -> str:
    """The folder of the weights that ship with the package."""
    return str(files("jr2net") / "weights" / stage)


def checkpoint_folder(weights: str | Path | None, stage: str) -> str:
    """The checkpoint folder that ``weights`` refers to: of None, the shipped one; of a run's folder, its ``stage``."""
    if weights is None:
        return shipped_weights(stage)
    folder, inside = str(weights), storage.join(str(weights), stage)
    is_run = not storage.exists(storage.join(folder, DESCRIPTION)) and storage.exists(storage.join(inside, DESCRIPTION))
    return inside if is_run else folder


def load_checkpoint(folder: str, model: FaceModel) -> tuple[Network, ModelInfo]:
    """A network on the CPU, and its description. Raises CheckpointError or StorageError."""
    with local_copy(folder, (DESCRIPTION, WEIGHTS)) as local:
        description, network = read_description(local), load_network(local, model)
    architecture = description["architecture"]
    return network, ModelInfo(
        description["kind"], description["weights_sha256"], architecture["image_size"], architecture["focal_ratio"]
    )


def as_face_model(model: FaceModel | str | Path | None) -> FaceModel:
    """A face model, given or loaded as by the setting ``face.model``; None: the procedural one."""
    if isinstance(model, FaceModel):
        return model
    return load_face_model(FaceConfig() if model is None else FaceConfig(model=str(model)))
