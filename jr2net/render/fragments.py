"""What every pixel sees: a triangle and a place on it, and how values at vertices become maps through that.

Visibility (which triangle) is found without gradients by a backend; the place on the triangle is computed here, for hit
pixels only and differentiably, so every backend shares one gradient. Tensors are structure-of-arrays: a hit pixel is a
column, which is what makes gathering and scattering fast on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from jr2net.face.camera import Camera
from jr2net.render.shading import CYCLES


@dataclass(frozen=True)
class Fragments:
    """The visible surface of B pictures of H x W pixels, P of them hit.

    pix_to_face      (B, H, W) int64   triangle that the pixel's centre sees, -1 on background
    hit_pixels       (P,) int64        hit pixels, as indices into the flattened (B, H, W)
    hit_vertices     (3, P) int64      the triangle's vertices, as indices into the flattened (B, N)
    hit_bary_coords  (3, P)            perspective-correct barycentric coordinates, differentiable in the vertices;
                                       columns sum to 1
    """

    pix_to_face: Tensor
    hit_pixels: Tensor
    hit_vertices: Tensor
    hit_bary_coords: Tensor

    @cached_property
    def bary_coords(self) -> Tensor:
        """Barycentric coordinates as a map (B, H, W, 3), zero on background."""
        return self.spread(self.hit_bary_coords).permute(0, 2, 3, 1)

    @cached_property
    def mask(self) -> Tensor:
        """(B, 1, H, W): 1 where a triangle is seen, in the vertices' dtype."""
        return (self.pix_to_face >= 0)[:, None].to(self.hit_bary_coords.dtype)

    @property
    def item(self) -> Tensor:
        """(P,) int64: the picture of the batch that each hit pixel belongs to."""
        return torch.div(self.hit_pixels, self.pix_to_face[0].numel(), rounding_mode="floor")

    def corners_in(self, faces: Tensor, vertices: int) -> Tensor:
        """``corner`` for the same triangles over other vertices: (3, P) indices into the flattened (B, vertices)."""
        triangle = self.pix_to_face.flatten().index_select(0, self.hit_pixels)
        return faces.t().index_select(1, triangle) + self.item * vertices

    def gather(self, attributes: Tensor, corner: Tensor | None = None) -> Tensor:
        """Values at vertices (B|1, N, C) to values at hit pixels (C, P)."""
        corner = self.hit_vertices if corner is None else corner
        if attributes.shape[0] == 1 and self.pix_to_face.shape[0] > 1:
            corner = corner % attributes.shape[1]
        return _Interpolation.apply(attributes.flatten(0, 1).t(), corner, self.hit_bary_coords)

    def take(self, index: Tensor, vertices: int) -> Fragments:
        """The pictures at ``index`` (M,) int64, each any number of times, of meshes of so many ``vertices``.

        Hit pixels stand in the order of their pictures, as ``fragments_of`` finds them.
        """
        side, batch = self.pix_to_face[0].numel(), self.pix_to_face.shape[0]
        counts = torch.bincount(self.item, minlength=batch)
        lengths = counts[index]
        picture = torch.repeat_interleave(torch.arange(len(index), device=index.device), lengths)
        within = torch.arange(len(picture), device=index.device) - (lengths.cumsum(0) - lengths)[picture]
        place = (counts.cumsum(0) - counts)[index][picture] + within
        moved = picture - self.item[place]
        return Fragments(
            self.pix_to_face[index],
            self.hit_pixels[place] + moved * side,
            self.hit_vertices[:, place] + moved * vertices,
            self.hit_bary_coords[:, place],
        )

    def spread(self, values: Tensor) -> Tensor:
        """Values at hit pixels (C, P) to maps (B, C, H, W), zero on background."""
        batch, height, width = self.pix_to_face.shape
        flat = values.new_zeros(values.shape[0], self.pix_to_face.numel()).index_copy(1, self.hit_pixels, values)
        return flat.view(-1, batch, height, width).transpose(0, 1).contiguous()


