"""DCNet's training step: generator and discriminator losses (Eq. 3 to 6) on pairs of frames of the same clip."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jr2net.config import DCNetConfig
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.networks.dcnet import DCNet
from jr2net.networks.discriminator import PatchDiscriminator
from jr2net.render.scene import Scene
from jr2net.training import losses
from jr2net.training.average import update_average
from jr2net.training.reenactment import Perceptual, ReenactorTraining
from jr2net.training.training import Batch


class DCNetTraining(ReenactorTraining):
    """Trains DCNet; a frozen RecNet reconstructs both frames."""

    def __init__(
        self,
        dcnet: DCNet,
        discriminator: PatchDiscriminator,
        recnet: nn.Module,
        perceptual: Perceptual,
        model: FaceModel,
        camera: Camera,
        config: DCNetConfig,
        device: torch.device | str = "cpu",
    ) -> None:
        networks = {"dcnet": dcnet}
        super().__init__(dcnet, networks, discriminator, recnet, perceptual, model, camera, config, device)
        self.config = config

    @property
    def adversarial(self) -> bool:
        """Whether adversarial training has started."""
        return self.config.loss.adversarial > 0 and self.step_number >= self.config.adversarial_from * self.steps

    def step(self, batch: Batch) -> dict[str, float]:
        generated_batches: list[Batch] = []  # micro-batches for the discriminator

        def generator_losses(microbatch: Batch) -> dict[str, Tensor]:
            target = microbatch["driving_image"]
            scene = self.scene(microbatch["source_image"], target)
            self.phases.end("render")
            generated = self.forward(self.wrapped["dcnet"], scene).picture
            generated_batches.append(microbatch | {"generated": generated.detach(), "target": target, "scene": scene})
            return self.generator_losses(generated, target, scene)

        self.networks["discriminator"].requires_grad_(False)
        gradients = [self.backward("dcnet", generator_losses, self.microbatches(batch))]
        self.networks["discriminator"].requires_grad_(True)
        if self.adversarial:
            gradients.append(self.backward("discriminator", self.discriminator_losses, generated_batches))
        values = self.update(gradients)

        update_average(self.average, self.networks["dcnet"], self.config.ema, self.step_number)
        self.phases.end("optimizer")
        self.step_number += 1
        return values

    def generator_losses(self, generated: Tensor, target: Tensor, scene: Scene) -> dict[str, Tensor]:
        """Weighted generator losses of generated and target images (B, 3, S, S)."""
        weights = self.config.loss
        emphasis = 1 + weights.face_emphasis * scene.driving.mask
        terms = {"l1": weights.l1 * losses.l1(generated, target, emphasis)}
        if weights.perceptual > 0:
            with torch.no_grad():
                features = self.forward(self.perceptual, target)
            terms["perceptual"] = weights.perceptual * losses.perceptual(
                self.forward(self.perceptual, generated), features
            )
        if self.adversarial:
            logits = self.forward(self.networks["discriminator"], generated, scene.conditions)
            terms["adversarial"] = weights.adversarial * losses.adversarial(logits)
        return terms
