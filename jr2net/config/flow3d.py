"""Settings of the second reenactor, 3DFlowRenderer (arXiv 2404.14667). The defaults are its small size, for 64 pixels.

``configs/paper-flow3d.yaml`` has the paper's size, for 256 pixels.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from jr2net.config.networks import OptimizerConfig
from jr2net.settings import Effect, Section


class Flow3DLossConfig(Section):
    """Weights of the loss terms. The defaults are for the perceptual features of a small RecNet."""

    l1: float = Field(20.0, ge=0, description="weight of the L1 loss of the warped and of the refined foreground")
    perceptual_warp: float = Field(5.0, ge=0, description="weight of the warped foreground's perceptual loss")
    perceptual: float = Field(5.0, ge=0, description="weight of the refined foreground's and the background's")
    style: float = Field(0.0, ge=0, description="weight of the style (Gram) loss of foreground and background")
    cycle: float = Field(10.0, ge=0, description="weight of the cyclic warp loss")
    identity: float = Field(5.0, ge=0, description="weight of the loss of the source volume, decoded without a warp")
    features: float = Field(
        0.05, ge=0, description="weight of the features within the cyclic and the identity loss, relative to L1"
    )
    total_variation: float = Field(0.05, ge=0, description="weight of the flow's total variation")
    matte: float = Field(15.0, ge=0, description="weight of the loss of each predicted matte")
    adversarial: float = Field(0.2, ge=0, description="weight of the adversarial (hinge) loss")
    feature_matching: float = Field(0.0, ge=0, description="weight of the distance of the discriminator's features")
    face_emphasis: float = Field(1.0, ge=0, description="extra L1 weight inside the driving face's mask")
    feature_emphasis: float = Field(2.0, ge=0, description="extra L1 weight around the eyes and the mouth")


class Flow3DOptimizerConfig(OptimizerConfig):
    """Adam and its schedule, which runs twice: over phases A1 and A2, and over phase B."""

    steps: Annotated[int, Effect.EXTENT] = Field(3000, ge=1, description="number of optimiser steps of all phases")
    batch_size: int = Field(8, ge=1, description="global batch size")
    learning_rate: float = Field(4e-4, gt=0, description="Adam's learning rate after warm-up")
    warmup: int = Field(50, ge=0, description="number of linear warm-up steps, of each schedule")


class Flow3DConfig(Section):
    prior: Literal["none", "pose", "mesh"] = Field(
        "mesh",
        description="motion to which the predicted flow is added: none, as in the paper; pose, the head's rigid motion "
        "at each voxel, which is learnt with far fewer steps; or mesh, with the motion of the reconstructed face added "
        "to it, which makes large expressions move that no training frame shows",
    )
    separate_background: bool = Field(
        True, description="draw the person alone, in front of an inpainted background; false: draw the whole image"
    )
    shortcut: bool = Field(
        True,
        description="give the refinement the source warped at full resolution; false: colours come from the volume",
    )
    channels: int = Field(8, ge=1, description="channels of the feature volume")
    depth: int = Field(8, ge=1, description="depth of the feature volume, in voxels")
    lift_width: int = Field(16, ge=1, description="channels of the lift at full resolution; doubled at 1/2 and 1/4")
    lift_blocks: int = Field(2, ge=0, description="3D residual blocks of the lift")
    flow_code: int = Field(64, ge=1, description="length of the code that both faces' coefficients are mapped to")
    flow_widths: tuple[int, ...] = Field(
        (12, 24, 48, 48), min_length=1, description="channels of the flow's 3D U-Net at 1, 1/2, 1/4, … of the volume"
    )
    flow_blocks: int = Field(0, ge=0, description="3D residual blocks at the bottom of the flow's U-Net")
    projection_width: int = Field(48, ge=4, description="channels of the projected features")
    refine_widths: tuple[int, ...] = Field(
        (16, 32, 64, 64),
        min_length=3,
        description="channels of the refinement's U-Net at 1, 1/2, 1/4, … of the image side",
    )
    refine_blocks: int = Field(2, ge=0, description="transformer blocks at the bottom of the refinement's U-Net")
    refine_heads: int = Field(4, ge=1, description="attention heads of a transformer block")
    inpaint_widths: tuple[int, ...] = Field(
        (12, 24, 48, 48), min_length=1, description="channels of the inpainting's dilated U-Net at 1, 1/2, 1/4, …"
    )
    matte_widths: tuple[int, ...] = Field(
        (16, 32, 64, 64), min_length=1, description="channels of the matte head's dilated U-Net at 1, 1/2, 1/4, …"
    )
    discriminator_width: int = Field(24, ge=1, description="channels of the discriminator's first layer")
    optimizer: Flow3DOptimizerConfig = Flow3DOptimizerConfig()
    discriminator_learning_rate: float = Field(4e-4, gt=0, description="the discriminator's learning rate")
    source_learning_rate: float = Field(
        2e-3, gt=0, description="learning rate of the networks that see the source image alone: inpainting, matte head"
    )
    refine_from: float = Field(
        0.1667, ge=0, le=1, description="fraction of the steps after which refinement is trained too (phase A2)"
    )
    adversarial_from: float = Field(
        0.7,
        ge=0,
        le=1,
        description="fraction of the steps after which adversarial training starts, within phase A2: there is none if "
        "it is not below `inpaint_from`",
    )
    inpaint_from: float = Field(
        0.8333, ge=0, le=1, description="fraction of the steps after which inpainting alone is trained (phase B)"
    )
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the networks' moving average, which is saved")
    loss: Flow3DLossConfig = Flow3DLossConfig()
    vgg19: Annotated[str | None, Effect.CONTENT] = Field(
        None, description="VGG-19 weights of the perceptual loss; none: RecNet's backbone"
    )
    jitter: float = Field(0.05, ge=0, le=0.5, description="augmentation: shift and scale of the crop")

    @model_validator(mode="after")
    def _check(self) -> Flow3DConfig:
        if not self.refine_from <= self.inpaint_from:
            raise ValueError(
                f"refine_from {self.refine_from:g} is after inpaint_from {self.inpaint_from:g}: refinement is trained "
                "before inpainting"
            )
        if self.refine_widths[-1] % (4 * self.refine_heads):
            raise ValueError(
                f"refine_widths end in {self.refine_widths[-1]}, which is not a multiple of 4 x {self.refine_heads} "
                "(refine_heads)"
            )
        return self