def fragments_of(face: Tensor, vertices: Tensor, faces: Tensor, camera: Camera) -> Fragments:
    """Visible triangles (B, H, W) of camera-space vertices (B, N, 3) to Fragments."""
    height, width = face.shape[1:]
    pixel = (face.flatten() >= 0).nonzero().squeeze(1)
    item = torch.div(pixel, height * width, rounding_mode="floor")
    within = pixel - item * (height * width)
    row = torch.div(within, width, rounding_mode="floor")
    centre = torch.stack([within - row * width, row]).to(vertices.dtype) + 0.5
    ray = (centre - vertices.new_tensor(camera.centre)[:, None]) / camera.focal
    triangle = face.flatten().index_select(0, pixel)
    corner = faces.t().index_select(1, triangle) + item * vertices.shape[1]
    weight = _Barycentric.apply(vertices.flatten(0, 1).t(), corner, ray)
    return Fragments(face, pixel, corner, weight)


def interpolate(fragments: Fragments, faces: Tensor, attributes: Tensor) -> Tensor:
    """Values at vertices (B|1, N, C) to maps (B, C, H, W), zero on background; differentiable in both.

    faces (F, 3) are the triangles that were rasterised, or the same triangles over other vertices (a texture's seams).
    """
    if attributes.dim() != 3 or attributes.shape[0] not in (1, fragments.pix_to_face.shape[0]):
        expected = f"(B or 1, N, C) with B = {fragments.pix_to_face.shape[0]}"
        raise ValueError(f"attributes have shape {tuple(attributes.shape)}; expected {expected}")
    return fragments.spread(fragments.gather(attributes, fragments.corners_in(faces, attributes.shape[1])))


class _Barycentric(torch.autograd.Function):
    """Where the ray of each hit pixel meets its triangle.

    With p_i = (x_i - r_x z_i, y_i - r_y z_i), the i-th corner's offset from the ray at its depth, the weights are
    b_i = w_i / Σ w with w_i = p_{i+1} x p_{i+2}: the triple products of ray and corners, without their cancellation.
    """

    @staticmethod
    def forward(ctx: Any, vertices: Tensor, corner: Tensor, ray: Tensor) -> Tensor:
        """vertices (3, M), corner (3, P), ray (2, P) -> weights (3, P)."""
        x, y, z = vertices.index_select(1, corner.flatten()).view(3, *corner.shape)
        px, py = x - ray[0] * z, y - ray[1] * z
        area = torch.stack([px[j] * py[k] - px[k] * py[j] for _, j, k in CYCLES])
        total = area[0] + area[1] + area[2]
        weight = area / total
        ctx.save_for_backward(px, py, weight, total, corner, ray)
        ctx.vertices = vertices.shape[1]
        return weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        px, py, weight, total, corner, ray = ctx.saved_tensors
        mean = (gradient[0] * weight[0]).addcmul_(gradient[1], weight[1]).addcmul_(gradient[2], weight[2])
        area = (gradient - mean).div_(total)
        columns = torch.empty(3, *corner.shape, dtype=px.dtype, device=px.device)
        for i, j, k in CYCLES:
            torch.sub(area[k] * py[j], area[j] * py[k], out=columns[0, i])
            torch.sub(area[j] * px[k], area[k] * px[j], out=columns[1, i])
            torch.add(ray[0] * columns[0, i], ray[1] * columns[1, i], out=columns[2, i])
        columns[2].neg_()
        return _add_columns(columns.flatten(1), corner, ctx.vertices), None, None


class _Interpolation(torch.autograd.Function):
    """attributes (C, M), corner (3, P), weight (3, P) -> Σ_i weight_i attributes[:, corner_i], (C, P)."""

    @staticmethod
    def forward(ctx: Any, attributes: Tensor, corner: Tensor, weight: Tensor) -> Tensor:
        values = attributes.index_select(1, corner.flatten()).unflatten(1, corner.shape)
        ctx.save_for_backward(values, corner, weight)
        ctx.vertices = attributes.shape[1]
        return (values[:, 0] * weight[0]).addcmul_(values[:, 1], weight[1]).addcmul_(values[:, 2], weight[2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        values, corner, weight = ctx.saved_tensors
        attributes = weights = None
        if ctx.needs_input_grad[0]:
            attributes = _add_columns((gradient[:, None] * weight).flatten(1), corner, ctx.vertices)
        if ctx.needs_input_grad[2]:
            weights = gradient[0] * values[0]
            for channel in range(1, len(values)):
                weights.addcmul_(gradient[channel], values[channel])
        return attributes, None, weights


def _add_columns(columns: Tensor, corner: Tensor, count: int) -> Tensor:
    """Columns (C, 3P) added up at their vertices (3, P): (C, count)."""
    return columns.new_zeros(columns.shape[0], count).index_add_(1, corner.flatten(), columns)
