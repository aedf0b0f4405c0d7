"""View synthesis (Eq. 2): the position of each driving pixel in the source view, and the source image warped by it.

Eq. 2 moves a driving pixel rigidly, ``p_s ~ K T_{t->s} D_t(p_t) K⁻¹ p_t``. Here each driving pixel is mapped to its
surface point on the mesh and projected with the source's vertices. This equals Eq. 2 if shape and expression are equal,
and generalises it if they are not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from jr2net.face.camera import Camera
from jr2net.render.renderer import Rendering

DEPTH_TOLERANCE = 4.0  # mm; a point up to this far behind the visible surface still counts as visible
MAGNIFICATION = 4.0  # triangles shrunk by more than this area ratio in the source are hidden, e.g. closed lids
_SPECK = 3.5 / 9  # hidden pixels with at most this fraction of their 3 x 3 neighbourhood hidden are noise, i.e. visible
_OUTSIDE = -1.0  # position of pixels off the face, in image sides: outside of the image at every resolution


@dataclass(frozen=True)
class View:
    """The source image warped into the driving view, S x S.

    position   (B, S, S, 2)   (x, y) in pixels of the source; off the face outside of the image, where ``warp`` gives 0
    image      (B, 3, S, S)   the source image sampled at ``position``, 0 off the face
    covisible  (B, 1, S, S)   1 where the driving pixel's surface point is visible, not too oblique, in the source
    mask       (B, 1, S, S)   1 on the driving face
    """

    position: Tensor
    image: Tensor
    covisible: Tensor
    mask: Tensor


def synthesize_view(source: Rendering, driving: Rendering, faces: Tensor, source_image: Tensor, camera: Camera) -> View:
    """Warps the source image (B, 3, S, S) into the driving view.

    faces (F, 3): the driving mesh's triangles as indices of the source mesh's vertices (for two faces, the model's
    faces). Differentiable except for ``covisible`` and ``mask``.
    """
    fragments = driving.fragments
    corner = fragments.corners_in(faces, source.vertices.shape[1])
    point = fragments.gather(
        source.vertices, corner
    )  # (3, P): surface points of the driving pixels in the source's camera space
    pixel = camera.project(point.t())
    in_front = fragments.scatter((point[2:] > 0).to(pixel.dtype)).permute(0, 2, 3, 1) > 0  # of the source's camera
    position = torch.where(in_front, fragments.scatter(pixel.t()).permute(0, 2, 3, 1), _OUTSIDE * camera.size)

    area_ratio = _areas(source, corner, camera) / _areas(driving, fragments.hit_vertices, camera)
    visible = (area_ratio > 1 / MAGNIFICATION) & (point[2] > 0)
    visible &= _on_visible_surface(point[2], pixel, fragments.batch_index, source.depth, camera)
    hidden = fragments.scatter((~visible).to(pixel.dtype)[None])
    covisible = fragments.mask - hidden * (functional.avg_pool2d(hidden, 3, 1, 1) > _SPECK)
    return View(position, warp(source_image, position, camera.size), covisible, fragments.mask)


def warp(features: Tensor, position: Tensor, size: int) -> Tensor:
    """Samples features (B, C, h, w) of an image of side ``size`` at positions (B, S', S', 2) in pixels: (B, C, S', S').

    Bilinear. Positions refer to the image, so h and w may be any resolution. Positions outside of the image give 0.
    """
    return functional.grid_sample(features, position * (2 / size) - 1, padding_mode="zeros", align_corners=False)


def head_motion_warp(source: Rendering, driving: Rendering, source_image: Tensor, camera: Camera) -> Tensor:
    """The whole source image (B, 3, S, S), with hair and neck, moved with the head; clamped at its border.

    The motion is the affine map of the image plane from the projected driving vertices to the projected source
    vertices, in the least-squares sense.
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


def _on_visible_surface(depth: Tensor, pixel: Tensor, batch_index: Tensor, surface: Tensor, camera: Camera) -> Tensor:
    """(P,) bool: whether points with depth (P,) at pixels (P, 2) lie on the surface with this depth map (B, 1, S, S).

    A point is compared with the depth of the four nearest pixel centres; one match is enough, because on a slope the
    others differ by millimetres.
    """
    size = camera.size
    flat = surface.flatten()
    corner = (pixel.detach() - 0.5).floor().nan_to_num(-10.0, -10.0, -10.0).clamp(-10, size + 10).long()
    visible = torch.zeros_like(depth, dtype=torch.bool)
    for dx in (0, 1):
        for dy in (0, 1):
            x, y = corner[:, 0] + dx, corner[:, 1] + dy
            inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
            nearest = flat[(batch_index * size + y.clamp(0, size - 1)) * size + x.clamp(0, size - 1)]
            visible |= inside & (nearest > 0) & (depth.detach() <= nearest.detach() + DEPTH_TOLERANCE)
    return visible
