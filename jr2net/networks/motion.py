"""The face's motion, continued over the whole picture: where hair, neck and shoulders would lie if they went along."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from jr2net.networks.precision import in_float32

# Ridge of the affine fit, as a share of a picture full of face: a picture without a face does not move.
_RIDGE = 1e-6


def extend_motion(position: Tensor, side: int) -> Tensor:
    """Where each driving pixel came from: displacement (B, 2, S, S) into the source, in pixels of ``side``.

    position (B, S, S, 2): for pixels on the face the source pixel of the same surface point, elsewhere outside the
    picture. On the face the displacement is the mesh's. Around it the affine motion that fits the face best goes on,
    plus the nearest face pixels' deviation from it, smoothed the more the farther away (a pyramid of averages).
    """
    inside = ((position > 0) & (position < side)).all(-1, keepdim=True).permute(0, 3, 1, 2).to(position.dtype)
    place = pixel_centres(position.shape[1], position)
    displacement = (position.permute(0, 3, 1, 2) - place) * inside
    with in_float32(position):
        affine = _fit_affine(displacement, inside, place / side - 0.5)
    deviation = (displacement - affine) * inside
    return affine + _fill(deviation, inside)


def pixel_centres(side: int, like: Tensor) -> Tensor:
    """(1, 2, side, side): x and y of every pixel's centre."""
    centres = torch.arange(side, dtype=like.dtype, device=like.device) + 0.5
    return torch.stack(torch.meshgrid(centres, centres, indexing="xy"))[None]


def sample(image: Tensor, displacement: Tensor) -> Tensor:
    """The picture (B, C, S, S) read ``displacement`` (B, 2, S, S) pixels from each pixel, clamped at its border."""
    side = image.shape[-1]
    grid = (pixel_centres(side, image) + displacement).permute(0, 2, 3, 1) * (2 / side) - 1
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def _fit_affine(displacement: Tensor, weight: Tensor, place: Tensor) -> Tensor:
    """The affine function of ``place`` (1, 2, S, S) nearest to ``displacement`` where ``weight`` is: (B, 2, S, S)."""
    basis = torch.cat([place, torch.ones_like(place[:, :1])], dim=1).flatten(2)  # (1, 3, P)
    weighted = basis * weight.flatten(2)
    normal = weighted @ basis.transpose(1, 2) / basis.shape[-1]
    normal = normal + _RIDGE * torch.eye(3, dtype=normal.dtype, device=normal.device)
    right = weighted @ displacement.flatten(2).transpose(1, 2) / basis.shape[-1]
    return (_solve(normal, right).transpose(1, 2) @ basis).view_as(displacement)


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    """Solves (B, 3, 3) systems with right sides (B, 3, C)."""
    if not torch.compiler.is_exporting():
        return torch.linalg.solve(matrix, right)
    # ONNX has no solver: the inverse by cross products of rows, in float64 for its cancellations.
    a, b, c = matrix.double().unbind(1)
    cofactors = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], -1)
    determinant = (a * cofactors[..., 0]).sum(-1)[:, None, None]
    return (cofactors @ right.double() / determinant).to(right.dtype)


def _fill(value: Tensor, weight: Tensor) -> Tensor:
    """Fills (B, 2, S, S) where ``weight`` is 0 from coarser averages of where it is 1."""
    if value.shape[-1] <= 2:
        return value
    share = F.avg_pool2d(weight, 2, ceil_mode=True)
    mean = F.avg_pool2d(value * weight, 2, ceil_mode=True) / share.clamp(min=1e-6)
    coarse = _fill(mean, (share > 0).to(weight.dtype))
    around = F.interpolate(coarse, size=value.shape[-2:], mode="bilinear", align_corners=False)
    return torch.lerp(around, value, weight)
