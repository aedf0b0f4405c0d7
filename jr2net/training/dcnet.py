"""DCNet's training step: generator and discriminator losses (Eq. 3 to 6) on pairs of frames of the same clip."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from jr2net.config import DCNetConfig
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.networks.dcnet import DCNet
from jr2net.networks.discriminator import PatchDiscriminator
from jr2net.render.scene import Scene, recombine, set_scene
from jr2net.training import losses
from jr2net.training.pictures import grid
from jr2net.training.training import Batch, Training


class DCNetTraining(Training):
    """Trains DCNet; a frozen RecNet reconstructs both frames.

    perceptual   image (B, 3, S, S) -> list of feature maps (Θ of Eq. 4): VGG-19 or RecNet's backbone
    """

    def __init__(
        self,
        dcnet: DCNet,
        discriminator: PatchDiscriminator,
        recnet: nn.Module,
        perceptual: Callable[[Tensor], list[Tensor]],
        model: FaceModel,
        camera: Camera,
        config: DCNetConfig,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(
            {"dcnet": dcnet, "discriminator": discriminator},
            config.optimizer,
            device,
            learning_rates={"discriminator": config.discriminator_learning_rate},
            betas=(0.5, 0.999),
        )
        self.average = copy.deepcopy(self.networks["dcnet"]).requires_grad_(False)
        self.recnet = recnet.to(self.device).eval().requires_grad_(False)
        self.perceptual = perceptual
        self.model = model.to(self.device)
        self.camera = camera
        self.config = config

    @property
    def adversarial(self) -> bool:
        """Whether adversarial training has started."""
        return self.config.loss.adversarial > 0 and self.step_number >= self.config.adversarial_from * self.steps

    def step(self, batch: Batch) -> dict[str, float]:
        generated_batches: list[Batch] = []  # micro-batches with ``generated`` and ``scene``, for the discriminator

        def generator_losses(microbatch: Batch) -> dict[str, Tensor]:
            scene = self.scene(microbatch["source_image"], microbatch["driving_image"])
            self.phases.end("render")
            generated = self.forward(self.wrapped["dcnet"], scene).picture
            generated_batches.append(microbatch | {"generated": generated.detach(), "scene": scene})
            return self.generator_losses(generated, microbatch["driving_image"], scene)

        self.networks["discriminator"].requires_grad_(False)
        values = self.backward_and_step("dcnet", generator_losses, self.microbatches(batch))
        self.networks["discriminator"].requires_grad_(True)
        if self.adversarial:
            values |= self.backward_and_step("discriminator", self.discriminator_losses, generated_batches)

        self.update_average()
        self.phases.end("optimizer")
        self.step_number += 1
        return values

    @torch.no_grad()
    def scene(self, source_image: Tensor, driving_image: Tensor) -> Scene:
        """Reconstructs and renders source and driving images (B, 3, S, S)."""
        parameters = self.recnet(torch.cat([source_image, driving_image]))
        source, driving = parameters[: len(source_image)], parameters[len(source_image) :]
        return set_scene(self.model, self.camera, source_image, source, recombine(source, driving))

    def generator_losses(self, generated: Tensor, target: Tensor, scene: Scene) -> dict[str, Tensor]:
        """Weighted generator losses of generated and target images (B, 3, S, S)."""
        weights = self.config.loss
        emphasis = 1 + weights.face_emphasis * scene.driving.mask
        terms = {"l1": weights.l1 * losses.l1(generated, target, emphasis)}
        if weights.perceptual > 0:
            terms["perceptual"] = weights.perceptual * losses.perceptual(
                self.perceptual(generated), self.perceptual(target)
            )
        if self.adversarial:
            logits = self.forward(self.networks["discriminator"], generated, scene.conditions)
            terms["adversarial"] = weights.adversarial * losses.adversarial(logits)
        return terms

    def discriminator_losses(self, microbatch: Batch) -> dict[str, Tensor]:
        """microbatch: with ``generated`` (B, 3, S, S) and the ``scene`` that it was generated from."""
        images = torch.cat([microbatch["driving_image"], microbatch["generated"]])
        conditions = microbatch["scene"].conditions
        conditions = conditions.concatenate(conditions)
        real, fake = self.forward(self.wrapped["discriminator"], images, conditions).chunk(2)
        return {"discriminator": losses.discriminator(real, fake)}

    @torch.no_grad()
    def sample_images(self, batch: Batch) -> Tensor:
        """Rows of four source images, their driving images, and the output of the averaged generator."""
        source, driving = (batch[f"{role}_image"][:4].to(self.device) for role in ("source", "driving"))
        return grid([source, driving, self.average(self.scene(source, driving)).picture])

    @torch.no_grad()
    def update_average(self) -> None:
        """Updates the exponential moving average of the generator's weights; the decay is smaller in first steps."""
        decay = min(self.config.ema, (1 + self.step_number) / (10 + self.step_number))
        for mean, value in zip(self.average.parameters(), self.networks["dcnet"].parameters(), strict=True):
            mean.lerp_(value, 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"average": self.average.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.average.load_state_dict(state["average"])
