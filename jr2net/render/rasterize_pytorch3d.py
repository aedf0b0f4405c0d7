"""Optional backend: PyTorch3D's rasteriser, with its own barycentric coordinates and gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from jr2net.face.camera import Camera
from jr2net.render.fragments import Fragments


def rasterize_pytorch3d(vertices: Tensor, faces: Tensor, camera: Camera) -> Fragments:
    """As ``rasterizer.rasterize``. Raises ImportError with instructions if PyTorch3D is not installed."""
    try:
        from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
        from pytorch3d.structures import Meshes
    except ImportError as error:
        raise ImportError(
            "the rasteriser backend 'pytorch3d' needs PyTorch3D, which has no wheel on PyPI: build it from source "
            "(github.com/facebookresearch/pytorch3d) or use the backend 'torch'"
        ) from error

    # NDC: x left, y up, the shorter side spans [-1, 1]; z is kept as depth for perspective correction.
    batch, size = vertices.shape[0], camera.size
    ndc = (size / 2 - camera.project(vertices)) * (2 / size)
    meshes = Meshes(torch.cat([ndc, vertices[..., 2:]], -1), faces.expand(batch, -1, -1))
    packed, _, weight, _ = rasterize_meshes(
        meshes, image_size=size, faces_per_pixel=1, perspective_correct=True, bin_size=0 if vertices.is_cuda else None
    )

    packed = packed[..., 0]
    face = torch.where(packed >= 0, packed % faces.shape[0], -1)
    pixel = (packed.flatten() >= 0).nonzero().squeeze(1)
    batch_index = torch.div(pixel, size * size, rounding_mode="floor")
    corner = faces.t()[:, face.flatten()[pixel]] + batch_index * vertices.shape[1]
    return Fragments(face, pixel, corner, weight[..., 0, :].flatten(0, 2)[pixel].t())
