"""Normals and spherical-harmonic lighting on component-first tensors, with analytic gradients.

The same formulas as in ``face.light``, which is the readable reference for the tests. Here components come first and
are contiguous, because reductions over a middle dimension of size three are slow on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from jr2net.device import constant
from jr2net.face.light import _BAND0, _BAND1, _BAND2, _BAND2_ZZ

CYCLES = ((0, 1, 2), (1, 2, 0), (2, 0, 1))  # i, i + 1, i + 2 modulo 3
_TINY = 1e-12


def cross(a: Tensor, b: Tensor) -> Tensor:
    """Cross product of vectors (3, ...)."""
    return torch.stack([a[j] * b[k] - a[k] * b[j] for _, j, k in CYCLES])


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals (B, N, 3) in the axes of the vertices: the area-weighted mean of the adjacent triangles' normals.

    Zero for vertices without triangles. Internally the batch is the innermost dimension, so that a vertex's row holds
    the whole batch.
    """
    total = _AreaNormals.apply(vertices.permute(2, 1, 0).contiguous(), faces)
    return unit(total, 0).permute(2, 1, 0)


def unit(vectors: Tensor, dim: int) -> Tensor:
    """Normalises vectors with three components along ``dim`` to length 1; zero stays zero."""
    return _Unit.apply(vectors, dim)


def irradiance_map(normal: Tensor, illumination: Tensor) -> Tensor:
    """Irradiance Σ_b θ_b H_b(n) (B, 3, H, W) of unit normals (B, 3, H, W), light (B, 9, 3); 0 where the normal is 0."""
    return _Irradiance.apply(normal.flatten(2), illumination).view(-1, 3, *normal.shape[2:])


class _AreaNormals(torch.autograd.Function):
    """Vertices (3, N, B) to the sum (3, N, B) of their triangles' normals, each with twice the area as its length."""

    @staticmethod
    def forward(ctx: Any, vertices: Tensor, faces: Tensor) -> Tensor:
        order = faces.t().flatten()
        corner = vertices.index_select(1, order).unflatten(1, (3, -1))  # (3, corner, F, B)
        first, second = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
        ctx.save_for_backward(first, second, order)
        ctx.vertices = vertices.shape[1]
        triangle = cross(first, second)
        return _add_rows((triangle, triangle, triangle), order, ctx.vertices)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        first, second, order = ctx.saved_tensors
        a, b, c = gradient.contiguous().index_select(1, order).unflatten(1, (3, -1)).unbind(1)
        triangle = (a + b).add_(c)
        by_first, by_second = cross(second, triangle), cross(triangle, first)
        return _add_rows((-by_first - by_second, by_first, by_second), order, ctx.vertices), None


def _add_rows(corners: tuple[Tensor, Tensor, Tensor], order: Tensor, count: int) -> Tensor:
    """Sums rows (3, F, B) of the triangles' three corners at their vertices: (3, N, B)."""
    total = corners[0].new_zeros(3, count, corners[0].shape[2])
    for rows, index in zip(corners, order.view(3, -1)):
        for axis in range(3):
            total[axis].index_add_(0, index, rows[axis])
    return total


class _Unit(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor, dim: int) -> Tensor:
        x, y, z = vectors.unbind(dim)
        scale = (x * x).addcmul_(y, y).addcmul_(z, z).sqrt_().clamp_min_(_TINY).reciprocal_().unsqueeze(dim)
        result = vectors * scale
        ctx.save_for_backward(result, scale)
        ctx.dim = dim
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        result, scale = ctx.saved_tensors
        (x, y, z), (gx, gy, gz) = result.unbind(ctx.dim), gradient.unbind(ctx.dim)
        along = (x * gx).addcmul_(y, gy).addcmul_(z, gz).unsqueeze(ctx.dim)
        # The gradient at a zero vector is defined as 0 (its scale would be huge).
        return torch.addcmul(gradient, result, along, value=-1).mul_(scale * (scale < 1 / _TINY)), None


class _Irradiance(torch.autograd.Function):
    """normal (B, 3, P), illumination (B, 9, 3) -> (B, 3, P).

    The constants in H_0 and H_6 are multiplied by |n|², which changes nothing for unit normals and gives 0 for n = 0.
    """

    @staticmethod
    def forward(ctx: Any, normal: Tensor, illumination: Tensor) -> Tensor:
        x, y, z = normal.unbind(1)
        xx, yy, zz = x * x, y * y, z * z
        basis = normal.new_empty(normal.shape[0], 9, normal.shape[2])
        torch.add(xx, yy, out=basis[:, 0]).add_(zz).mul_(_BAND0)
        torch.mul(y, _BAND1, out=basis[:, 1])
        torch.mul(z, _BAND1, out=basis[:, 2])
        torch.mul(x, _BAND1, out=basis[:, 3])
        torch.mul(x, y, out=basis[:, 4]).mul_(_BAND2)
        torch.mul(y, z, out=basis[:, 5]).mul_(_BAND2)
        torch.sub(zz, xx, alpha=0.5, out=basis[:, 6]).sub_(yy, alpha=0.5).mul_(2 * _BAND2_ZZ)
        torch.mul(x, z, out=basis[:, 7]).mul_(_BAND2)
        torch.sub(xx, yy, out=basis[:, 8]).mul_(0.5 * _BAND2)
        ctx.save_for_backward(normal, illumination, basis)
        return illumination.transpose(1, 2) @ basis

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        normal, illumination, basis = ctx.saved_tensors
        normals = light = None
        if ctx.needs_input_grad[0]:
            scale = (_BAND0, _BAND1, _BAND1, _BAND1, _BAND2, _BAND2, _BAND2_ZZ, _BAND2, 0.5 * _BAND2)
            weighted = illumination * constant(scale, illumination)[:, None]
            h0, hy, hz, hx, hxy, hyz, hzz, hxz, hxx = (weighted @ gradient).unbind(1)
            x, y, z = normal.unbind(1)
            square = h0.sub_(hzz)  # common factor of x², y² and z²
            normals = torch.empty_like(normal)
            torch.mul(x, square + hxx, out=normals[:, 0]).mul_(2).add_(hx).addcmul_(y, hxy).addcmul_(z, hxz)
            torch.mul(y, square - hxx, out=normals[:, 1]).mul_(2).add_(hy).addcmul_(x, hxy).addcmul_(z, hyz)
            square.add_(hzz, alpha=3)
            torch.mul(z, square, out=normals[:, 2]).mul_(2).add_(hz).addcmul_(y, hyz).addcmul_(x, hxz)
        if ctx.needs_input_grad[1]:
            light = basis @ gradient.transpose(1, 2)
        return normals, light
