"""Settings of the networks: one frozen section per network, and those that they share. Part of ``jr2net.config``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from jr2net.config.clip_sets import ClipSets
from jr2net.settings import Effect, Section

KEYPOINTS = 70
"""Keypoints that the studio's films know: ``face.landmarks.KEYPOINTS``, which is below this package."""


class BackboneConfig(Section):
    """A ResNet (He et al. 2016)."""

    layers: Literal[10, 18, 34, 50] = Field(50, description="ResNet-10 (one block per stage), -18, -34 or -50")
    width: int = Field(64, ge=8, description="channels of the first stage; 64 in the paper (and torchvision)")
    points: int = Field(
        0, ge=0, description="learnt keypoints whose coordinates join the pooled features; 0: pooled features only"
    )
    weights: Annotated[str | None, Effect.CONTENT] = Field(
        None, description="torchvision weights (.pth, .safetensors); none: from scratch"
    )
    side: int | None = Field(
        None,
        ge=32,
        description="side to which images are shrunk before the network sees them, a divisor of `image_size`; none: "
        "they are not",
    )


class OptimizerConfig(Section):
    """Adam and its schedule. The batch size is global, independent of the number of workers."""

    steps: Annotated[int, Effect.EXTENT] = Field(..., ge=1, description="number of optimiser steps")
    batch_size: int = Field(..., ge=1, description="global batch size")
    learning_rate: float = Field(..., gt=0, description="Adam's learning rate after warm-up")
    warmup: int = Field(0, ge=0, description="number of linear warm-up steps")
    decay: Literal["none", "cosine", "step"] = Field(
        "cosine", description="learning-rate decay after warm-up; step: divide by 5 half-way (as in Deep3D)"
    )
    clip_gradient: float = Field(1.0, gt=0, description="maximum gradient norm (gradients are clipped to it)")


class RecNetLossConfig(Section):
    """Loss weights as in Deep3DFaceReconstruction. Landmark distances are squared, in pixels of a 224-pixel image."""

    photometric: float = Field(1.92, ge=0, description="weight of the colour distance over the rendered face")
    photometric_geometry: bool = Field(
        True,
        description="photometric gradients reach shape and pose too; false: albedo and light only",
    )
    skin_mask: bool = Field(
        False,
        description="the photometric loss compares only pixels where the face model shows skin or lips, by its vertex "
        "labels (a model without labels is all skin); false: the whole rendered face",
    )
    landmark: float = Field(1.6e-3, ge=0, description="weight of the squared landmark distance")
    landmark_linear_from: float | None = Field(
        None,
        gt=0,
        description="Huber threshold (in pixels of 224): the loss is linear beyond it; none: squared, as published",
    )
    landmark_emphasis: float = Field(20.0, ge=1, description="landmark weight of the inner mouth and the nose bridge")
    landmark_jaw: float = Field(1.0, ge=0, description="landmark weight of the jaw line (points 0 to 16)")
    identity_feature: float = Field(0.2, ge=0, description="weight of the embeddings' distance; needs `embedder`")
    regularization: float = Field(3e-4, ge=0, description="common factor of the three regularisation terms below")
    regularization_identity: float = Field(1.0, ge=0, description="weight of the squared identity coefficients")
    regularization_expression: float = Field(0.8, ge=0, description="weight of the squared expression coefficients")
    regularization_albedo: float = Field(1.7e-2, ge=0, description="weight of the squared albedo coefficients")
    light_grey: float = Field(10.0, ge=0, description="weight of the light's distance from grey")
    albedo_variance: float = Field(5.0, ge=0, description="weight of the variance of the skin's albedo")


class RecNetConfig(Section):
    clips: ClipSets = Field(
        None,
        description="sets of clips that RecNet and RecAugNet are trained on, each a `uri` and a `weight`; none: "
        "`data.clips`",
    )
    backbone: BackboneConfig = BackboneConfig()
    optimizer: OptimizerConfig
    loss: RecNetLossConfig = RecNetLossConfig()
    photometric_from: float = Field(
        0.0, ge=0, lt=1, description="fraction of the steps trained on landmarks only, without rendering"
    )
    embedder: Annotated[str | None, Effect.CONTENT] = Field(
        None, description="TorchScript face embedder of the identity loss; none: off"
    )
    exchange_identity: bool = Field(
        True, description="swap the identities of the two frames of a clip in every second pair"
    )
    jitter: float = Field(0.1, ge=0, le=0.5, description="augmentation: shift and scale of the crop")


class DCNetLossConfig(Section):
    l1: float = Field(10.0, ge=0, description="weight of the L1 loss (Eq. 3)")
    perceptual: float = Field(10.0, ge=0, description="weight of the perceptual loss (Eq. 4)")
    adversarial: float = Field(1.0, ge=0, description="weight of the adversarial loss (Eq. 5)")
    face_emphasis: float = Field(
        1.0,
        ge=0,
        description="extra L1 weight inside the driving face's mask; default 0 (Eq. 3) with `generator: paper`",
    )


