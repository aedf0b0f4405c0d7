"""The way there and back of the cyclic warp loss: which volume and faces the flow back is asked with, what returns."""

from __future__ import annotations

import pytest
import torch
from flow3d_scenes import faces, network, perturb
from torch import Tensor, nn

from jr2net.networks.flow3d.geometry import coefficients
from jr2net.networks.flow3d.warping import Cycle, Prior, Warping

SIDE, VOXELS = 64, 16
STEP = 2 / VOXELS
"""One voxel, or four pixels."""
INSIDE = slice(16, -16)
"""Pixels that no border has reached after a way of one voxel there and back, and three convolutions."""


class ShiftByExpression(nn.Module):
    """In place of the flow network: moves everything by the difference of the first coefficient; keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, volume: Tensor, shown: Tensor, wanted: Tensor) -> Tensor:
        self.seen.append(volume)
        flow = torch.zeros(len(volume), 3, *volume.shape[2:])
        flow[:, 0] = (wanted - shown)[:, 0].view(-1, 1, 1, 1)
        return flow


def still() -> tuple[Tensor, Tensor]:
    """Coefficients of a source and a driving face whose first ones differ by a voxel."""
    source, driving = (coefficients(faces(1, seed), 5.0) for seed in (1, 2))
    source[:, 0], driving[:, 0] = 0.0, STEP
    return source, driving


def foreground() -> Tensor:
    return torch.rand(1, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def warping() -> Warping:
    flow3d = network(prior="none")
    perturb(flow3d)
    flow3d.warping.flow = ShiftByExpression()  # type: ignore[assignment]
    return flow3d.warping


def assert_back(cycle: Cycle) -> None:
    """What was warped there and back is what never moved, and was elsewhere in between."""
    torch.testing.assert_close(cycle.back[..., INSIDE, INSIDE], cycle.still[..., INSIDE, INSIDE], rtol=0, atol=0.02)
    moved = (cycle.there.decoded - cycle.still)[..., INSIDE, INSIDE].abs().mean()
    assert moved > 5 * (cycle.back - cycle.still)[..., INSIDE, INSIDE].abs().mean()


def test_the_flow_back_is_asked_with_the_warped_volume_and_the_faces_exchanged() -> None:
    module = warping()
    cycle = module(foreground(), *still())
    assert_back(cycle)
    there, back = module.flow.seen
    assert torch.equal(back, cycle.there.volume) and not torch.equal(there, back)
    torch.testing.assert_close(there, module.lift(foreground()))


def test_each_way_has_a_prior_of_its_own() -> None:
    source, _ = still()
    flow = torch.zeros(1, 3, 4, VOXELS, VOXELS)
    flow[:, 0] = STEP
    assert_back(warping()(foreground(), source, source, Prior(flow), Prior(-flow)))


def test_what_the_driving_view_kept_is_regained_in_the_source_view() -> None:
    module = warping()
    nn.init.normal_(module.projection.occlusion.weight, std=1.0, generator=torch.Generator().manual_seed(0))
    cycle = module(foreground(), *still())
    visible = nn.functional.interpolate(cycle.there.projected.visible, size=SIDE, mode="bilinear", align_corners=False)
    assert visible.std() > 0.1 and not cycle.regained.requires_grad
    torch.testing.assert_close(cycle.regained[..., 8:-8], visible[..., 4:-12], rtol=0, atol=1e-4)


@pytest.mark.parametrize("wanted", ["back", "still"])
def test_the_cycle_trains_lift_projection_and_decoder(wanted: str) -> None:
    module = warping()
    getattr(module(foreground(), *still()), wanted).sum().backward()
    for part in (module.lift, module.projection.features, module.decoder):
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())
