"""What an evaluation is measured with: the networks and the sets of clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from jr2net.config import Config
from jr2net.data.clips import ClipSource
from jr2net.data.sets import test_clips, training_clips
from jr2net.evaluation.judges import Judges
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor

RECONSTRUCTORS = {
    "recnet": "RecNet",
    "reccopynet": "RecCopyNet",
    "recdatanet": "RecDataNet",
    "baseline": "Baseline",
    "recaugnet": "RecAugNet",
    "recaugnet_2": "RecAugNet 2",
}
"""Stage of a network that reconstructs faces -> its title; those of Table 4, and RecAugNet of the second round."""


@dataclass(frozen=True)
class Cascade:
    """The networks to evaluate. The reenactor's faces come from RecNet, as in training.

    others  further networks that reconstruct faces, by title
    second  reenactor of the second round, whose faces come from RecAugNet; None: the run has one round
    """

    reenactor: Reenactor
    recnet: Reconstructor
    recaugnet: Reconstructor
    others: Mapping[str, Reconstructor] = field(default_factory=dict)
    second: Reenactor | None = None

    @staticmethod
    def load(
        folders: Mapping[str, str], reenactor: str, model: FaceModel, device: torch.device | str = "cpu"
    ) -> Cascade:
        """From the folders of ``recnet``, ``recaugnet`` and the stage ``reenactor``, with the numbers of training; and
        of the other stages of ``RECONSTRUCTORS`` and of the second round that have one."""
        options: dict[str, Any] = {"face_model": model.to(device), "device": device, "optimize": False}
        found = {stage: Reconstructor.load(folders[stage], **options) for stage in RECONSTRUCTORS if stage in folders}
        recnet, recaugnet = found.pop("recnet"), found.pop("recaugnet")
        options["reenactor"] = reenactor
        first = Reenactor.load(folders[reenactor], reconstructor=recnet, **options)
        second = None
        if (again := f"{reenactor}_2") in folders:
            second = Reenactor.load(folders[again], reconstructor=recaugnet, **options)
        return Cascade(first, recnet, recaugnet, {RECONSTRUCTORS[stage]: each for stage, each in found.items()}, second)

    @property
    def reconstructors(self) -> dict[str, Reconstructor]:
        """All networks that reconstruct faces, by title, in the order of ``RECONSTRUCTORS``."""
        found = {"RecNet": self.recnet, "RecAugNet": self.recaugnet, **self.others}
        return {title: found[title] for title in RECONSTRUCTORS.values() if title in found}

    @property
    def model(self) -> FaceModel:
        return self.reenactor.model

    @property
    def camera(self) -> Camera:
        return self.reenactor.camera

    @property
    def title(self) -> str:
        """What the reenactor is called, e.g. DCNet."""
        return str(getattr(self.reenactor.network, "title", self.reenactor.info.kind))


@dataclass(frozen=True)
class Bench:
    """What one worker measures with.

    sets      the test sets by name
    training  the training set, of which the baselines are means
    crop_mm   crop radius of the geometric error
    judges    networks that judge generated images and share nothing with the cascade
    """

    cascade: Cascade
    sets: Mapping[str, ClipSource]
    training: ClipSource
    crop_mm: float
    judges: Judges = field(default_factory=Judges)

    @staticmethod
    def load(config: Config, model: FaceModel, folders: Mapping[str, str], device: torch.device | str = "cpu") -> Bench:
        """From the folders of the stages, see ``evaluate``. Raises UserError where one cannot be read."""
        cascade = Cascade.load(folders, config.reenactor, model, device)
        sets, training = test_clips(config, folders["prepare"]), training_clips(config, folders["prepare"])
        judges = Judges.load(config.evaluation.inception, config.evaluation.embedder, device)
        return Bench(cascade, sets, training, config.evaluation.crop_mm, judges)


Measurement = Callable[[Bench], Any]
"""A part of an evaluation, which one worker measures; it and what it returns can be sent, and are on the CPU."""
