"""Extrapolation of the face's motion to the whole image, as if hair, neck and shoulders moved with the head."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from jr2net.networks.precision import in_float32

# Ridge of the affine fit, relative to an image completely covered by the face; without a face the motion is zero.
_RIDGE = 1e-6


def extend_motion(position: Tensor, side: int) -> Tensor:
    """Displacement (B, 2, S, S) from each driving pixel to its source pixel, in pixels of an image of side ``side``.

    position (B, S, S, 2): source pixel of the same surface point on the face, outside of the image elsewhere. On the
    face the displacement is that of the mesh. Off the face it is the affine motion fitted to the face, plus the
    deviation of nearby face pixels from it, smoothed more with increasing distance (by a pyramid of averages).
    """
    inside = ((position > 0) & (position < side)).all(-1, keepdim=True).permute(0, 3, 1, 2).to(position.dtype)
    centres = pixel_centres(position.shape[1], position)
    displacement = (position.permute(0, 3, 1, 2) - centres) * inside
    with in_float32(position):
        affine = _fit_affine(displacement, inside, centres / side - 0.5)
    deviation = (displacement - affine) * inside
    return affine + fill(deviation, inside)


def pixel_centres(side: int, like: Tensor) -> Tensor:
    """(1, 2, side, side): x and y of the pixel centres, with the dtype and device of ``like``."""
    centres = torch.arange(side, dtype=like.dtype, device=like.device) + 0.5
    return torch.stack(torch.meshgrid(centres, centres, indexing="xy"))[None]


def sample(image: Tensor, displacement: Tensor) -> Tensor:
    """Samples the image (B, C, S, S) at each pixel plus ``displacement`` (B, 2, S, S) pixels, clamped at its border."""
    side = image.shape[-1]
    grid = (pixel_centres(side, image) + displacement).permute(0, 2, 3, 1) * (2 / side) - 1
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def _fit_affine(displacement: Tensor, weight: Tensor, xy: Tensor) -> Tensor:
    """Affine function of ``xy`` (1, 2, S, S) fitted to ``displacement`` by weighted least squares: (B, 2, S, S)."""
    basis = torch.cat([xy, torch.ones_like(xy[:, :1])], dim=1).flatten(2)  # (1, 3, P)
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


def fill(value: Tensor, weight: Tensor) -> Tensor:
    """Fills ``value`` (B, C, S, S) where ``weight`` (B, 1, S, S) is 0 with averages at coarser scales of the rest."""
    if value.shape[-1] <= 2:
        return value
    fraction = F.avg_pool2d(weight, 2, ceil_mode=True)
    mean = F.avg_pool2d(value * weight, 2, ceil_mode=True) / fraction.clamp(min=1e-6)
    coarse = fill(mean, (fraction > 0).to(weight.dtype))
    around = F.interpolate(coarse, size=value.shape[-2:], mode="bilinear", align_corners=False)
    return torch.lerp(around, value, weight)