class DCNetConfig(Section):
    """DCNet. Table 5 of the paper is these settings of ``conditions`` and ``warped_image``, with either generator:

    Ours-R  rendered, false   the rendered face alone
    Ours-P  dense, false      dense pixel-level conditions, without the warped source image
    Ours-L  no_light, true    the full network without light control
    Ours    dense, true       the full network
    """

    clips: ClipSets = Field(
        None, description="sets of clips that DCNet is trained on, each a `uri` and a `weight`; none: `data.clips`"
    )
    generator: Literal["warp", "paper"] = Field(
        "warp",
        description="warp: warps the source image and corrects it; paper: synthesises the whole image (Figure 3)",
    )
    conditions: Literal["dense", "rendered", "no_light"] = Field(
        "dense",
        description="what generator and discriminator see of the driving face; dense: normals, light and co-visible "
        "mask; no_light: without light, nor a rendering, which is lit; rendered: the rendered face instead of normals "
        "and light (and no co-visible mask unless `warped_image`)",
    )
    warped_image: bool = Field(
        True, description="whether the warped source image is one of the conditions of generator and discriminator"
    )
    start: Annotated[str | None, Effect.CONTENT] = Field(
        None,
        description="folder of a DCNet to begin from, of the same architecture, e.g. one trained with smaller images; "
        "none: from the start",
    )
    width: int = Field(64, ge=8, description="channels at full resolution")
    scales: int = Field(3, ge=1, le=6, description="down-samplings of the texture encoder (and the generator)")
    context_scales: int = Field(2, ge=0, le=4, description="additional down-samplings of the context encoder")
    blocks: int = Field(2, ge=1, description="residual blocks at the generator's coarsest scale")
    optimizer: OptimizerConfig
    discriminator_learning_rate: float = Field(4e-4, gt=0, description="the discriminator's learning rate")
    adversarial_from: float = Field(
        0.5,
        ge=0,
        le=1,
        description="fraction of the steps after which adversarial training starts; default 0 with `generator: paper`",
    )
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the generator's moving average, which is saved")
    loss: DCNetLossConfig = DCNetLossConfig()
    vgg19: Annotated[str | None, Effect.CONTENT] = Field(
        None, description="VGG-19 weights of the perceptual loss; none: RecNet's backbone"
    )
    jitter: float = Field(0.05, ge=0, le=0.5, description="augmentation: shift and scale of the crop")

    @model_validator(mode="before")
    @classmethod
    def _apply_defaults_of_the_paper(cls, values: Any) -> Any:
        """The paper's generator trains on Eq. 3 to 6 as printed unless a setting says otherwise."""
        if isinstance(values, Mapping) and values.get("generator") == "paper":
            loss = values.get("loss", {})
            if isinstance(loss, Mapping):
                loss = {"face_emphasis": 0.0, **loss}
            return {"adversarial_from": 0.0, **values, "loss": loss}
        return values


class ETNetConfig(Section):
    backbone: BackboneConfig = BackboneConfig(layers=34)
    from_recnet: bool = Field(True, description="initialise from RecNet's backbone if layers and width match")
    films: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of each batch that are the studio's labelled films (`films`) instead of synthesised pairs, "
        "as the paper has them; 1: films alone",
    )
    keypoints: bool = Field(
        False,
        description="learn 70 keypoints of the face from the films, and read the coefficients from the features around "
        "them too; needs `films`, and 70 `points` of the backbone or more",
    )
    optimizer: OptimizerConfig
    squared_until: float = Field(
        0.0, ge=0, le=1, description="fraction of the steps trained with squared error before the activation loss"
    )
    jitter: float = Field(0.1, ge=0, le=0.5, description="augmentation: shift and scale of the crop")
    degradation: float = Field(
        0.0,
        ge=0,
        le=1,
        description="augmentation: fraction of images that are blurred, grey, lit otherwise or partly hidden",
    )
    caricature: float = Field(
        0.0,
        ge=0,
        le=1,
        description="augmentation: fraction of the films whose faces are bent to other proportions",
    )
    average: float = Field(
        0.0, ge=0, lt=1, description="decay of the moving average of the weights, which is saved; 0: the last weights"
    )

    @model_validator(mode="after")
    def _check_keypoints(self) -> ETNetConfig:
        if self.keypoints and (self.films == 0 or self.backbone.points < KEYPOINTS):
            raise ValueError(
                f"etnet.keypoints needs films, which know them, and {KEYPOINTS} points of the backbone or more; there "
                f"are etnet.films={self.films:g} and etnet.backbone.points={self.backbone.points}"
            )
        return self

    def films_in(self, batch_size: int) -> int:
        """Number of samples of a batch that are films."""
        return round(self.films * batch_size)


class DetectorConfig(Section):
    """The face detector, which is trained from the studio alone (``portraits``)."""

    train: bool = Field(False, description="train a face detector in this run, as stages of its own")
    side: int = Field(128, ge=32, multiple_of=32, description="side of its input, in pixels")
    widths: tuple[int, int, int, int, int] = Field(
        (16, 24, 48, 80, 64), description="channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of its side"
    )
    start: Annotated[str | None, Effect.CONTENT] = Field(
        None, description="folder of the detector that the training begins with; none: from scratch"
    )
    optimizer: OptimizerConfig = OptimizerConfig(steps=7000, batch_size=32, learning_rate=2e-3, warmup=200)


class RecAugNetConfig(Section):
    optimizer: OptimizerConfig
    train_etnet: bool = Field(
        False, description="train ETNet with the rest of RecAugNet; false: it stays as the stage `etnet` trained it"
    )
