"""What a protocol is, and what is given to it: data, and the systems whose answers are measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from pydantic import Field

from jr2net import storage
from jr2net.errors import UserError
from jr2net.evaluation.bench import RECONSTRUCTORS, Cascade
from jr2net.evaluation.protocols.result import Result
from jr2net.face.model import FaceModel
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.weights import RECONSTRUCTION, REENACTMENT, as_face_model, checkpoint_folder, shipped_weights
from jr2net.networks.checkpoint import DESCRIPTION
from jr2net.settings import Section
from jr2net.storage.elsewhere import folder_of

SHIPPED = "shipped"
"""What ``--weights`` calls the weights of the package."""

_FACES = ("recnet", "recaugnet")
"""Stages whose faces a reenactor acts with."""


class ProtocolError(UserError, ValueError):
    """Data or answers that a protocol cannot measure; the message names the file, the field and the remedy."""


class ProtocolSettings(Section):
    """What every protocol can be told; a protocol's own settings extend it."""

    seed: int = Field(0, description="of the bootstrap and of whatever else a protocol draws")
    draws: int = Field(2000, ge=100, description="of the bootstrap")


@dataclass(frozen=True)
class Systems:
    """What is measured.

    weights      folders of runs or networks, local or ``s3://``, or ``SHIPPED``
    predictions  method -> folder of answers of any other system; a protocol's module says in which form
    face_model   of the networks, as in the setting ``face.model``; None: the procedural one
    """

    weights: tuple[str, ...] = ()
    predictions: Mapping[str, str] = field(default_factory=dict)
    face_model: str | None = None
    device: torch.device | str = "cpu"

    @cached_property
    def model(self) -> FaceModel:
        """The face model of the networks. Raises FaceModelError."""
        return as_face_model(self.face_model)

    def reconstructors(self) -> dict[str, Reconstructor]:
        """Method -> network: of a run all that reconstruct faces (``bench.RECONSTRUCTORS``). Raises CheckpointError.

        The networks of several folders are told apart by what differs in the folders' paths.
        """
        found: dict[str, Reconstructor] = {}
        for weights, label in zip(self.weights, _labels(self.weights), strict=True):
            for stage, folder in _networks(weights).items():
                reconstructor = Reconstructor.load(folder, face_model=self.model, device=self.device)
                title = RECONSTRUCTORS.get(stage) or RECONSTRUCTORS[reconstructor.info.kind]
                found[_unused(f"{title}{label}", found)] = reconstructor
        return found

    def cascades(self) -> dict[str, Cascade]:
        """Method -> reenactor, with the RecNet that fits its faces: every reenactor of every folder. The shipped ones
        take the faces of RecAugNet, as no RecNet ships. Raises CheckpointError, and ProtocolError for a folder without
        any or without its RecNet."""
        found: dict[str, Cascade] = {}
        for weights, label in zip(self.weights, _labels(self.weights), strict=True):
            folders = _stages(weights, (*_FACES, *REENACTMENT, *(f"{stage}_2" for stage in REENACTMENT)))
            reenactors = [stage for stage in REENACTMENT if stage in folders]
            if not reenactors or "recaugnet" not in folders:
                raise ProtocolError(
                    f"{weights}: give the folder of a run that has recaugnet and {' or '.join(REENACTMENT)}, or "
                    f"{SHIPPED!r}"
                )
            if weights == SHIPPED:
                folders.setdefault("recnet", folders["recaugnet"])
            if "recnet" not in folders:
                raise ProtocolError(
                    f"{storage.join(weights, 'recnet')}: there is no {DESCRIPTION} of RecNet, whose faces the "
                    "reenactor was trained on; put RecNet there, or give the folder of a run that has it"
                )
            for reenactor in reenactors:
                cascade = Cascade.load(folders, reenactor, self.model, self.device)
                found[_unused(f"{cascade.title}{label}", found)] = cascade
        return found


@dataclass(frozen=True)
class LoadedCascade(Systems):
    """The networks of a run that is being evaluated."""

    cascade: Cascade = field(kw_only=True)

    @cached_property
    def model(self) -> FaceModel:
        return self.cascade.model

    def reconstructors(self) -> dict[str, Reconstructor]:
        return self.cascade.reconstructors

    def cascades(self) -> dict[str, Cascade]:
        return {self.cascade.title: self.cascade}


@dataclass(frozen=True)
class Protocol:
    """A published way of measuring.

    name      what it is chosen by
    title     what it measures, in a line
    settings  the class of its settings
    measure   (data, systems, settings) -> result; raises ProtocolError
    """

    name: str
    title: str
    measure: Callable[[str, Systems, Any], Result]
    settings: type[ProtocolSettings] = ProtocolSettings


def _networks(weights: str) -> dict[str, str]:
    """Stage -> folder, of the reconstruction networks that ``weights`` names."""
    found = _stages(weights, tuple(RECONSTRUCTORS))
    return found or {storage.base_name(weights): checkpoint_folder(weights, RECONSTRUCTION)}


def _stages(weights: str, stages: Sequence[str]) -> dict[str, str]:
    """Stage -> folder of its network, of those that ``weights`` has or refers to."""
    folders = {
        stage: shipped_weights(stage) if weights == SHIPPED else folder_of(storage.join(weights, stage))
        for stage in stages
    }
    return {stage: folder for stage, folder in folders.items() if storage.exists(storage.join(folder, DESCRIPTION))}


def _labels(folders: Sequence[str]) -> list[str]:
    """What follows a network's title: nothing for one folder, else as many last parts of its path as are needed."""
    if len(folders) < 2:
        return [""] * len(folders)
    paths = [folder.partition("?")[0].rstrip("/").split("/") for folder in folders]
    for parts in range(1, max(map(len, paths)) + 1):
        found = ["/".join(path[-parts:]) for path in paths]
        if len(set(found)) == len(set(folders)):
            break
    return [f" ({each})" for each in found]


def _unused(title: str, taken: Mapping[str, object]) -> str:
    name, number = title, 1
    while name in taken:
        number += 1
        name = f"{title} {number}"
    return name
