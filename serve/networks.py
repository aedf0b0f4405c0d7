"""The two networks as plain objects: arrays in, arrays out, a batch at a time. No Ray, no HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import nn

from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.images.arrays import resize, to_tensor
from jr2net.inference.compositing import GeneratedCrop, acts
from jr2net.inference.reconstruction import Reconstructor, load_reconstructor
from jr2net.networks.checkpoint import DESCRIPTION, WEIGHTS, CheckpointError, load_network, read_description
from jr2net.networks.dcnet import DCNet
from jr2net.networks.precision import prepare
from jr2net.render.renderer import landmarks_2d
from jr2net.render.scene import set_scene
from jr2net.storage import local_copy

FaceArrays = dict[str, np.ndarray]
"""One face: ``FaceParameters`` field by field, float32, without the batch's dimension."""


@dataclass(frozen=True)
class ModelInfo:
    """What callers are told about a network: its kind, digest of its weights, and the camera it was made for."""

    kind: str
    digest: str
    size: int
    focal_ratio: float

    @property
    def camera(self) -> Camera:
        return Camera.default(self.size, self.focal_ratio)


@dataclass(frozen=True)
class Fit:
    """A fitted face, its 68 landmarks in crop pixels, and the network that found it."""

    face: FaceArrays
    landmarks: np.ndarray
    network: ModelInfo


@dataclass(frozen=True)
class ReenactRequest:
    """What DCNet is asked for: a source crop (any side) uint8, its face, and the face that the result shall show."""

    picture: np.ndarray
    source: FaceArrays
    driving: FaceArrays


@dataclass(frozen=True)
class ReenactResult:
    """What came of a part, and the network that made it."""

    act: GeneratedCrop
    network: ModelInfo


class Networks(Protocol):
    """The networks as the HTTP side sees them, wherever they run. Answers come in the order of what was asked."""

    async def fit(self, pictures: list[np.ndarray]) -> list[Fit]:
        """Face crops (any side) uint8 RGB to their faces; at most a batch."""

    async def play(self, parts: list[ReenactRequest]) -> list[ReenactResult]:
        """Parts to the pictures of them; at most a batch."""

    async def describe(self) -> dict[str, ModelInfo]:
        """``reconstruction`` and ``reenactment``; whoever is not ready raises."""


class FittingNetwork:
    """RecNet or RecAugNet."""

    def __init__(self, reconstructor: Reconstructor, described: ModelInfo) -> None:
        self.reconstructor = reconstructor
        self.described = described

    @staticmethod
    def load(
        folder: str, model: FaceModel, device: torch.device, runtime: str = "torch", precision: str = "fp32"
    ) -> FittingNetwork:
        """Raises CheckpointError or StorageError; RuntimeError where OpenVINO is asked for and not installed."""
        reconstructor = load_reconstructor(folder, model, device)
        if runtime == "openvino":
            from jr2net.inference.openvino import compile_reconstructor, studio_pictures

            pictures = studio_pictures(model, reconstructor.camera.size) if precision == "int8" else None
            reconstructor = compile_reconstructor(reconstructor, precision, pictures)
        else:
            reconstructor = replace(reconstructor, network=prepare(reconstructor.network, precision))
        return FittingNetwork(reconstructor, _describe(folder))

    def __call__(self, pictures: Sequence[np.ndarray]) -> list[Fit]:
        device = self.reconstructor.model.mean.device
        with torch.inference_mode():
            faces = self.reconstructor(_batch(pictures, self.described.size).to(device))
            landmarks = landmarks_2d(self.reconstructor.model, faces, self.reconstructor.camera).cpu().numpy()
        fields = {name: value.float().cpu().numpy() for name, value in faces.state().items()}
        return [
            Fit({name: value[i] for name, value in fields.items()}, landmarks[i], self.described)
            for i in range(len(pictures))
        ]

    def warm_up(self, batch: int) -> None:
        """The first passes of a network are slow; better before the first request than in it."""
        picture = np.full((self.described.size, self.described.size, 3), 128, np.uint8)
        for count in {1, batch}:
            self([picture] * count)


class ActingNetwork:
    """DCNet beside the face model that sets its scenes."""

    def __init__(self, network: nn.Module, model: FaceModel, described: ModelInfo) -> None:
        self.network, self.model, self.described = network, model, described

    @staticmethod
    def load(folder: str, model: FaceModel, device: torch.device, precision: str = "fp32") -> ActingNetwork:
        """Raises CheckpointError where the folder holds no DCNet, or StorageError."""
        with local_copy(folder, (DESCRIPTION, WEIGHTS)) as local:
            network = load_network(local, model)
        if not isinstance(network, DCNet):
            raise CheckpointError(f"{folder}: holds a {network.kind}; reenactment.weights must name a DCNet")
        return ActingNetwork(prepare(network.to(device), precision), model.to(device), _describe(folder))

    def __call__(self, parts: Sequence[ReenactRequest]) -> list[ReenactResult]:
        device = self.model.mean.device
        with torch.inference_mode():
            pictures = _batch([part.picture for part in parts], self.described.size).to(device)
            source, driving = (
                to_parameters([getattr(part, name) for part in parts]).to(device) for name in ("source", "driving")
            )
            scene = set_scene(self.model, self.described.camera, pictures, source, driving)
            generated = self.network(scene)
        return [ReenactResult(act, self.described) for act in acts(scene, generated)]

    def warm_up(self, batch: int) -> None:
        neutral = to_arrays(self.model.to("cpu").neutral(1))
        picture = np.full((self.described.size, self.described.size, 3), 128, np.uint8)
        for count in {1, batch}:
            self([ReenactRequest(picture, neutral, neutral)] * count)


def to_parameters(faces: Sequence[FaceArrays]) -> FaceParameters:
    """Faces to a batch of them."""
    return FaceParameters(**{name: torch.from_numpy(np.stack([face[name] for face in faces])) for name in faces[0]})


def to_arrays(face: FaceParameters) -> FaceArrays:
    """The first face of a batch."""
    return {name: value[0].float().numpy() for name, value in face.state().items()}


def _batch(pictures: Sequence[np.ndarray], size: int) -> torch.Tensor:
    """Crops come at the network's size, but for those that were cut just before its weights were changed."""
    return to_tensor([resize(picture, size) for picture in pictures])


def _describe(folder: str) -> ModelInfo:
    with local_copy(folder, (DESCRIPTION,)) as local:
        description = read_description(local)
    architecture = description["architecture"]
    return ModelInfo(
        description["kind"], description["weights_sha256"], architecture["image_size"], architecture["focal_ratio"]
    )
