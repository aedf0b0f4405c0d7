"""View synthesis (Eq. 2): where each pixel of the driving view lies in the source view, and what is seen there.

Eq. 2 moves a driving pixel rigidly, ``p_s ~ K T_{t->s} D_t(p_t) K⁻¹ p_t``. Here the pixel's surface point is found on
the mesh and taken to where that same point is on the source's mesh, which equals Eq. 2 when shape and expression are
the same and stays true when they are not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from jr2net.face.camera import Camera
from jr2net.render.renderer import Rendering

DEPTH_TOLERANCE = 4.0  # mm: a point this much behind the visible surface still counts as that surface
MAGNIFICATION = 4.0  # a triangle that the source shows at less than this part of its area is not seen: closed lids
_SPECK = 3.5 / 9  # of a hidden pixel's neighbourhood; where less is hidden, depths were in doubt and nothing is hidden
_ELSEWHERE = -1.0  # position of pixels off the face, in picture sides: outside the picture at every resolution


@dataclass(frozen=True)
class View:
    """The driving view filled from the source, S x S.

    position   (B, S, S, 2)   source pixels (x, y); off the face a place outside the picture, where ``warp`` gives 0
    image      (B, 3, S, S)   the source image resampled there, 0 off the face
    covisible  (B, 1, S, S)   1 where the source view shows the driving pixel's surface point, and not far aside
    mask       (B, 1, S, S)   1 on the driving face
    """

    position: Tensor
    image: Tensor
    covisible: Tensor
    mask: Tensor


def synthesize_view(source: Rendering, driving: Rendering, faces: Tensor, source_image: Tensor, camera: Camera) -> View:
    """The source image (B, 3, S, S) as the driving view shows it.

    faces (F, 3): the driving mesh's triangles over the source mesh's vertices; the face model's, where both are faces.
    Everything is differentiable except ``covisible`` and ``mask``.
    """
    fragments = driving.fragments
    corner = fragments.corners_in(faces, source.vertices.shape[1])
    point = fragments.gather(source.vertices, corner)  # (3, P): the driving pixels' surface points, in the source view
    pixel = camera.project(point.t())
    in_front = fragments.spread((point[2:] > 0).to(pixel.dtype)).permute(0, 2, 3, 1) > 0  # also of the source's camera
    position = torch.where(in_front, fragments.spread(pixel.t()).permute(0, 2, 3, 1), _ELSEWHERE * camera.size)

    shown = _areas(source, corner, camera) / _areas(driving, fragments.hit_vertices, camera)
    seen = (shown > 1 / MAGNIFICATION) & (point[2] > 0)
    seen &= _on_visible_surface(point[2], pixel, fragments.item, source.depth, camera)
    hidden = fragments.spread((~seen).to(pixel.dtype)[None])
    covisible = fragments.mask - hidden * (functional.avg_pool2d(hidden, 3, 1, 1) > _SPECK)
    return View(position, warp(source_image, position, camera.size), covisible, fragments.mask)


def warp(features: Tensor, position: Tensor, size: int) -> Tensor:
    """Features (B, C, h, w) of a picture of side ``size`` at positions (B, S', S', 2) in its pixels: (B, C, S', S').

    Bilinear; h and w are free, since positions are of the picture. What lies outside the picture is 0.
    """
    return functional.grid_sample(features, position * (2 / size) - 1, padding_mode="zeros", align_corners=False)


def head_motion_warp(source: Rendering, driving: Rendering, source_image: Tensor, camera: Camera) -> Tensor:
    """The whole source image (B, 3, S, S) moved with the head, hair and neck included, clamped at its border.

    The motion is the affine map of the picture plane that best takes the driving mesh's projected vertices to the
    source's, in least squares.
    """
    size = camera.size
    target = camera.project(source.vertices) * (2 / size) - 1
    origin = camera.project(driving.vertices) * (2 / size) - 1
    ones = origin.new_ones(*origin.shape[:-1], 1)
    points = torch.cat([origin, ones], -1)
    normal = points.transpose(1, 2) @ points
    normal = normal + 1e-6 * points.shape[1] * torch.eye(3, dtype=normal.dtype, device=normal.device)
    affine = torch.linalg.solve(normal, points.transpose(1, 2) @ target).transpose(1, 2)
    grid = functional.affine_grid(affine, list(source_image.shape), align_corners=False)
    return functional.grid_sample(source_image, grid, padding_mode="border", align_corners=False)


@torch.no_grad()
def _areas(rendering: Rendering, corner: Tensor, camera: Camera) -> Tensor:
    """Signed areas (P,) in square pixels of triangles whose corners (3, P) index the flattened vertices."""
    a, b, c = camera.project(rendering.vertices.flatten(0, 1)).index_select(0, corner.flatten()).view(3, -1, 2)
    (x1, y1), (x2, y2) = (b - a).unbind(-1), (c - a).unbind(-1)
    return (x1 * y2 - x2 * y1) / 2


def _on_visible_surface(depth: Tensor, pixel: Tensor, item: Tensor, visible: Tensor, camera: Camera) -> Tensor:
    """Whether points (P,) at pixels (P, 2) lie on the visible surface (B, 1, S, S) of their picture, as a bool (P,).

    A point is compared with the four pixels around it, and one that agrees suffices: a pixel's depth holds at its
    centre only, and on a slope the others are off by millimetres.
    """
    size = camera.size
    flat = visible.flatten()
    corner = (pixel.detach() - 0.5).floor().nan_to_num(-10.0, -10.0, -10.0).clamp(-10, size + 10).long()
    seen = torch.zeros_like(depth, dtype=torch.bool)
    for dx in (0, 1):
        for dy in (0, 1):
            x, y = corner[:, 0] + dx, corner[:, 1] + dy
            inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
            there = flat[(item * size + y.clamp(0, size - 1)) * size + x.clamp(0, size - 1)]
            seen |= inside & (there > 0) & (depth.detach() <= there.detach() + DEPTH_TOLERANCE)
    return seen
