"""The stages of the cascade: their dependencies, folders, and the inputs that determine their outputs."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from jr2net import storage
from jr2net.config import Config
from jr2net.config.stages import first_round
from jr2net.errors import UserError
from jr2net.face.load import load_face_model
from jr2net.face.model import FaceModel
from jr2net.run import manifest
from jr2net.run.inputs import record
from jr2net.run.manifest import Manifest
from jr2net.storage.elsewhere import folder_of

REENACTORS = ("dcnet", "flow3d")
"""The stages of which a run has one, the one that the setting ``reenactor`` names; several may lie in its folder."""

ABLATIONS = ("reccopynet", "recdatanet", "baseline")
"""The stages of which a run has those that the setting ``ablations`` names; each trains a network of Table 4."""

_SECOND_ROUND = tuple(f"{name}_2" for name in (*REENACTORS, "synthesis", "etnet", "recaugnet"))

ALL_STAGES = (
    *("prepare", "mattes", "recnet", *REENACTORS, "synthesis", "films", "etnet", "recaugnet"),
    *("reccopynet", "pair_clips", "recdatanet", "baseline"),
    *("portraits", "detector"),
    *_SECOND_ROUND,
    "evaluation",
)

_DATA = ("prepare", "mattes", "synthesis", "films", "pair_clips", "portraits", "evaluation")

NETWORKS = tuple(name for name in ALL_STAGES if first_round(name) not in _DATA)
"""All stages that train a network."""

NETWORK_FILES = ("model.json", "model.safetensors")
"""Files of a trained network in the folder of its stage."""


def stages(config: Config) -> tuple[str, ...]:
    """The stages of a run in the order in which they run."""
    left_out = {*REENACTORS, *ABLATIONS, "mattes", "films", "pair_clips", "portraits", "detector"}
    left_out -= {config.reenactor, *config.ablations}
    if config.etnet.films:
        left_out.remove("films")
    if config.reenactor == "flow3d":
        left_out.remove("mattes")
    if {"recdatanet", "baseline"} & {*config.ablations}:
        left_out.remove("pair_clips")
    if config.detector.train:
        left_out -= {"portraits", "detector"}
    return tuple(
        name
        for name in ALL_STAGES
        if first_round(name) not in left_out and (config.rounds == 2 or name not in _SECOND_ROUND)
    )


def networks(config: Config) -> tuple[str, ...]:
    """The stages of a run that train a network, in the order in which they run."""
    return tuple(stage for stage in stages(config) if stage in NETWORKS)


def roles(config: Config, stage: str) -> dict[str, str]:
    """The stages whose outputs ``stage`` uses, by their part in it: in the second round, RecAugNet fits the faces, as
    ``recnet`` does in the first. ``stage`` may be a reenactor that is not the run's."""
    if stage == "evaluation":
        return {other: other for other in stages(config) if other != "evaluation"}
    first = first_round(stage)
    used = {
        "prepare": (),
        "recnet": ("prepare",),
        "mattes": ("prepare",),
        "dcnet": ("prepare", "recnet"),
        "flow3d": ("prepare", "mattes", "recnet"),
        "synthesis": ("prepare", "recnet", config.reenactor),
        "films": (),
        "etnet": ("recnet", *_labelled(config)),
        "recaugnet": ("prepare", "recnet", "etnet"),
        "reccopynet": ("prepare", "recnet"),
        "pair_clips": ("prepare", "recnet", config.reenactor, "synthesis"),
        "recdatanet": ("prepare", "pair_clips"),
        "baseline": ("prepare", "pair_clips"),
        "portraits": (),
        "detector": ("portraits",),
    }[first]
    if stage == first:
        return {name: name for name in used}
    fits_faces = first in (*REENACTORS, "synthesis")
    second = {name: f"{name}_2" for name in used if f"{name}_2" in _SECOND_ROUND}
    return {name: name for name in used} | second | ({"recnet": "recaugnet"} if fits_faces else {})


def _labelled(config: Config) -> tuple[str, ...]:
    """The stages with the labelled images that ETNet is trained on."""
    share = config.etnet.films
    return (*(("synthesis",) if share < 1 else ()), *(("films",) if share else ()))


def upstream(config: Config, stage: str) -> tuple[str, ...]:
    """The stages whose outputs ``stage`` uses."""
    return tuple(roles(config, stage).values())


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

    def own_folder(self, stage: str) -> str:
        """Folder or URI of a stage in the run's own storage."""
        return storage.join(self.config.storage, stage)

    def folder(self, stage: str) -> str:
        """Folder or URI where a stage lies: the run's own, or another's with which it shares the stage."""
        return folder_of(self.own_folder(stage))

    def folders(self, stage: str) -> dict[str, str]:
        """Folders of the stages that ``stage`` uses, by their part in it (see ``roles``)."""
        return {role: self.folder(name) for role, name in roles(self.config, stage).items()}

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
