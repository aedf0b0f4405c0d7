"""Extrapolation of the face's motion to the whole image."""

from __future__ import annotations

import torch

from jr2net.networks.motion import extend_motion, pixel_centres, sample

SIDE = 32


def positions(displacement: torch.Tensor) -> torch.Tensor:
    """Positions (Eq. 2) of a face in the middle of the image that moves by ``displacement`` (1, 2, S, S)."""
    moved = pixel_centres(SIDE, displacement) + displacement
    position = torch.full_like(moved, -float(SIDE))
    position[..., 10:22, 10:22] = moved[..., 10:22, 10:22]
    return position.permute(0, 2, 3, 1)


def test_affine_motion_is_extrapolated_everywhere() -> None:
    xy = pixel_centres(SIDE, torch.zeros(1)) - SIDE / 2
    displacement = torch.stack([0.1 * xy[:, 0] - 0.2 * xy[:, 1] + 1, 0.2 * xy[:, 0] + 0.1 * xy[:, 1] - 1], 1)
    extended = extend_motion(positions(displacement), SIDE)
    torch.testing.assert_close(extended, displacement, rtol=0, atol=0.1)


def test_motion_on_the_face_is_unchanged() -> None:
    torch.manual_seed(0)
    displacement = torch.randn(1, 2, SIDE, SIDE)
    extended = extend_motion(positions(displacement), SIDE)
    face = (..., slice(10, 22), slice(10, 22))
    torch.testing.assert_close(extended[face], displacement[face], rtol=0, atol=1e-4)
    assert torch.isfinite(extended).all() and extended.abs().max() < 10


def test_image_without_a_face_does_not_move() -> None:
    assert not extend_motion(torch.full((2, SIDE, SIDE, 2), -float(SIDE)), SIDE).any()


def test_sample_shifts_the_image_by_the_displacement() -> None:
    image = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    right = torch.tensor([3.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, SIDE, SIDE)
    moved = sample(image, right)
    torch.testing.assert_close(moved[..., :-3], image[..., 3:], rtol=0, atol=1e-5)
    torch.testing.assert_close(moved[..., -3:], image[..., -1:].expand(-1, -1, -1, 3), rtol=0, atol=1e-5)
