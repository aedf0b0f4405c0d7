"""The stages of the cascade: their dependencies, folders, and the inputs that determine their outputs."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from jr2net import storage
from jr2net.config import Config
from jr2net.data.sets import prepares_mattes
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
"""The stages in the order in which they run, each with the stages whose outputs it uses."""

STAGES = tuple(UPSTREAM)
NETWORKS = ("recnet", "dcnet", "etnet", "recaugnet")
NETWORK_FILES = ("model.json", "model.safetensors")
"""Files of a trained network in the folder of its stage."""


class StageError(UserError, RuntimeError):
    """A stage that cannot start or complete; the message names the remedy."""


class Run:
    """One run of the cascade at one storage: the folders and the inputs of its stages."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @cached_property
    def model(self) -> FaceModel:
        return load_face_model(self.config.face)

    def folder(self, stage: str) -> str:
        """Folder or URI of a stage."""
        return storage.join(self.config.storage, stage)

    def folders(self, stage: str) -> dict[str, str]:
        """Folders of the stages that ``stage`` depends on, by name."""
        return {name: self.folder(name) for name in UPSTREAM[stage]}

    def finished_manifest(self, stage: str) -> Manifest:
        """The manifest of a finished stage. Raises StageError if it has not finished."""
        finished = manifest.read_manifest(self.folder(stage))
        if finished is None:
            raise StageError(f"{self.folder(stage)}: {stage} has not finished; run it first, or run the whole cascade")
        return finished

    def digests(self, stage: str) -> dict[str, str]:
        """Digests of the outputs that ``stage`` uses, by stage."""
        return {name: self.finished_manifest(name).digest for name in UPSTREAM[stage]}

    def inputs(self, stage: str) -> dict[str, Any]:
        """Everything that determines the outputs of ``stage``, independent of the machines it runs on."""
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
                if (uri := tree[stage][name]) is not None:
                    tree[stage][name] = storage.file_sizes(uri)
        return {name: tree[name] for name in sections}

    def _data(self) -> dict[str, Any]:
        """Settings of the data. Clips are identified by name and size, not by path, so that they may be moved."""
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
        # Only if set, so that runs without them stay finished.
        if prepares_mattes(self.config):
            settings["mattes"] = True
        if data.clips is None and self.config.evaluation.turned:
            settings["turned"] = True
        return settings
