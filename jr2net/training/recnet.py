"""RecNet's training step: self-supervised, after Deep3DFaceReconstruction and MGCNet (Shang et al. 2020).

A batch has two frames of each clip. Every second pair swaps identity and albedo between its frames: a clip shows one
person, so the identity of one frame must fit the other. This keeps expressions out of the identity.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jr2net.config import OptimizerConfig, RecNetLossConfig
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.networks.weights import freeze
from jr2net.render.renderer import landmarks_2d, render
from jr2net.training import losses
from jr2net.training.pictures import grid
from jr2net.training.training import Batch, Training


class RecNetTraining(Training):
    """Trains RecNet or RecAugNet on pairs of frames with 2D landmarks.

    exchange          whether to swap identities within pairs, see ``exchange_identity``
    photometric_from  fraction of the steps trained on landmarks only, without rendering
    embedder          image (B, 3, S, S) -> face embedding (B, C) for the identity loss, or None
    expression        weight of the activation loss on those faces whose coefficients a batch has (``data.mixture``)
    """

    def __init__(
        self,
        network: nn.Module,
        model: FaceModel,
        camera: Camera,
        optimizer: OptimizerConfig,
        loss: RecNetLossConfig,
        device: torch.device | str = "cpu",
        exchange: bool = True,
        photometric_from: float = 0.0,
        embedder: nn.Module | None = None,
        expression: float = 0.0,
    ) -> None:
        super().__init__({"recnet": network}, optimizer, device)
        self.model = model.to(self.device)
        self.camera = camera
        self.loss = loss
        self.exchange = exchange
        self.photometric_from = photometric_from
        self.expression = expression
        self.embedder = freeze(embedder.to(self.device)) if embedder is not None else None
        self.skin = self.model.has_label("skin").nonzero().squeeze(1)
        self.skin_and_lips = self.model.has_label("skin", "lips")

    def step(self, batch: Batch) -> dict[str, float]:
        deviations: list[Tensor] = []

        def losses_of(microbatch: Batch) -> dict[str, Tensor]:
            images = torch.cat([microbatch["source_image"], microbatch["driving_image"]])
            landmarks = torch.cat([microbatch["source_landmarks"], microbatch["driving_landmarks"]])
            parameters = self.forward(self.wrapped["recnet"], images)
            deviations.append(parameters.expression.detach().std(0, correction=0).mean())
            terms = {}
            if self.expression:
                known = torch.cat([microbatch["source_expression"], microbatch["driving_expression"]])
                terms["activation"] = self.expression * losses.known_activation(parameters.expression, known)
            if self.exchange:
                position = microbatch["position"] if "position" in microbatch else microbatch.get("offset", 0)
                parameters = exchange_identity(parameters, position)
            return self.losses(parameters, images, landmarks) | terms

        gradients = self.backward("recnet", losses_of, self.microbatches(batch))
        values = self.update([gradients], {"expression_deviation": torch.stack(deviations).mean()})
        self.step_number += 1
        return values

    def validation_losses(self, batch: Batch) -> dict[str, Tensor]:
        """As in training, before identities are swapped; without photometric terms as long as these are not trained."""
        images = torch.cat([batch["source_image"], batch["driving_image"]])
        landmarks = torch.cat([batch["source_landmarks"], batch["driving_landmarks"]])
        return self.losses(self.forward(self.networks["recnet"], images), images, landmarks)

    @torch.no_grad()
    def sample_images(self, batch: Batch) -> Tensor:
        """Four source images, and below them the reconstructions rendered over the images."""
        images = batch["source_image"][:4].to(self.device)
        rendering = render(self.model, self.networks["recnet"](images), self.camera)
        overlay = torch.lerp(images, rendering.image, rendering.mask)
        return grid([images, overlay])

    def losses(self, parameters: FaceParameters, images: Tensor, landmarks: Tensor) -> dict[str, Tensor]:
        """Weighted terms of RecNet's loss. images (B, 3, S, S); landmarks (B, 68, 2) in pixels, NaN undetected."""
        weights = self.loss
        terms = {
            "regularization": losses.regularization(parameters, weights),
            "light_grey": weights.light_grey * losses.light_grey(parameters.light),
        }
        if self.step_number < self.photometric_from * self.steps:
            projected = landmarks_2d(self.model, parameters, self.camera)
            return terms | {"landmark": losses.landmark(projected, landmarks, self.camera.size, weights)}
        self.phases.end("forward")
        rendered = parameters if weights.photometric_geometry else detach_geometry(parameters)
        rendering = render(self.model, rendered, self.camera)
        image = rendering.image
        compared = rendering.mask_of(self.skin_and_lips) if weights.skin_mask else rendering.mask
        self.phases.end("render")
        projected = landmarks_2d(self.model, parameters, self.camera)
        reflectance = self.model.reflectance(parameters.albedo)
        terms |= {
            "landmark": losses.landmark(projected, landmarks, self.camera.size, weights),
            "photometric": weights.photometric * losses.photometric(image, images, compared),
            "albedo_variance": weights.albedo_variance * losses.albedo_variance(reflectance[:, self.skin]),
        }
        if self.embedder is not None:
            composed = torch.lerp(images, image, rendering.mask)
            with torch.no_grad():
                embedding = self.forward(self.embedder, images)
            terms["identity_feature"] = weights.identity_feature * losses.identity_feature(
                self.forward(self.embedder, composed), embedding
            )
        return terms


def detach_geometry(parameters: FaceParameters) -> FaceParameters:
    """The same parameters; only albedo and light receive gradients."""
    return parameters.replace(
        identity=parameters.identity.detach(),
        expression=parameters.expression.detach(),
        rotation=parameters.rotation.detach(),
        translation=parameters.translation.detach(),
    )


def exchange_identity(parameters: FaceParameters, position: int | Tensor = 0) -> FaceParameters:
    """Swaps identity and albedo between the two frames of every second pair.

    ``parameters`` holds all source frames, then all driving frames, in the same order. ``position`` is the index in the
    global batch of the first pair, or of each (B,): which pairs are swapped must not depend on how the batch is split.
    """
    pairs = len(parameters) // 2
    order = torch.arange(2 * pairs, device=parameters.identity.device)
    positions = position.repeat(2) if isinstance(position, Tensor) else order % pairs + position
    source_of_identity = torch.where(positions % 2 == 1, (order + pairs) % (2 * pairs), order)
    return parameters.replace(
        identity=parameters.identity[source_of_identity], albedo=parameters.albedo[source_of_identity]
    )
