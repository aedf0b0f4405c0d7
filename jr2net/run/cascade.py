"""The stages of the cascade: their dependencies, folders, and the inputs that determine their outputs."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from jr2net import storage
from jr2net.config import Config
from jr2net.errors import UserError
from jr2net.face.load import load_face_model
from jr2net.face.model import FaceModel
from jr2net.run import manifest
from jr2net.run.inputs import record
from jr2net.run.manifest import Manifest

REENACTORS = ("dcnet", "flow3d")
"""The stages of which a run has one, the one that the setting ``reenactor`` names; several may lie in its folder."""

NETWORKS = ("recnet", *REENACTORS, "etnet", "recaugnet")
"""All stages that train a network."""

ALL_STAGES = ("prepare", "mattes", "recnet", *REENACTORS, "synthesis", "etnet", "recaugnet", "evaluation")
NETWORK_FILES = ("model.json", "model.safetensors")
"""Files of a trained network in the folder of its stage."""


def stages(config: Config) -> tuple[str, ...]:
    """The stages of a run in the order in which they run."""
    left_out = {*REENACTORS, "mattes"} - {config.reenactor} - ({"mattes"} if config.reenactor == "flow3d" else set())
    return tuple(stage for stage in ALL_STAGES if stage not in left_out)


def networks(config: Config) -> tuple[str, ...]:
    """The stages of a run that train a network, in the order in which they run."""
    return tuple(stage for stage in stages(config) if stage in NETWORKS)


def upstream(config: Config, stage: str) -> tuple[str, ...]:
    """The stages whose outputs ``stage`` uses. ``stage`` may be a reenactor that is not the run's."""
    return {
        "prepare": (),
        "recnet": ("prepare",),
        "mattes": ("prepare",),
        "dcnet": ("prepare", "recnet"),
        "flow3d": ("prepare", "mattes", "recnet"),
        "synthesis": ("prepare", "recnet", config.reenactor),
        "etnet": ("recnet", "synthesis"),
        "recaugnet": ("prepare", "recnet", "etnet"),
        "evaluation": tuple(other for other in stages(config) if other != "evaluation"),
    }[stage]


class StageError(UserError, RuntimeError):
    """A stage that cannot start or complete; the message names the remedy."""


class Run:
    """One run of the cascade at one storage: the folders and the inputs of its stages.

    seconds_after: how long the stages after the running one will take, for the messages on progress; None if unknown.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.seconds_after: float | None = None

    @cached_property
    def model(self) -> FaceModel:
        return load_face_model(self.config.face)

    def folder(self, stage: str) -> str:
        """Folder or URI of a stage."""
        return storage.join(self.config.storage, stage)

    def folders(self, stage: str) -> dict[str, str]:
        """Folders of the stages that ``stage`` depends on, by name."""
        return {name: self.folder(name) for name in upstream(self.config, stage)}

    def finished_manifest(self, stage: str) -> Manifest:
        """The manifest of a finished stage. Raises StageError if it has not finished."""
        finished = manifest.read_manifest(self.folder(stage))
        if finished is None:
            raise StageError(f"{self.folder(stage)}: {stage} has not finished; run it first, or run the whole cascade")
        return finished

    def digests(self, stage: str) -> dict[str, str]:
        """Digests of the outputs that ``stage`` uses, by stage."""
        return {name: self.finished_manifest(name).digest for name in upstream(self.config, stage)}

    def inputs(self, stage: str) -> dict[str, Any]:
        """Everything that determines the outputs of ``stage``, independent of the machines it runs on."""
        return self.settings(stage) | {"upstream": self.digests(stage)}

    def settings(self, stage: str) -> dict[str, Any]:
        """The part of ``inputs`` that does not depend on other stages.

        Raises UserError where the face model cannot be loaded or files that count cannot be listed.
        """
        return record(self.config, stage, self.model.digest)
