"""Coordinates of images and volumes, warps, and the motion of head, body and face.

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

_NECK = (0.0, -130.0, -20.0)
"""Base of an average adult's neck, about which the head turns: mm from the head's origin, y upwards, z to the front."""

_BODY, _HEAD = -145.0, -105.0
"""Heights above the head's origin, mm: what is below the first belongs to the body, above the second to the head."""

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


def warp_image(image: Tensor, flow: Tensor) -> Tensor:
    """Samples an image (B, C, S, S) at each pixel plus ``flow`` (B, 2, h, w), which is interpolated to S × S."""
    with in_float32(image):
        height, width = image.shape[-2:]
        grid = voxel_centres((1, height, width), flow.device)[:, :2, 0] + enlarged(flow.float(), image)
        return F.grid_sample(image.float(), grid.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)


def positions(flow: Tensor) -> Tensor:
    """(B, S, S, 2): where ``warp_image`` samples with a flow (B, 2, S, S), in pixels of an image of side S."""
    height, width = flow.shape[-2:]
    grid = (voxel_centres((1, height, width), flow.device)[:, :2, 0] + flow.float()).permute(0, 2, 3, 1)
    return (grid + 1) * (width / 2)


def enlarged(flow: Tensor, image: Tensor) -> Tensor:
    """A flow (B, 2, h, w), interpolated to the size of an image (B, C, S, S)."""
    return F.interpolate(flow, size=image.shape[-2:], mode="bilinear", align_corners=False)


def image_flow(flow: Tensor, weight: Tensor) -> Tensor:
    """(B, 2, h, w): x and y of a flow (B, 3, D, h, w), averaged over the depth with weights (B, D, h, w)."""
    with in_float32(flow):
        return (flow.float()[:, :2] * weight.float()[:, None]).sum(2)


def head_motion(
    source: FaceParameters, driving: FaceParameters, focal_ratio: float, size: tuple[int, int, int], body: bool = False
) -> Tensor:
    """(B, 3, D, h, w): flow from the driving to the source view, as if everything moved rigidly with the head.

    body: what is below the chin keeps its orientation instead and follows the base of the neck.
    """
    with in_float32(source.rotation):
        own = voxel_centres(size, source.rotation.device)
        return moved_with_head(own, source, driving, focal_ratio, body) - own


def moved_with_head(
    own: Tensor, source: FaceParameters, driving: FaceParameters, focal_ratio: float, body: bool = False
) -> Tensor:
    """Coordinates (B or 1, 3, D, h, w) in the driving view to those in the source view (B, 3, D, h, w).

    What is at X in the driving camera's space is at R_s R_dᵀ (X − t_d) + t_s in the source camera's. The rotations are
    those of camera space, where y points down and z forward. body: see ``head_motion``.
    """
    ratio = 2 * focal_ratio
    distance = driving.translation[:, 2].view(-1, 1, 1, 1) + HALF_DEPTH * own[:, 2]
    point = torch.stack([own[:, 0] * distance / ratio, own[:, 1] * distance / ratio, distance], dim=1)
    flip = constant(TO_CAMERA, source.rotation)  # model axes to camera axes
    to_source, to_driving = (flip[:, None] * rotation_matrix(face.rotation) for face in (source, driving))
    of_head = torch.einsum("bji,bjzyx->bizyx", to_driving, point - _as_volume(driving.translation))
    moved = torch.einsum("bij,bjzyx->bizyx", to_source, of_head) + _as_volume(source.translation)
    if body:
        neck = constant(_NECK, source.rotation)
        with_neck = source.translation - driving.translation + (to_source - to_driving) @ neck
        height = ((of_head[:, 1:2] - _BODY) / (_HEAD - _BODY)).clamp(0, 1)
        moved = torch.lerp(point + _as_volume(with_neck), moved, height * height * (3 - 2 * height))
    depth = moved[:, 2].clamp(min=1.0)
    origin = source.translation[:, 2].view(-1, 1, 1, 1)
    return torch.stack([ratio * moved[:, 0] / depth, ratio * moved[:, 1] / depth, (depth - origin) / HALF_DEPTH], dim=1)


def surface_motion(
    position: Tensor, rendering: Rendering, source: FaceParameters, driving: FaceParameters, focal_ratio: float
) -> tuple[Tensor, Tensor]:
    """Motion of the visible surface of the driving face, and what the expression adds to that of head and body.

    Both are backward offsets (B, 2, S, S) in x and y, 0 beside the face.
    position (B, S, S, 2): of each driving pixel's surface point in the source view, in pixels (``View.position``);
    rendering: of the driving face.
    """
    with in_float32(position):
        side, depth = position.shape[1], rendering.depth.float()
        own = voxel_centres((1, side, side), position.device)[:, :, 0].expand(len(position), -1, -1, -1)
        z = (depth - driving.translation[:, 2].view(-1, 1, 1, 1)) / HALF_DEPTH
        at_surface = torch.cat([own[:, :2], z], dim=1)[:, :, None]
        rigid = moved_with_head(at_surface, source, driving, focal_ratio, body=True)[:, :2, 0]
        moved = position.float().permute(0, 3, 1, 2) * (2 / side) - 1
        added = (moved - rigid).clamp(-_LARGEST, _LARGEST)
        seen = rendering.mask > 0
        return torch.where(seen, rigid + added - own[:, :2], 0), torch.where(seen, added, 0)


def with_surface(flow: Tensor, motion: Tensor) -> Tensor:
    """Adds a motion of the visible surface (B, 2, S, S) to a flow (B, 3, D, h, w), at all depths."""
    with in_float32(flow):
        coarse = F.adaptive_avg_pool2d(motion, (flow.shape[-2], flow.shape[-1]))
        return flow + torch.cat([coarse, torch.zeros_like(coarse[:, :1])], dim=1)[:, :, None]


def _as_volume(translation: Tensor) -> Tensor:
    return translation[:, :, None, None, None]


def dilate(matte: Tensor, radius: int) -> Tensor:
    """(B, 1, S, S): 1 where the matte (B, 1, S, S) is above 1/32 within ``radius`` pixels, else 0."""
    return F.max_pool2d((matte > 1 / 32).to(matte.dtype), 2 * radius + 1, stride=1, padding=radius)
