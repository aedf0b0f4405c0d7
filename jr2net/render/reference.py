"""Brute-force reference rasteriser: tests every triangle at every pixel. Slow; for tests only."""

from __future__ import annotations

import torch
from torch import Tensor

from jr2net.face.camera import Camera


def rasterize_reference(vertices: Tensor, faces: Tensor, camera: Camera) -> tuple[Tensor, Tensor, Tensor]:
    """Triangle index (S, S), barycentric coordinates (S, S, 3) and depth (S, S) in mm of a camera-space mesh (N, 3).

    The ray d through a pixel's centre meets the plane of a triangle where Σ λ_i v_i = t d. Solving V b = d gives
    λ = b / Σ b and the depth t = 1 / Σ b. Background: -1, 0 and infinity.
    """
    size = camera.size
    centre = torch.arange(size, dtype=vertices.dtype, device=vertices.device) + 0.5
    y, x = torch.meshgrid(centre, centre, indexing="ij")
    rays = camera.unproject(torch.stack([x, y], -1), torch.ones_like(x))

    face_at = torch.full((size, size), -1, device=vertices.device)
    barycentric = torch.zeros_like(rays)
    depth = torch.full_like(x, torch.inf)
    for index, face in enumerate(faces.tolist()):
        corners = vertices[face]
        if not (corners[:, 2] > 1.0).all() or torch.linalg.det(corners) == 0:
            continue  # behind the camera, too near, NaN, or edge-on
        solution = rays @ torch.linalg.inv(corners)  # corners are rows of the matrix, so this is V⁻¹ d
        total = solution.sum(-1)
        nearer = (solution >= 0).all(-1) & (total > 0) & (1 / total < depth)
        face_at = torch.where(nearer, index, face_at)
        barycentric = torch.where(nearer[..., None], solution / total[..., None], barycentric)
        depth = torch.where(nearer, 1 / total, depth)
    return face_at, barycentric, depth
