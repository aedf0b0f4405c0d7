"""The 3D part: lift to a volume, dense flow, warp, projection with occlusion, and decoder to RGBA."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jr2net.config import Flow3DConfig
from jr2net.networks.flow3d.blocks import Residual3d, convolution
from jr2net.networks.flow3d.flow import DenseFlow
from jr2net.networks.flow3d.geometry import enlarged, image_flow, warp_image, warp_volume

# Initial logit of the decoded colours and opacity: the background is kept from the first step on.
_TRANSPARENT = -3.0

T = TypeVar("T", bound="Tensors")


class Tensors:
    """A dataclass of tensors, or of other such dataclasses."""

    def map(self: T, function: Callable[[Tensor], Tensor]) -> T:
        """The same with ``function`` applied to every tensor."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return type(self)(**{n: v.map(function) if isinstance(v, Tensors) else function(v) for n, v in values.items()})


@dataclass(frozen=True)
class Prior:
    """Motion that is known before anything is learnt, as a backward offset, see ``geometry``.

    flow     (B, 3, D, h, w)
    surface  (B, 2, S, S)  the same of the driving face's visible surface, for the warp at full resolution; or None
    face     (B, 1, S, S)  1 where that surface is, else 0; or None
    """

    flow: Tensor
    surface: Tensor | None = None
    face: Tensor | None = None


@dataclass(frozen=True)
class Projected(Tensors):
    """A volume (B, C, D, h, w) seen from its front.

    features  (B, P, h, w)  multiplied by ``visible``
    visible   (B, 1, h, w)  in [0, 1]: 0 where the image that was lifted does not show what is here
    weight    (B, D, h, w)  softmax over the depth: which voxels the surface lies in
    """

    features: Tensor
    visible: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Warped(Tensors):
    """The foreground in the driving view; S is the side of the image.

    volume    (B, C, D, h, w)  the warped features
    flow      (B, 3, D, h, w)  backward offset, see ``geometry``
    projected                  the volume's projection
    decoded   (B, 4, S, S)     premultiplied RGBA in [0, 1], decoded from the projection
    texture   (B, 4, S, S)     the source foreground, warped at full resolution by the flow of the visible surface
    offset    (B, 2, S, S)     that flow, see ``geometry``
    """

    volume: Tensor
    flow: Tensor
    projected: Projected
    decoded: Tensor
    texture: Tensor
    offset: Tensor


@dataclass(frozen=True)
class Cycle(Tensors):
    """The foreground warped to the driving view and back.

    there     the source foreground in the driving view
    back      (B, 4, S, S)  premultiplied RGBA, decoded after the warp back
    regained  (B, 1, S, S)  in [0, 1]: what the driving view had kept visible, in the source view; without a gradient
    still     (B, 4, S, S)  premultiplied RGBA, decoded from the volume without a warp
    """

    there: Warped
    back: Tensor
    regained: Tensor
    still: Tensor


class Lift(nn.Module):
    """Foreground (B, 4, S, S) to a feature volume (B, C, D, S / 4, S / 4)."""

    def __init__(self, config: Flow3DConfig) -> None:
        super().__init__()
        width, self.shape = config.lift_width, (config.channels, config.depth)
        self.encoder = nn.Sequential(
            convolution(4, width),
            convolution(width, 2 * width, stride=2),
            convolution(2 * width, 4 * width, stride=2),
            nn.Conv2d(4 * width, config.channels * config.depth, 1),
        )
        self.blocks = nn.Sequential(*(Residual3d(config.channels) for _ in range(config.lift_blocks)))

    def forward(self, foreground: Tensor) -> Tensor:
        return self.blocks(self.encoder(foreground).unflatten(1, self.shape))


class Projection(nn.Module):
    """Volume (B, C, D, h, w) to ``Projected``."""

    def __init__(self, config: Flow3DConfig) -> None:
        super().__init__()
        flattened, width = config.channels * config.depth, config.projection_width
        self.features = nn.Sequential(convolution(flattened, width), nn.Conv2d(width, width, 1))
        self.occlusion = nn.Conv2d(flattened, 1, 3, 1, 1)
        self.density = nn.Conv3d(config.channels, 1, 1)

    def forward(self, volume: Tensor) -> Projected:
        flattened = volume.flatten(1, 2)
        visible = torch.sigmoid(self.occlusion(flattened))
        return Projected(self.features(flattened) * visible, visible, self.density(volume).squeeze(1).softmax(dim=1))


class Decoder(nn.Module):
    """R: projected features (B, P, h, w) to premultiplied RGBA (B, 4, 4 h, 4 w) in [0, 1]."""

    def __init__(self, config: Flow3DConfig) -> None:
        super().__init__()
        width = config.projection_width
        self.up = nn.ModuleList([convolution(width, width // 2), convolution(width // 2, width // 4)])
        self.output = nn.Conv2d(width // 4, 4, 3, 1, 1)
        nn.init.constant_(self.output.bias, _TRANSPARENT)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        for up in self.up:
            features = up(F.interpolate(features, scale_factor=2.0, mode="nearest"))
        return torch.sigmoid(self.output(features))


class Warping(nn.Module):
    """The modules that the cyclic warp loss trains; called, it warps there and back."""

    def __init__(self, config: Flow3DConfig) -> None:
        super().__init__()
        self.lift = Lift(config)
        self.flow = DenseFlow(config)
        self.projection = Projection(config)
        self.decoder = Decoder(config)

    def warp(
        self, foreground: Tensor, volume: Tensor, source: Tensor, driving: Tensor, prior: Prior | None = None
    ) -> Warped:
        """The source foreground (B, 4, S, S) and its volume in the driving view.

        source, driving (B, 57): the faces' coefficients; prior: motion to which the flow is added.
        """
        learnt = self.flow(volume, source, driving)
        flow = learnt if prior is None else learnt + prior.flow
        warped = warp_volume(volume, flow)
        projected = self.projection(warped)
        offset = enlarged(image_flow(flow, projected.weight), foreground)
        if prior is not None and prior.surface is not None and prior.face is not None:
            # On the face the mesh knows the surface: no average over depths replaces it.
            on_face = enlarged(image_flow(learnt, projected.weight), foreground) + prior.surface
            offset = torch.lerp(offset, on_face, prior.face)
        texture = warp_image(foreground, offset)
        return Warped(warped, flow, projected, self.decoder(projected.features), texture, offset)

    def forward(
        self,
        foreground: Tensor,
        source: Tensor,
        driving: Tensor,
        prior: Prior | None = None,
        inverse_prior: Prior | None = None,
    ) -> Cycle:
        """As ``warp``, and back; ``inverse_prior``: the prior of the way back."""
        volume = self.lift(foreground)
        there = self.warp(foreground, volume, source, driving, prior)
        flow = self.flow(there.volume, driving, source)
        flow = flow if inverse_prior is None else flow + inverse_prior.flow
        returned = self.projection(warp_volume(there.volume, flow))
        still = self.projection(volume)
        back, still_decoded = self.decoder(torch.cat([returned.features, still.features])).chunk(2)
        side = foreground.shape[-1]
        with torch.no_grad():
            visible = F.interpolate(there.projected.visible, size=side, mode="bilinear", align_corners=False)
            regained = warp_image(visible, image_flow(flow, returned.weight))
        return Cycle(there, back, regained, still_decoded)
