"""Scenes and small networks for the tests of flow3d."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from jr2net.config import Flow3DConfig
from jr2net.face.parameters import FaceParameters
from jr2net.networks.flow3d.network import Flow3D
from jr2net.render.conditions import Conditions
from jr2net.render.scene import Scene
from jr2net.render.view_synthesis import View

SMALL: dict[str, Any] = {
    "channels": 4,
    "depth": 4,
    "lift_width": 4,
    "flow_widths": (4, 8, 8),
    "flow_code": 16,
    "projection_width": 16,
    "refine_widths": (8, 8, 16, 16),
    "refine_blocks": 1,
    "inpaint_widths": (4, 8, 8),
    "matte_widths": (4, 8, 8),
}
"""Sizes of a network with steps of a few milliseconds."""


@dataclass(frozen=True)
class Maps:
    """The maps of a rendering that reenactors use."""

    light: Tensor
    normal: Tensor
    mask: Tensor
    depth: Tensor


def network(**settings: Any) -> Flow3D:
    torch.manual_seed(0)
    return Flow3D(Flow3DConfig(**(SMALL | settings))).eval()


def perturb(module: nn.Module) -> None:
    """Noise on all weights, since zero-initialised layers hide what lies before them."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.device.type == "cpu":
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))


def faces(batch: int, seed: int, device: str = "cpu") -> FaceParameters:
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.rand(batch, *shape, generator=generator).to(device)

    rotation, translation = 0.5 * (noise(3) - 0.5), 20 * (noise(3) - 0.5)
    translation = translation + torch.tensor([0.0, 0.0, 1080.0], device=device)
    return FaceParameters(noise(5), noise(51), noise(4), rotation, translation, noise(9, 3))


def scene(batch: int, side: int, device: str = "cpu", matte: bool = True) -> Scene:
    """Noise, with a rectangular person in the source image and a face in the middle of the driving one."""
    generator = torch.Generator().manual_seed(3)

    def noise(channels: int) -> Tensor:
        return torch.rand(batch, channels, side, side, generator=generator).to(device)

    mask = torch.zeros(batch, 1, side, side, device=device)
    mask[..., side // 4 : -side // 4, side // 4 : -side // 4] = 1
    conditions = Conditions(noise(3) * mask, noise(3) * mask, mask, noise(3), mask, noise(3), noise(3))
    person = torch.zeros(batch, 1, side, side, device=device)
    person[..., side // 4 :, side // 4 : -side // 4] = 1
    maps: Any = Maps(conditions.light, conditions.normal, mask, 1000 * mask)
    view = View(noise(2).permute(0, 2, 3, 1) * side, noise(3) * mask, mask, mask)
    source, driving = faces(batch, 1, device), faces(batch, 2, device)
    return Scene(noise(3), maps, maps, view, conditions, source, driving, person if matte else None)
