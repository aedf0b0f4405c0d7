"""Fragments: the visible triangle and barycentric coordinates of every pixel, and interpolation of vertex attributes.

Visibility (which triangle) is computed without gradients by a backend. Barycentric coordinates are computed here,
differentiably and for hit pixels only, so that all backends share one gradient. Tensors are structure-of-arrays with
one column per hit pixel, which makes gathering and scattering fast on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from jr2net.device import constant
from jr2net.face.camera import Camera
from jr2net.render.shading import CYCLES


@dataclass(frozen=True)
class Fragments:
    """The visible surface of B images of H x W pixels. P is the number of hit pixels in the batch.

    pix_to_face      (B, H, W) int64   triangle visible at the pixel's centre, -1 on background
    hit_pixels       (P,) int64        indices of hit pixels in the flattened (B, H, W)
    hit_vertices     (3, P) int64      indices of the triangle's vertices in the flattened (B, N)
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
        return self.scatter(self.hit_bary_coords).permute(0, 2, 3, 1)

    @cached_property
    def mask(self) -> Tensor:
        """(B, 1, H, W): 1 on hit pixels, in the dtype of the vertices."""
        return (self.pix_to_face >= 0)[:, None].to(self.hit_bary_coords.dtype)

    @property
    def batch_index(self) -> Tensor:
        """(P,) int64: index in the batch of the image of each hit pixel."""
        return torch.div(self.hit_pixels, self.pix_to_face[0].numel(), rounding_mode="floor")

    def corners_in(self, faces: Tensor, vertices: int) -> Tensor:
        """``hit_vertices`` of the same triangles in other faces (F, 3): (3, P) int64, indices in (B, vertices)."""
        triangle = self.pix_to_face.flatten().index_select(0, self.hit_pixels)
        return faces.t().index_select(1, triangle) + self.batch_index * vertices

    def gather(self, attributes: Tensor, corner: Tensor | None = None) -> Tensor:
        """Interpolates vertex attributes (B|1, N, C) at hit pixels: (C, P)."""
        corner = self.hit_vertices if corner is None else corner
        if attributes.shape[0] == 1 and self.pix_to_face.shape[0] > 1:
            corner = corner % attributes.shape[1]
        return _Interpolation.apply(attributes.flatten(0, 1).t(), corner, self.hit_bary_coords)

    def take(self, index: Tensor, vertices: int) -> Fragments:
        """Selects images ``index`` (M,) int64, with repetition allowed; ``vertices`` is the number N of mesh vertices.

        Hit pixels are sorted by image, as in ``fragments_of``.
        """
        pixels, batch = self.pix_to_face[0].numel(), self.pix_to_face.shape[0]
        counts = torch.bincount(self.batch_index, minlength=batch)
        lengths = counts[index]
        image = torch.repeat_interleave(torch.arange(len(index), device=index.device), lengths)
        within = torch.arange(len(image), device=index.device) - (lengths.cumsum(0) - lengths)[image]
        column = (counts.cumsum(0) - counts)[index][image] + within
        moved = image - self.batch_index[column]
        return Fragments(
            self.pix_to_face[index],
            self.hit_pixels[column] + moved * pixels,
            self.hit_vertices[:, column] + moved * vertices,
            self.hit_bary_coords[:, column],
        )

    def concatenate(self, others: Sequence[Fragments], vertices: int) -> Fragments:
        """These images and those of others, as one batch; ``vertices`` is the number N of mesh vertices."""
        parts, before = (self, *others), 0
        pixels, corners = [], []
        for part in parts:
            pixels.append(part.hit_pixels + before * part.pix_to_face[0].numel())
            corners.append(part.hit_vertices + before * vertices)
            before += len(part.pix_to_face)
        return Fragments(
            torch.cat([part.pix_to_face for part in parts]),
            torch.cat(pixels),
            torch.cat(corners, dim=1),
            torch.cat([part.hit_bary_coords for part in parts], dim=1),
        )

    @property
    def nbytes(self) -> int:
        return sum(getattr(self, field.name).nbytes for field in fields(self))

    def scatter(self, values: Tensor) -> Tensor:
        """Writes values at hit pixels (C, P) into maps (B, C, H, W), zero on background."""
        batch, height, width = self.pix_to_face.shape
        flat = values.new_zeros(values.shape[0], self.pix_to_face.numel()).index_copy(1, self.hit_pixels, values)
        return flat.view(-1, batch, height, width).transpose(0, 1).contiguous()


def fragments_of(pix_to_face: Tensor, vertices: Tensor, faces: Tensor, camera: Camera) -> Fragments:
    """Fragments of the visible triangles (B, H, W) of camera-space vertices (B, N, 3)."""
    height, width = pix_to_face.shape[1:]
    pixel = (pix_to_face.flatten() >= 0).nonzero().squeeze(1)
    batch_index = torch.div(pixel, height * width, rounding_mode="floor")
    within = pixel - batch_index * (height * width)
    row = torch.div(within, width, rounding_mode="floor")
    centre = torch.stack([within - row * width, row]).to(vertices.dtype) + 0.5
    ray = (centre - constant(camera.centre, vertices)[:, None]) / camera.focal
    triangle = pix_to_face.flatten().index_select(0, pixel)
    corner = faces.t().index_select(1, triangle) + batch_index * vertices.shape[1]
    weight = _Barycentric.apply(vertices.flatten(0, 1).t(), corner, ray)
    return Fragments(pix_to_face, pixel, corner, weight)


def interpolate(fragments: Fragments, faces: Tensor, attributes: Tensor) -> Tensor:
    """Interpolates vertex attributes (B|1, N, C) to maps (B, C, H, W), zero on background.

    Differentiable in the attributes and in the rasterised vertices. faces (F, 3): the rasterised triangles, or the same
    triangles with other vertex indices (e.g. texture coordinates with seams).
    """
    if attributes.dim() != 3 or attributes.shape[0] not in (1, fragments.pix_to_face.shape[0]):
        expected = f"(B or 1, N, C) with B = {fragments.pix_to_face.shape[0]}"
        raise ValueError(f"attributes have shape {tuple(attributes.shape)}; expected {expected}")
    return fragments.scatter(fragments.gather(attributes, fragments.corners_in(faces, attributes.shape[1])))


class _Barycentric(torch.autograd.Function):
    """Perspective-correct barycentric coordinates of the intersection of each hit pixel's ray with its triangle.

    With p_i = (x_i - r_x z_i, y_i - r_y z_i), the offset of the i-th corner from the ray at its depth, the weights are
    b_i = w_i / Σ w with w_i = p_{i+1} x p_{i+2}: equal to triple products of ray and corners, but numerically stable.
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
    """Sums columns (C, 3P) at the vertices (3, P) that they belong to: (C, count)."""
    return columns.new_zeros(columns.shape[0], count).index_add_(1, corner.flatten(), columns)
