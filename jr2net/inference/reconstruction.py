"""``Reconstructor``: fits faces to photos with RecAugNet or RecNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, overload

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jr2net.device import check_finite, to_device
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.images.arrays import resize, to_tensor
from jr2net.inference.face import FittedFace
from jr2net.inference.messages import Fit, ModelInfo
from jr2net.inference.photo import Photo
from jr2net.inference.weights import RECONSTRUCTION, as_face_model, checkpoint_folder, load_checkpoint
from jr2net.networks.checkpoint import CheckpointError
from jr2net.networks.precision import prepare
from jr2net.render.renderer import landmarks_2d

Precision = Literal["fp32", "bf16", "int8"]
Runtime = Literal["torch", "openvino"]


@dataclass(frozen=True)
class Reconstructor:
    """RecNet or RecAugNet, with the face model and the camera that it was trained with.

    info        description of the network, including the camera of the crops
    batch_size  largest number of crops in one forward pass
    """

    network: nn.Module
    model: FaceModel
    info: ModelInfo
    batch_size: int = 16

    @staticmethod
    def load(
        weights: str | Path | None = None,
        *,
        face_model: FaceModel | str | Path | None = None,
        device: torch.device | str = "cpu",
        precision: Precision = "fp32",
        runtime: Runtime = "torch",
        batch_size: int = 16,
        optimize: bool = True,
    ) -> Reconstructor:
        """Loads a network for inference.

        weights     the folder of a checkpoint or a run, local or ``s3://``; None: the weights of the package
        face_model  the model that it was trained with, as in the setting ``face.model``; None: the procedural one
        precision   precision of the convolutions; int8 needs the runtime openvino
        runtime     torch, or openvino (an optional extra, for CPUs)
        optimize    use a faster memory layout, which rounds differently; False: outputs are bit-identical to training

        Raises CheckpointError if the folder holds no such network or one of another face model, StorageError if it
        cannot be read, OpenVINOError if OpenVINO is requested and not installed.
        """
        model, folder = as_face_model(face_model), checkpoint_folder(weights, RECONSTRUCTION)
        network, info = load_checkpoint(folder, model)
        if info.kind not in ("recnet", "recaugnet"):
            raise CheckpointError(f"{folder}: holds a {info.kind}; give the folder of a RecAugNet or RecNet")
        reconstructor = Reconstructor(network.to(device).eval(), model.to(device), info, batch_size)
        return reconstructor.prepared(precision, runtime) if optimize else reconstructor

    def prepared(self, precision: Precision = "fp32", runtime: Runtime = "torch") -> Reconstructor:
        """The network optimised for inference; its module is modified in place or wrapped."""
        if runtime == "openvino":
            from jr2net.inference.openvino import compile_network, studio_images

            images = studio_images(self.model, self.camera.size) if precision == "int8" else None
            return replace(self, network=compile_network(self.network, self.camera.size, precision, images))
        return replace(self, network=prepare(self.network, precision))

    @property
    def camera(self) -> Camera:
        return self.info.camera

    @overload
    def __call__(self, photos: Photo) -> FittedFace: ...

    @overload
    def __call__(self, photos: Sequence[Photo]) -> list[FittedFace]: ...

    def __call__(self, photos: Photo | Sequence[Photo]) -> FittedFace | list[FittedFace]:
        """Fits the face of a photo, or of each photo of a sequence, in batches of ``batch_size``."""
        if isinstance(photos, Photo):
            return self([photos])[0]
        faces = []
        for first in range(0, len(photos), self.batch_size):
            batch = photos[first : first + self.batch_size]
            fits = self.fit([photo.crop_image(self.camera.size) for photo in batch])
            faces += [FittedFace(photo, fit, self.model) for photo, fit in zip(batch, fits, strict=True)]
        return faces

    @torch.inference_mode()
    def fit(self, crops: Sequence[np.ndarray]) -> list[Fit]:
        """Fits face crops (side, side, 3) uint8 RGB of any side, in one forward pass.

        Raises FloatingPointError where the network's numbers are not finite.
        """
        images = to_tensor([resize(crop, self.camera.size) for crop in crops])
        faces = self.predict(to_device(images, self.model.mean.device))
        check_finite(torch.cat([value.flatten() for value in faces.state().values()]), self.info.kind)
        landmarks = landmarks_2d(self.model, faces, self.camera).cpu().numpy()
        fields = {name: value.float().cpu().numpy() for name, value in faces.state().items()}
        return [
            Fit({name: value[i] for name, value in fields.items()}, landmarks[i], self.info) for i in range(len(crops))
        ]

    @torch.inference_mode()
    def predict(self, images: Tensor) -> FaceParameters:
        """Face crops (B, 3, S, S) in [0, 1] to parameters, S = ``camera.size``. Raises ValueError on other shapes."""
        if images.ndim != 4 or images.shape[1:] != (3, self.camera.size, self.camera.size):
            expected = f"(B, 3, {self.camera.size}, {self.camera.size})"
            raise ValueError(
                f"images have shape {tuple(images.shape)}, expected {expected}; crop and resize them first"
            )
        return self.network(images)

    def predict_resized(self, images: Tensor) -> FaceParameters:
        """``predict`` of images (B, 3, H, H) of any side, resized first: those of a network for another side."""
        size = self.camera.size
        if images.shape[-1] == size:
            return self.predict(images)
        return self.predict(F.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True))

    def warm_up(self, batch_size: int = 1) -> None:
        """Runs the first, slow forward passes now: with one crop, and with a batch."""
        for count in {1, batch_size}:
            self.fit([self._grey_crop()] * count)

    def probe(self) -> None:
        """Fits one grey crop. Raises an error of the device, or FloatingPointError, where the network is broken."""
        self.fit([self._grey_crop()])

    def _grey_crop(self) -> np.ndarray:
        return np.full((self.camera.size, self.camera.size, 3), 128, np.uint8)
