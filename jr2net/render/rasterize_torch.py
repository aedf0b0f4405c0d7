"""The default backend: a scanline z-buffer in plain tensor operations, on CPU and CUDA.

Triangles are culled, expanded to the rows that they cross, and rows to the pixels between the triangle's edges, so the
cost is proportional to the covered area and not to pixels times triangles. Each candidate pixel is packed into one
int64 key, the bits of its inverse depth above those of its triangle index; a scatter with ``amax`` of the keys is an
exact z-buffer.

The batch is the innermost dimension until triangles are culled: a vertex's row then holds all images, and gathering
rows is an order of magnitude faster than gathering scalars. Data-dependent ``torch.where`` is avoided for the same
reason.
"""

from __future__ import annotations

import torch
from torch import Tensor

from jr2net.face.camera import Camera

NEAR = 1.0  # mm; triangles with a corner nearer than this, or behind the camera, are not drawn
_INCLUSIVE = 1e-4  # pixels by which spans are widened, so that rounding leaves no holes along shared edges
_SLIVER = 1e-8  # square pixels, twice the area; edge-on triangles have no barycentric coordinates
_FAR_AWAY = 1e9  # pixels; offset that disables edges that do not bound a side
_LOW_BITS = 0xFFFFFFFF


@torch.no_grad()
def visible_faces(vertices: Tensor, faces: Tensor, camera: Camera) -> Tensor:
    """The nearest triangle at each pixel (B, S, S), or -1; vertices (B, N, 3) in camera space, in mm, faces (F, 3).

    Triangles are two-sided. At equal depth the lower index wins.
    """
    batch, size = vertices.shape[0], camera.size
    x, y, inverse = _corners_on_screen(vertices, faces, camera)  # each (3, F·B)
    kept = (_covers_a_centre(x, size) & _covers_a_centre(y, size)).nonzero().squeeze(1)
    x, y, inverse = (corner.index_select(1, kept) for corner in (x, y, inverse))  # each (3, K)
    face = torch.div(kept, batch, rounding_mode="floor")
    image = kept - face * batch

    # Inverse depth is linear in screen space; compute its slopes along x and y.
    dx, dy, dz = x[1:] - x[0], y[1:] - y[0], inverse[1:] - inverse[0]
    twice_area = dx[0] * dy[1] - dx[1] * dy[0]
    slope_x = (dz[0] * dy[1] - dz[1] * dy[0]) / twice_area
    slope_y = (dz[1] * dx[0] - dz[0] * dx[1]) / twice_area

    # Triangles to rows.
    top = (y.amin(0) - _INCLUSIVE).clamp_min_(0).ceil_()
    bottom = (y.amax(0) + _INCLUSIVE).clamp_max_(size - 1).floor_()
    bottom.sub_((twice_area.abs() <= _SLIVER) * float(size))  # drops slivers
    owner, down = _expand(top, bottom)
    left, right = _spans(x, y, top, twice_area, owner, down)
    left = left.sub_(_INCLUSIVE).clamp_min_(0).ceil_()
    right = right.add_(_INCLUSIVE).clamp_max_(size - 1).floor_()

    # Rows to pixels: inverse depth and buffer address at the first pixel of the row, then along the row.
    plane = torch.stack([inverse[0] + slope_y * (top - y[0]), slope_y, slope_x, x[0]]).index_select(1, owner)
    start = plane[0] + down * plane[1] + (left - plane[3]) * plane[2]
    address = (image * size + top.long()).mul_(size).index_select(0, owner)
    address.add_(down.long(), alpha=size).add_(left.long())
    row, along = _expand(left, right)
    triangle = owner.index_select(0, row)
    depth = start.index_select(0, row) + along * slope_x.index_select(0, triangle)
    farthest, nearest = (bound.index_select(0, triangle) for bound in (inverse.amin(0), inverse.amax(0)))
    depth = depth.clamp_(farthest, nearest).float()  # the slopes of thin triangles are inaccurate
    key = depth.view(torch.int32).long().bitwise_left_shift_(32).add_((_LOW_BITS - face).index_select(0, triangle))
    pixel = address.index_select(0, row).add_(along.long())

    buffer = key.new_zeros(batch * size * size).scatter_reduce_(0, pixel, key, "amax")
    return buffer.to(torch.int32).bitwise_not_().long().view(batch, size, size)  # the low 32 bits are ~face, 0 if empty


def _corners_on_screen(vertices: Tensor, faces: Tensor, camera: Camera) -> tuple[Tensor, Tensor, Tensor]:
    """x, y (pixel centres at integers) and inverse depth of each triangle's corners: (3, F·B), batch innermost.

    NaN for vertices that are not drawn, so that all comparisons with them are false.
    """
    order = faces.t().flatten()
    x, y, z = vertices.permute(2, 1, 0).contiguous()
    inverse = torch.where(z > NEAR, 1 / z, torch.nan)
    x = x.mul_(inverse).mul_(camera.focal).add_(camera.centre[0] - 0.5)
    y = y.mul_(inverse).mul_(camera.focal).add_(camera.centre[1] - 0.5)
    x, y, inverse = (plane.index_select(0, order).view(3, -1) for plane in (x, y, inverse))
    return x, y, inverse


def _covers_a_centre(corner: Tensor, size: int) -> Tensor:
    """(K,) bool: whether the extent of the corners (3, K) along one axis contains a pixel centre of the image."""
    low = torch.minimum(torch.minimum(corner[0], corner[1]), corner[2])
    high = torch.maximum(torch.maximum(corner[0], corner[1]), corner[2])
    return low.sub_(_INCLUSIVE).clamp_min_(0).ceil_() <= high.add_(_INCLUSIVE).clamp_max_(size - 1)


def _expand(first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Expands inclusive integer ranges first … last (K,): (index of the range, offset from first) of every member."""
    length = (last - first + 1).clamp_min_(0).long()
    owner = torch.repeat_interleave(length)
    begin = length.cumsum(0).sub_(length)
    offset = torch.arange(len(owner), device=owner.device).sub_(begin.index_select(0, owner))
    return owner, offset.to(first.dtype)


def _spans(x: Tensor, y: Tensor, top: Tensor, twice_area: Tensor, owner: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """Left and right end (R,) of the rows ``down`` rows below ``top`` of triangle ``owner``; corners x, y (3, K)."""
    rise = y.roll(-1, 0) - y  # of the edge that starts at each corner
    slope = (x.roll(-1, 0) - x) / (rise + (rise == 0))
    crossing = x + (top - y) * slope  # x at which the edge's line crosses the top row
    side = rise * twice_area.sign()  # negative: left boundary; positive: right; zero (horizontal edge): neither
    bounds = [crossing - (side >= 0) * _FAR_AWAY, crossing + (side <= 0) * _FAR_AWAY, slope]
    edge = torch.cat(bounds).index_select(1, owner)
    shift = edge[6:].mul_(down)
    a, b, c = edge[:3].add_(shift)
    left = torch.maximum(torch.maximum(a, b), c)
    a, b, c = edge[3:6].add_(shift)
    return left, torch.minimum(torch.minimum(a, b), c)
