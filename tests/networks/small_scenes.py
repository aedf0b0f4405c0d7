"""Scenes of noise for tests of DCNet, without a face model or a renderer."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from jr2net.render.conditions import Conditions
from jr2net.render.scene import Scene
from jr2net.render.view_synthesis import View


@dataclass(frozen=True)
class Maps:
    """The maps of a rendering that DCNet uses."""

    light: Tensor
    normal: Tensor
    mask: Tensor


def scene(batch: int, side: int, device: str = "cpu") -> Scene:
    """A square face in the middle that does not move; its left half is co-visible."""
    generator = torch.Generator().manual_seed(3)

    def noise(channels: int) -> Tensor:
        return torch.rand(batch, channels, side, side, generator=generator).to(device)

    mask = torch.zeros(batch, 1, side, side, device=device)
    mask[..., side // 4 : -side // 4, side // 4 : -side // 4] = 1
    covisible = mask.clone()
    covisible[..., side // 2 :] = 0
    centres = torch.arange(side, device=device) + 0.5
    position = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1).expand(batch, -1, -1, -1)
    position = torch.where(mask.permute(0, 2, 3, 1) > 0, position, -float(side))
    conditions = Conditions(
        normal=noise(3) * mask,
        light=noise(3) * mask,
        covisible=covisible,
        warped_image=noise(3) * mask,
        mask=mask,
        head_warped=noise(3),
        rendered=noise(3),
    )
    source_image, source = noise(3), Maps(noise(3) * mask, noise(3) * mask, mask)
    view = View(position, conditions.warped_image, covisible, mask)
    return Scene(source_image, source, source, view, conditions, None, None)  # type: ignore[arg-type]


def first_of(scene: Scene) -> Scene:
    """The first pair of a batch."""
    maps = Maps(*(getattr(scene.source, field.name)[:1] for field in fields(Maps)))
    view = View(*(getattr(scene.view, field.name)[:1] for field in fields(View)))
    return Scene(scene.source_image[:1], maps, maps, view, scene.conditions[:1], None, None)  # type: ignore[arg-type]


def perturb(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
