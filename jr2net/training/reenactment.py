"""What the trainings of all reenactors share: the scene, the discriminator, the moving average, the sample images."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from jr2net.config import DCNetConfig, Flow3DConfig
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.networks.discriminator import PatchDiscriminator
from jr2net.render.scene import Scene, recombine, set_scene
from jr2net.training import losses
from jr2net.training.pictures import grid
from jr2net.training.training import Batch, Training

Perceptual = Callable[[Tensor], list[Tensor]]
"""Images (B, 3, S, S) to feature maps (Θ of Eq. 4): VGG-19 or RecNet's backbone."""


class ReenactorTraining(Training):
    """Trains a reenactor on pairs of frames of the same clip; a frozen RecNet reconstructs both frames.

    reenactor  the network that is trained; its moving average ``average`` is saved
    networks   the parts of it that have an optimiser of their own, by name
    rates      learning rates of networks for which it is not the optimiser's
    """

    def __init__(
        self,
        reenactor: nn.Module,
        networks: Mapping[str, nn.Module],
        discriminator: PatchDiscriminator,
        recnet: nn.Module,
        perceptual: Perceptual,
        model: FaceModel,
        camera: Camera,
        config: DCNetConfig | Flow3DConfig,
        device: torch.device | str = "cpu",
        rates: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(
            {**networks, "discriminator": discriminator},
            config.optimizer,
            device,
            learning_rates={"discriminator": config.discriminator_learning_rate, **(rates or {})},
            betas=(0.5, 0.999),
        )
        self.loss = config.loss
        self.average: Any = copy.deepcopy(reenactor).requires_grad_(False)
        self.recnet = recnet.to(self.device).eval().requires_grad_(False)
        self.perceptual = perceptual
        self.model = model.to(self.device)
        self.camera = camera

    @torch.no_grad()
    def scene(self, source_image: Tensor, driving_image: Tensor, source_matte: Tensor | None = None) -> Scene:
        """Reconstructs and renders source and driving images (B, 3, S, S)."""
        parameters = self.forward(self.recnet, torch.cat([source_image, driving_image]))
        source, driving = parameters[: len(source_image)], parameters[len(source_image) :]
        return set_scene(self.model, self.camera, source_image, source, recombine(source, driving), source_matte)

    def discriminator_losses(self, microbatch: Batch) -> dict[str, Tensor]:
        """microbatch: with images ``target`` and ``generated`` (B, 3, S, S), and the ``scene`` of the latter."""
        images = torch.cat([microbatch["target"], microbatch["generated"]])
        conditions = microbatch["scene"].conditions
        conditions = conditions.concatenate(conditions)
        real, fake = self.forward(self.wrapped["discriminator"], images, conditions).chunk(2)
        return {"discriminator": losses.discriminator(real, fake)}

    def validation_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted L1 and perceptual distance of the averaged network's image to the driving image.

        As in use, nobody tells the network where the source image shows the person.
        """
        target = batch["driving_image"]
        scene = self.scene(batch["source_image"], target)
        generated, weights = self.forward(self.average, scene).picture, self.loss
        features = (self.forward(self.perceptual, images) for images in (generated, target))
        return {
            "l1": weights.l1 * losses.l1(generated, target),
            "perceptual": weights.perceptual * losses.perceptual(*features),
        }

    @torch.no_grad()
    def sample_images(self, batch: Batch) -> Tensor:
        """Rows of four source images, their driving images, and the output of the averaged generator.

        As in use, nobody tells the network where the source images show the person.
        """
        source, driving = (batch[f"{role}_image"][:4].to(self.device) for role in ("source", "driving"))
        return grid([source, driving, self.forward(self.average, self.scene(source, driving)).picture])

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"average": self.average.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.average.load_state_dict(state["average"])
