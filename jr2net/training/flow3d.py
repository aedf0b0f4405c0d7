"""flow3d's training step, in three phases: warp and cycle (A1), refinement (A2), inpainting of the background (B)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, nn

from jr2net.config import Flow3DConfig
from jr2net.errors import UserError
from jr2net.face.camera import Camera
from jr2net.face.landmarks import LEFT_EYE, MOUTH, RIGHT_EYE
from jr2net.face.model import FaceModel
from jr2net.networks.discriminator import PatchDiscriminator
from jr2net.networks.flow3d.blocks import centres
from jr2net.networks.flow3d.geometry import dilate
from jr2net.networks.flow3d.network import Flow3D, check_size, hole_of, premultiplied
from jr2net.networks.flow3d.refine import Foreground
from jr2net.networks.flow3d.warping import Cycle
from jr2net.networks.motion import fill
from jr2net.render.renderer import landmarks_2d
from jr2net.render.scene import Scene
from jr2net.render.view_synthesis import synthesize_view
from jr2net.training import losses
from jr2net.training.average import update_average
from jr2net.training.reenactment import Perceptual, ReenactorTraining
from jr2net.training.schedule import learning_rate
from jr2net.training.training import Batch

_UNKNOWN = 0.1
"""Weight of the background that no frame shows, whose target is a smooth fill, relative to that which is known."""

_NEAR = 1 / 24
"""Standard deviation of the emphasis around eyes and mouth, as a fraction of the image side."""


class MatteError(UserError, ValueError):
    """Training images without mattes; the message names the remedy."""


class Phase(StrEnum):
    """A1 trains the warp, A2 the refinement too, B the inpainting alone. The matte head learns in all of them."""

    WARP = "warp"
    REFINE = "refine"
    INPAINT = "inpaint"


def phase_at(step: int, config: Flow3DConfig) -> Phase:
    """The phase of a step, 0 … steps - 1."""
    first_refine, first_inpaint = phase_starts(config)
    if step >= first_inpaint:
        return Phase.INPAINT
    return Phase.REFINE if step >= first_refine else Phase.WARP


def phase_starts(config: Flow3DConfig) -> tuple[int, int]:
    """The first steps of the phases A2 and B."""
    return round(config.refine_from * config.optimizer.steps), round(config.inpaint_from * config.optimizer.steps)


def flow3d_rate(step: int, config: Flow3DConfig, base: float | None = None) -> float:
    """Learning rate at a step; the schedule runs from warm-up to decay twice: over A1 and A2, and over B.

    ``base`` replaces the configured rate.
    """
    first_inpaint = phase_starts(config)[1]
    steps = config.optimizer.steps - first_inpaint if step >= first_inpaint else first_inpaint
    settings = config.optimizer.model_copy(update={"steps": max(1, steps)})
    return learning_rate(step - first_inpaint if step >= first_inpaint else step, settings, base)


@dataclass(frozen=True)
class Targets:
    """What the foregrounds of a micro-batch are compared with.

    source, driving  (B, 4, S, S)  premultiplied RGBA of both frames
    background       (B, 3, S, S)  the driving frame's own, smoothly continued behind the person
    …_features                     perceptual features of both, in front of black
    emphasis         (B, 1, S, S)  weight of each pixel of the driving view
    """

    source: Tensor
    driving: Tensor
    background: Tensor
    source_features: list[Tensor]
    driving_features: list[Tensor]
    emphasis: Tensor


class Flow3DTraining(ReenactorTraining):
    """Trains Flow3D's networks, each with its own optimiser; a frozen RecNet reconstructs both frames.

    Batches need mattes: ``source_matte`` and ``driving_matte`` (B, 1, S, S) in [0, 1]. In A1 and A2 the foregrounds are
    compared in front of black. The background is trained where it is truly known: where the driving frame reveals what
    the person hid, and in person-shaped holes elsewhere. These are the driving frame's own hole, mirrored and moved,
    since the holes of other samples would make a step depend on how the batch is split among workers.
    """

    def __init__(
        self,
        flow3d: Flow3D,
        discriminator: PatchDiscriminator,
        recnet: nn.Module,
        perceptual: Perceptual,
        model: FaceModel,
        camera: Camera,
        config: Flow3DConfig,
        device: torch.device | str = "cpu",
    ) -> None:
        networks = dict(flow3d.named_children())
        rates = dict.fromkeys(("inpaint", "matte"), config.source_learning_rate)
        super().__init__(flow3d, networks, discriminator, recnet, perceptual, model, camera, config, device, rates)
        self.flow3d, self.discriminator, self.config = flow3d, discriminator, config

    @property
    def phase(self) -> Phase:
        return phase_at(self.step_number, self.config)

    @property
    def adversarial(self) -> bool:
        """Whether this step is adversarial."""
        started = self.step_number >= self.config.adversarial_from * self.steps
        return self.phase is Phase.REFINE and started and self.config.loss.adversarial > 0

    def rate(self, step: int, name: str | None = None) -> float:
        if name == "matte":
            return learning_rate(step, self.config.optimizer, self._base_rates[name])
        return flow3d_rate(step, self.config, None if name is None else self._base_rates[name])

    def step(self, batch: Batch) -> dict[str, float]:
        check_mattes(batch)
        if not self.config.separate_background:
            batch = batch | {f"{role}_matte": torch.ones_like(batch[f"{role}_matte"]) for role in ("source", "driving")}
        check_size(batch["source_image"])
        phase = self.phase
        if phase is Phase.INPAINT:
            trained: tuple[str, ...] = ("inpaint", "matte")
            values = self.update([self.backward(trained, self._source_losses, self.microbatches(batch))])
        else:
            trained = ("warping", "matte") if phase is Phase.WARP else ("warping", "matte", "refine")
            values = self._foreground_step(batch, trained)
        for name in trained:
            update_average(getattr(self.average, name), self.networks[name], self.config.ema, self._steps_of(name))
        self.phases.end("optimizer")
        self.step_number += 1
        return values

    def _steps_of(self, name: str) -> int:
        """How many steps a network was trained for before this one."""
        first_refine, first_inpaint = phase_starts(self.config)
        return self.step_number - {"refine": first_refine, "inpaint": first_inpaint}.get(name, 0)

    def _foreground_step(self, batch: Batch, trained: Sequence[str]) -> dict[str, float]:
        generated_batches: list[Batch] = []  # micro-batches for the discriminator

        def foreground_losses(microbatch: Batch) -> dict[str, Tensor]:
            scene = self.scene(*(microbatch[key] for key in ("source_image", "driving_image", "source_matte")))
            self.phases.end("render")
            target = self.targets(microbatch, scene)
            terms, matte = self.matte_losses(microbatch)
            # The refinement learns with the mattes that it will see.
            source = premultiplied(scene.source_image, matte) if "refine" in trained else target.source
            cycle = self.warp(source, scene)
            terms |= self.warp_losses(cycle, target)
            if "refine" in trained:
                foreground = self.forward(self.wrapped["refine"], cycle.there, source, scene.conditions)
                terms |= self.refine_losses(foreground, target, scene)
                generated = {"target": target.driving[:, :3], "generated": foreground.image.detach(), "scene": scene}
                generated_batches.append(microbatch | generated)
            return terms

        self.networks["discriminator"].requires_grad_(False)
        gradients = [self.backward(trained, foreground_losses, self.microbatches(batch))]
        self.networks["discriminator"].requires_grad_(True)
        if self.adversarial:
            gradients.append(self.backward("discriminator", self.discriminator_losses, generated_batches))
        return self.update(gradients)

    @torch.no_grad()
    def targets(self, microbatch: Batch, scene: Scene) -> Targets:
        """The foregrounds of both frames, their features, and the weight of each pixel."""
        source, driving = (
            premultiplied(microbatch[f"{role}_image"], microbatch[f"{role}_matte"]) for role in ("source", "driving")
        )
        of_source, of_driving = self._features(source, driving)
        background = fill(microbatch["driving_image"], 1 - dilate(microbatch["driving_matte"], 0))
        return Targets(source, driving, background, of_source, of_driving, self.emphasis(scene))

    def emphasis(self, scene: Scene) -> Tensor:
        """(B, 1, S, S): weight of each pixel, larger on the driving face, and largest around its eyes and mouth."""
        weights, side = self.config.loss, self.camera.size
        points = landmarks_2d(self.model, scene.driving_face, self.camera)
        points = torch.cat([points[:, part] for part in (RIGHT_EYE, LEFT_EYE, MOUTH)], dim=1) * (2 / side) - 1
        pixels = centres(side, points.device)
        x, y = ((points[..., axis, None] - pixels).square() for axis in (0, 1))
        nearest = (x[:, :, None] + y[..., None]).amin(1, keepdim=True)
        near = torch.exp(-nearest / (2 * (2 * _NEAR) ** 2))
        return 1 + weights.face_emphasis * scene.driving.mask + weights.feature_emphasis * near

    def matte_losses(self, microbatch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """The weighted loss of the matte head on both frames, and the source's predicted matte, without a graph."""
        images, mattes = (
            torch.cat([microbatch[f"{role}_{kind}"] for role in ("source", "driving")]) for kind in ("image", "matte")
        )
        predicted = self.forward(self.wrapped["matte"], images)
        terms = {"matte": self.config.loss.matte * losses.matte(predicted, mattes)}
        return terms, predicted[: len(images) // 2].detach().float()

    def warp(self, source: Tensor, scene: Scene) -> Cycle:
        """Warps the source foreground (B, 4, S, S) to the driving view and back."""
        faces = scene.source_face, scene.driving_face
        back = synthesize_view(scene.driving, scene.source, self.model.faces, scene.source_image, self.camera)
        priors = (
            self.flow3d.prior(*faces, scene.driving, scene.view.position),
            self.flow3d.prior(*faces[::-1], scene.source, back.position),
        )
        return self.forward(self.wrapped["warping"], source, *map(self.flow3d.coefficients, faces), *priors)

    def warp_losses(self, cycle: Cycle, target: Targets) -> dict[str, Tensor]:
        """Weighted losses of A1: the warped foreground, the cycle, the volume without a warp, and the flow."""
        weights, there = self.config.loss, cycle.there
        source, driving = target.source, target.driving
        warped, back, still = self._features(there.decoded, cycle.back, cycle.still)
        opacity = losses.matte(there.decoded[:, 3:], driving[:, 3:]) + losses.matte(
            there.texture[:, 3:], driving[:, 3:]
        )
        cyclic = losses.cyclic_warp(cycle.back, source, cycle.regained, back, target.source_features, weights.features)
        identity = losses.l1(cycle.still, source) + weights.features * len(still) * losses.perceptual(
            still, target.source_features
        )
        return {
            "warp": weights.l1 * losses.l1(there.decoded[:, :3], driving[:, :3], target.emphasis),
            "texture": weights.l1 * losses.l1(there.texture[:, :3], driving[:, :3], target.emphasis),
            "perceptual_warp": weights.perceptual_warp * losses.perceptual(warped, target.driving_features),
            "opacity_warp": weights.matte * opacity,
            "cycle": weights.cycle * cyclic,
            "identity": weights.identity * identity,
            "total_variation": weights.total_variation * losses.total_variation(there.flow),
        }

    def refine_losses(self, foreground: Foreground, target: Targets, scene: Scene) -> dict[str, Tensor]:
        """Weighted losses of A2: the refined foreground."""
        weights, image, driving = self.config.loss, foreground.image, target.driving
        (features,) = self._features(image)
        # In front of the background, an opacity that is wrong costs what it costs in the picture.
        picture = image + (1 - foreground.matte) * target.background
        truth = driving[:, :3] + (1 - driving[:, 3:]) * target.background
        terms = {
            "l1": weights.l1 * losses.l1(picture, truth, target.emphasis),
            "perceptual": weights.perceptual * losses.perceptual(features, target.driving_features),
            "opacity": weights.matte * losses.matte(foreground.matte, driving[:, 3:]),
        }
        if weights.style > 0:
            terms["style"] = weights.style * losses.style(features, target.driving_features)
        if self.adversarial:
            discriminator, conditions = self.discriminator, scene.conditions
            found = self.forward(discriminator.features, image, conditions)
            terms["adversarial"] = weights.adversarial * losses.adversarial(discriminator.logits(found[-1]))
            if weights.feature_matching > 0:
                with torch.no_grad():
                    real = self.forward(discriminator.features, driving[:, :3], conditions)
                terms["feature_matching"] = weights.feature_matching * losses.feature_matching(found, real)
        return terms

    def _source_losses(self, microbatch: Batch) -> dict[str, Tensor]:
        """Weighted losses of the networks that see the source image alone."""
        return self.background_losses(microbatch) | self.matte_losses(microbatch)[0]

    def background_losses(self, microbatch: Batch) -> dict[str, Tensor]:
        """Weighted losses of B, on the source's hole where the driving frame reveals it, and on a hole elsewhere."""
        source, driving = microbatch["source_image"], microbatch["driving_image"]
        hole, driving_hole = (hole_of(microbatch[f"{role}_matte"]) for role in ("source", "driving"))
        first = microbatch.get("offset", 0)
        elsewhere = moved_hole(driving_hole, [self._shift(first + index) for index in range(len(source))])
        holes = torch.cat([hole, torch.maximum(hole, elsewhere)])
        targets = torch.cat([driving, source])
        known = torch.cat([hole * (1 - driving_hole), elsewhere * (1 - hole)])
        filled = self.forward(self.wrapped["inpaint"], torch.cat([source, source]), holes)
        # Deep inside of the hole nothing is ever revealed; without a target the network would paint anything there.
        smooth, unknown = fill(torch.cat([source, source]), 1 - holes), holes * (1 - known)

        weights = self.config.loss
        distance = losses.inside(filled, targets, known) + _UNKNOWN * losses.inside(filled, smooth, unknown)
        terms = {"background": weights.l1 * distance}
        (features,) = self._features(torch.where(known > 0, filled, targets))
        with torch.no_grad():
            (of_targets,) = self._features(targets)
        terms["perceptual"] = weights.perceptual * losses.perceptual(features, of_targets)
        if weights.style > 0:
            terms["style"] = weights.style * losses.style(features, of_targets)
        return terms

    def _shift(self, sample: int) -> float:
        """By which fraction of the side a sample's hole is moved: pseudo-random, the same on any number of workers."""
        return ((self.step_number * 7919 + sample * 104729) % 997) / 997 - 0.5

    def _features(self, *images: Tensor) -> list[list[Tensor]]:
        """Perceptual features of several batches of images (B, 3 or 4, S, S); an opacity is left out."""
        layers = self.forward(self.perceptual, torch.cat([image[:, :3] for image in images]))
        return [list(maps) for maps in zip(*(layer.chunk(len(images)) for layer in layers), strict=True)]


def moved_hole(hole: Tensor, shifts: Sequence[float]) -> Tensor:
    """Holes (B, 1, S, S), mirrored and moved to the right by fractions of the side, so that they lie elsewhere."""
    side = hole.shape[-1]
    moved = torch.zeros_like(hole)
    for index, shift in enumerate(shifts):
        pixels = round(shift * side)
        mirrored = hole[index].flip(-1)
        right, left = max(pixels, 0), max(-pixels, 0)
        moved[index, ..., right : side - left] = mirrored[..., left : side - right]
    return moved


def check_mattes(batch: Batch) -> None:
    """Raises MatteError where the batch has no mattes."""
    missing = [key for key in ("source_matte", "driving_matte") if key not in batch]
    if missing:
        raise MatteError(
            f"the training clips have no mattes (no {' and '.join(missing)} in the batch), and flow3d is trained on "
            "foreground and background apart: run the stage `mattes`, give your clips the column `matte`, or set "
            "reenactor=dcnet"
        )
