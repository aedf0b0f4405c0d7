"""Coordinates of images and volumes, warps, and the head's rigid motion.

One convention: an image and a volume span [-1, 1] along every axis, pixels and voxels are the centres of equal cells
(``align_corners=False``), and coordinates are in the order x, y, z. Flows are backward offsets in these units: the
output at p is the input at p + flow(p), clamped at the border. x and y are those of the image; z is the depth, relative
to the head's own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from jr2net.device import constant
from jr2net.face.camera import TO_CAMERA, rotation_matrix
from jr2net.face.parameters import FaceParameters
from jr2net.networks.flow3d.blocks import centres
from jr2net.networks.precision import in_float32
from jr2net.render.renderer import Rendering

HALF_DEPTH = 140.0
"""Millimetres in front of and behind the head's origin that a volume covers."""

_DISTANCE = 216.0
"""Millimetres per unit of focal ratio at which a head usually is: 1,080 at 5."""

COEFFICIENTS = 51 + 3 + 3

_LARGEST = 0.5
"""Largest motion of the surface beside the head's, as a coordinate: what is larger is an error of the fit."""


def coefficients(face: FaceParameters, focal_ratio: float) -> Tensor:
    """(B, 57): expression, rotation, and translation scaled to about [-1, 1]. Identity, albedo and light stay out."""
    x, y, z = face.translation.unbind(-1)
    distance = _DISTANCE * focal_ratio
    translation = torch.stack([x / 100, y / 100, 10 * (z / distance - 1)], dim=-1)
    return torch.cat([face.expression, face.rotation, translation], dim=-1)


def voxel_centres(size: tuple[int, int, int], device: torch.device) -> Tensor:
    """(1, 3, D, h, w): x, y and z of the voxels' centres."""
    depth, height, width = size
    z, y, x = torch.meshgrid(*(centres(count, device) for count in (depth, height, width)), indexing="ij")
    return torch.stack([x, y, z])[None]


def warp_volume(volume: Tensor, flow: Tensor) -> Tensor:
    """Samples a volume (B, C, D, h, w) at each voxel's centre plus ``flow`` (B, 3, D, h, w)."""
    with in_float32(volume):
        size = (flow.shape[2], flow.shape[3], flow.shape[4])
        grid = (voxel_centres(size, flow.device) + flow.float()).permute(0, 2, 3, 4, 1)
        return F.grid_sample(volume.float(), grid, padding_mode="border", align_corners=False)


def warp_image(image: Tensor, flow: Tensor, detail: Tensor | None = None) -> Tensor:
    """Samples an image (B, C, S, S) at each pixel plus ``flow`` (B, 2, h, w), interpolated to S × S.

    detail (B, 2, S, S): added to the interpolated flow.
    """
    with in_float32(image):
        height, width = image.shape[-2:]
        offset = F.interpolate(flow.float(), size=(height, width), mode="bilinear", align_corners=False)
        offset = offset if detail is None else offset + detail.float()
        grid = voxel_centres((1, height, width), flow.device)[:, :2, 0] + offset
        return F.grid_sample(image.float(), grid.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)


def image_flow(flow: Tensor, weight: Tensor) -> Tensor:
    """(B, 2, h, w): x and y of a flow (B, 3, D, h, w), averaged over the depth with weights (B, D, h, w)."""
    with in_float32(flow):
        return (flow.float()[:, :2] * weight.float()[:, None]).sum(2)


def head_motion(
    source: FaceParameters, driving: FaceParameters, focal_ratio: float, size: tuple[int, int, int]
) -> Tensor:
    """(B, 3, D, h, w): flow from the driving to the source view, as if everything moved rigidly with the head."""
    with in_float32(source.rotation):
        own = voxel_centres(size, source.rotation.device)
        return moved_with_head(own, source, driving, focal_ratio) - own


def moved_with_head(own: Tensor, source: FaceParameters, driving: FaceParameters, focal_ratio: float) -> Tensor:
    """Coordinates (B or 1, 3, D, h, w) in the driving view to those in the source view (B, 3, D, h, w).

    What is at X in the driving camera's space is at R_s R_dᵀ (X − t_d) + t_s in the source camera's. The rotations are
    those of camera space, where y points down and z forward.
    """
    ratio = 2 * focal_ratio
    distance = driving.translation[:, 2].view(-1, 1, 1, 1) + HALF_DEPTH * own[:, 2]
    point = torch.stack([own[:, 0] * distance / ratio, own[:, 1] * distance / ratio, distance], dim=1)
    to_source = rotation_matrix(source.rotation) @ rotation_matrix(driving.rotation).transpose(-1, -2)
    flip = constant(TO_CAMERA, to_source)
    to_source = flip[:, None] * to_source * flip  # model axes to camera axes
    moved = torch.einsum("bij,bjzyx->bizyx", to_source, point - _as_volume(driving.translation))
    moved = moved + _as_volume(source.translation)
    depth = moved[:, 2].clamp(min=1.0)
    origin = source.translation[:, 2].view(-1, 1, 1, 1)
    return torch.stack([ratio * moved[:, 0] / depth, ratio * moved[:, 1] / depth, (depth - origin) / HALF_DEPTH], dim=1)


def surface_motion(
    position: Tensor, rendering: Rendering, source: FaceParameters, driving: FaceParameters, focal_ratio: float
) -> Tensor:
    """(B, 2, S, S): x and y of what the expression adds to the head's rigid motion on the driving face, 0 elsewhere.

    position (B, S, S, 2): of each driving pixel's surface point in the source view, in pixels (``View.position``);
    rendering: of the driving face.
    """
    with in_float32(position):
        side, depth = position.shape[1], rendering.depth.float()
        x, y, _ = voxel_centres((1, side, side), position.device).expand(len(position), -1, -1, -1, -1).unbind(1)
        z = (depth - driving.translation[:, 2].view(-1, 1, 1, 1)) / HALF_DEPTH
        rigid = moved_with_head(torch.stack([x, y, z], dim=1), source, driving, focal_ratio)[:, :2, 0]
        moved = position.float().permute(0, 3, 1, 2) * (2 / side) - 1
        return torch.where(rendering.mask > 0, (moved - rigid).clamp(-_LARGEST, _LARGEST), 0)


def with_surface(flow: Tensor, surface: Tensor) -> tuple[Tensor, Tensor]:
    """Adds a motion of the visible surface (B, 2, S, S) to a flow (B, 3, D, h, w), at all depths.

    Also returns what the flow's resolution loses of it: (B, 2, S, S), to be added where the flow warps an image.
    """
    with in_float32(flow):
        coarse = F.adaptive_avg_pool2d(surface, (flow.shape[-2], flow.shape[-1]))
        enlarged = F.interpolate(coarse, size=surface.shape[-2:], mode="bilinear", align_corners=False)
        offset = torch.cat([coarse, torch.zeros_like(coarse[:, :1])], dim=1)
        return flow + offset[:, :, None], surface - enlarged


def _as_volume(translation: Tensor) -> Tensor:
    return translation[:, :, None, None, None]


def dilate(matte: Tensor, radius: int) -> Tensor:
    """(B, 1, S, S): 1 where the matte (B, 1, S, S) is above 1/32 within ``radius`` pixels, else 0."""
    return F.max_pool2d((matte > 1 / 32).to(matte.dtype), 2 * radius + 1, stride=1, padding=radius)
