"""3DFlowRenderer (arXiv 2404.14667): dense 3D flow in feature space, and a background that stays where it is.

The paper's code is not public. What it leaves open follows its published relatives: the volume and the projection those
of face-vid2vid and LivePortrait, the conditioning that of PIRenderer and MegaPortraits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from jr2net.config import Flow3DConfig
from jr2net.errors import UserError
from jr2net.face.parameters import FaceParameters
from jr2net.networks.flow3d.background import Inpaint, MatteHead
from jr2net.networks.flow3d.geometry import (
    coefficients,
    dilate,
    head_motion,
    positions,
    surface_motion,
    with_surface,
)
from jr2net.networks.flow3d.refine import Foreground, Refine
from jr2net.networks.flow3d.warping import Prior, Tensors, Warping
from jr2net.networks.precision import in_float32
from jr2net.render.renderer import Rendering
from jr2net.render.scene import Generated, Scene

_ARCHITECTURE = (
    "prior", "separate_background", "shortcut", "channels", "depth", "lift_width", "lift_blocks", "flow_code",
    "flow_widths", "flow_blocks", "projection_width", "refine_widths", "refine_blocks", "refine_heads",
    "inpaint_widths", "matte_widths",
)  # fmt: skip

_MULTIPLE = 16
"""Sides of images are multiples of it."""

_MARGIN = 1 / 64
"""How far beyond the matte the background is inpainted, as a fraction of the image side."""


class ImageSizeError(UserError, ValueError):
    """An image of a size that the network does not take."""


@dataclass(frozen=True)
class SourceCode(Tensors):
    """What depends on the source image alone, to be computed once for each portrait.

    foreground  (B, 4, S, S)       image premultiplied by its matte, and the matte
    volume      (B, C, D, h, w)    lifted features
    hole        (B, 1, S, S)       1 where the background is inpainted, else 0
    background  (B, 3, S, S)       the image without the person: its own pixels outside of the hole
    """

    foreground: Tensor
    volume: Tensor
    hole: Tensor
    background: Tensor

    def take(self, index: Tensor) -> SourceCode:
        """The codes of the portraits ``index`` (M,) int64, with repetition allowed."""
        return self.map(lambda value: value[index])

    def row(self, index: int) -> SourceCode:
        """A copy of the code of one portrait, as a batch of one."""
        return self.map(lambda value: value[index : index + 1].clone(memory_format=torch.contiguous_format))

    def concatenate(self, *others: SourceCode) -> SourceCode:
        """This code and others as one batch."""
        codes = (self, *others)
        return SourceCode(*(torch.cat([getattr(code, field.name) for code in codes]) for field in fields(self)))

    @property
    def nbytes(self) -> int:
        return sum(getattr(self, field.name).nbytes for field in fields(self))


class Flow3D(nn.Module):
    """Generates the image of a ``Scene``: the person in front of the source's background.

    The matted source is lifted to a feature volume; a dense 3D flow, predicted from expression, rotation and
    translation of both faces, warps it to the driving view; it is projected, decoded and refined to colour F and
    opacity α. Where the person was (H), the background is inpainted (B):

        picture = α F + (1 − α) [(1 − H) source + H B],    kept = (1 − α) (1 − H)

    where ``kept`` is 1, the picture is the source image to the bit. Without ``scene.matte`` the matte is predicted.
    Lighting comes from the driving rendering, which the refinement sees.
    """

    kind = "flow3d"
    title = "3DFlowRenderer"

    def __init__(self, config: Flow3DConfig, focal_ratio: float = 5.0) -> None:
        """focal_ratio: of the camera, see ``face.camera``."""
        super().__init__()
        self.config, self.focal_ratio = config, focal_ratio
        self.warping = Warping(config)
        self.refine = Refine(config)
        self.inpaint = Inpaint(config)
        self.matte = MatteHead(config)

    @property
    def architecture(self) -> dict[str, Any]:
        fields = self.config.model_dump(mode="json", include=set(_ARCHITECTURE))
        return fields | {"focal_ratio": self.focal_ratio}

    @classmethod
    def from_architecture(cls, architecture: Mapping[str, Any]) -> Flow3D:
        """A setting that the architecture does not name has its default."""
        given = {name: architecture[name] for name in _ARCHITECTURE if name in architecture}
        config = Flow3DConfig.model_validate(given)
        return cls(config, architecture["focal_ratio"])

    def forward(self, scene: Scene, code: SourceCode | None = None) -> Generated:
        """Scene of B (source, driving) pairs to generated images (B, 3, S, S) in [0, 1].

        code: of the scene's source images, if it exists already. Raises ImageSizeError.
        """
        if code is None:
            code = self.encode(scene.source_image, scene.matte)
        source, driving = (self.coefficients(face) for face in (scene.source_face, scene.driving_face))
        prior = self.prior(scene.source_face, scene.driving_face, scene.driving, scene.view.position)
        warped = self.warping.warp(code.foreground, code.volume, source, driving, prior)
        foreground = self.refine(warped, code.foreground, scene.conditions)
        generated = compose(scene.source_image, code, foreground)
        return replace(generated, position=positions(warped.offset)) if self.config.shortcut else generated

    def encode(self, source_image: Tensor, matte: Tensor | None = None) -> SourceCode:
        """Source images (B, 3, S, S) in [0, 1] and mattes (B, 1, S, S), predicted if None. Raises ImageSizeError."""
        check_size(source_image)
        if not self.config.separate_background:
            matte = torch.ones_like(source_image[:, :1])
        elif matte is None:
            matte = self.matte(source_image).float()
        inpainted = self.inpaint(source_image, hole_of(matte)).float()
        hole = dilate(matte, 0)
        foreground = premultiplied(source_image, matte)
        volume = self.warping.lift(foreground)
        return SourceCode(foreground, volume, hole, torch.where(hole > 0, inpainted, source_image))

    def flows(self, scene: Scene, back: Tensor) -> tuple[Tensor, Tensor]:
        """Flows (B, 3, D, h, w) to the driving view and, from the volume that was warped there, back again.

        back (B, S, S, 2): position of the source face's pixels in the driving view, as ``View.position`` the other way.
        """
        source, driving = scene.source_face, scene.driving_face
        code = self.encode(scene.source_image, scene.matte)
        coefficients = self.coefficients(source), self.coefficients(driving)
        prior = self.prior(source, driving, scene.driving, scene.view.position)
        inverse_prior = self.prior(driving, source, scene.source, back)
        there = self.warping.warp(code.foreground, code.volume, *coefficients, prior)
        returned = self.warping.flow(there.volume, *reversed(coefficients))
        return there.flow, returned if inverse_prior is None else returned + inverse_prior.flow

    def coefficients(self, face: FaceParameters) -> Tensor:
        """(B, 57): what the flow depends on."""
        return coefficients(face, self.focal_ratio)

    def prior(
        self, source: FaceParameters, driving: FaceParameters, rendering: Rendering, position: Tensor
    ) -> Prior | None:
        """The motion to which the flow is added, or None.

        rendering: of the driving face; position (B, S, S, 2): of its pixels in the source view (``View.position``).
        """
        side = position.shape[1]
        if self.config.prior == "none":
            return None
        size, body = (self.config.depth, side // 4, side // 4), self.config.prior == "mesh"
        flow = head_motion(source, driving, self.focal_ratio, size, body)
        if not body:
            return Prior(flow)
        surface, added = surface_motion(position, rendering, source, driving, self.focal_ratio)
        return Prior(with_surface(flow, added), surface, rendering.mask.to(surface))


def compose(source_image: Tensor, code: SourceCode, foreground: Foreground) -> Generated:
    """The person in front of the background, and where the source image is kept."""
    with in_float32(source_image):
        colour, matte = foreground.colour.float(), foreground.matte.float()
        picture = matte * colour + (1 - matte) * code.background
        kept = (1 - matte) * (1 - code.hole)
        return Generated(torch.where(kept == 1, source_image, picture), kept)


def premultiplied(image: Tensor, matte: Tensor) -> Tensor:
    """(B, 4, S, S): an image (B, 3, S, S) times its matte (B, 1, S, S), and the matte."""
    return torch.cat([matte * image, matte], dim=1)


def hole_of(matte: Tensor) -> Tensor:
    """(B, 1, S, S): 1 where a matte (B, 1, S, S) or its surroundings show the person, else 0."""
    return dilate(matte, max(1, round(_MARGIN * matte.shape[-1])))


def check_size(image: Tensor) -> None:
    """Raises ImageSizeError unless the images (B, 3, S, S) are squares of a multiple of 16 pixels, at least 32."""
    height, width = image.shape[-2:]
    if height != width or height % _MULTIPLE or height < 2 * _MULTIPLE:
        raise ImageSizeError(
            f"images of {width} × {height} pixels: {Flow3D.title} takes squares whose side is a multiple of "
            f"{_MULTIPLE}, at least {2 * _MULTIPLE}; resize them, or set image_size"
        )
