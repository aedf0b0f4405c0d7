"""What a user calls to fit a face: pictures in, ``FaceParameters`` out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.networks.checkpoint import DESCRIPTION, WEIGHTS, load_network, read_description
from jr2net.storage import local_copy


@dataclass(frozen=True)
class Reconstructor:
    """RecNet or RecAugNet beside the face model and the camera that give its numbers a meaning."""

    network: nn.Module
    model: FaceModel
    camera: Camera

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> FaceParameters:
        """Face crops (B, 3, S, S) in [0, 1] to parameters; S is ``camera.size``. Raises ValueError on other shapes."""
        if images.ndim != 4 or images.shape[1:] != (3, self.camera.size, self.camera.size):
            wanted = f"(B, 3, {self.camera.size}, {self.camera.size})"
            raise ValueError(
                f"pictures have shape {tuple(images.shape)}, expected {wanted}; crop and resize them first"
            )
        return self.network(images)


def load_reconstructor(folder: str | Path, model: FaceModel, device: torch.device | str = "cpu") -> Reconstructor:
    """The RecNet or RecAugNet of a checkpoint folder, local or s3://, with the camera it was trained for.

    Raises CheckpointError where the folder holds none or was made for another face model, StorageError where it cannot
    be read.
    """
    with local_copy(str(folder), (DESCRIPTION, WEIGHTS)) as local:
        architecture = read_description(local)["architecture"]
        network = load_network(local, model).to(device).eval()
    seen_through = Camera.default(architecture["image_size"], architecture["focal_ratio"])
    return Reconstructor(network, model.to(device), seen_through)
