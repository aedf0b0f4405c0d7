"""The cascade's plan: which stages there are, what each is made from, and what of the configuration decides it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from jr2net import storage
from jr2net.config import Config
from jr2net.errors import UserError
from jr2net.face.load import load_face_model
from jr2net.face.model import FaceModel
from jr2net.run import manifest
from jr2net.run.manifest import Manifest

UPSTREAM: dict[str, tuple[str, ...]] = {
    "prepare": (),
    "recnet": ("prepare",),
    "dcnet": ("prepare", "recnet"),
    "synthesis": ("prepare", "recnet", "dcnet"),
    "etnet": ("recnet", "synthesis"),
    "recaugnet": ("prepare", "recnet", "etnet"),
    "evaluation": ("prepare", "recnet", "dcnet", "synthesis", "etnet", "recaugnet"),
}
"""Every stage in the order in which they run, with the stages whose outputs it reads."""

STAGES = tuple(UPSTREAM)
NETWORKS = ("recnet", "dcnet", "etnet", "recaugnet")
NETWORK_FILES = ("model.json", "model.safetensors")
"""What a training leaves in its folder."""


class StageError(UserError, RuntimeError):
    """A stage that cannot begin; the message says what has to be done first."""


class Run:
    """One cascade at one storage: where its stages live and what they are made from."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @cached_property
    def model(self) -> FaceModel:
        return load_face_model(self.config.face)

    def folder(self, stage: str) -> str:
        return storage.join(self.config.storage, stage)

    def folders(self, stage: str) -> dict[str, str]:
        """Where everything lies that ``stage`` reads."""
        return {name: self.folder(name) for name in UPSTREAM[stage]}

    def finished(self, stage: str) -> Manifest:
        """The manifest of a stage. Raises StageError where it has not finished."""
        found = manifest.read_manifest(self.folder(stage))
        if found is None:
            raise StageError(f"{self.folder(stage)}: {stage} has not finished; run it first, or run the whole cascade")
        return found

    def digests(self, stage: str) -> dict[str, str]:
        """Digests of everything that ``stage`` reads."""
        return {name: self.finished(name).digest for name in UPSTREAM[stage]}

    def inputs(self, stage: str) -> dict[str, Any]:
        """All that decides what ``stage`` makes: equal inputs, equal outputs, however it is placed on machines."""
        return {
            "stage": stage,
            "code": manifest.CODE_VERSIONS.get(stage, "1"),
            "seed": self.config.seed,
            "image_size": self.config.image_size,
            "focal_ratio": self.config.face.focal_ratio,
            "face_model": self.model.digest,
            "settings": self._settings(stage),
            "upstream": self.digests(stage),
        }

    def _settings(self, stage: str) -> dict[str, Any]:
        if stage == "prepare":
            return self._data()
        sections = {"recaugnet": ("recaugnet", "recnet")}.get(stage, (stage,))
        tree = self.config.model_dump(mode="json")
        if stage == "synthesis":
            for name in ("sources", "captures", "driving", "reader"):
                if (place := tree[stage][name]) is not None:
                    tree[stage][name] = storage.file_sizes(place)
        return {name: tree[name] for name in sections}

    def _data(self) -> dict[str, Any]:
        """Pictures by what they are, not by where they lie: a run may move with its clips."""
        data = self.config.data
        settings: dict[str, Any] = {}
        if data.clips is None:
            settings["studio"] = data.studio.model_dump(mode="json")
        else:
            settings["clips"] = storage.file_sizes(data.clips, ".parquet")
        if data.test_clips is not None:
            settings["test_clips"] = storage.file_sizes(data.test_clips, ".parquet")
        elif data.clips is not None:
            settings["hold_out"] = data.hold_out
        return settings
