"""Rasterisation of a mesh to fragments, with a choice of backends."""

from __future__ import annotations

from torch import Tensor

from jr2net.face.camera import Camera
from jr2net.render.fragments import Fragments, fragments_of, interpolate
from jr2net.render.rasterize_torch import visible_faces

__all__ = ["BACKENDS", "Fragments", "interpolate", "rasterize"]

BACKENDS = ("torch", "pytorch3d")


def rasterize(vertices_camera: Tensor, faces: Tensor, camera: Camera, backend: str = "torch") -> Fragments:
    """Fragments of a mesh in square images.

    vertices_camera (B, N, 3) camera space, mm; faces (F, 3) int64. Triangles with a corner behind the camera are not
    drawn; the others are two-sided. Barycentric coordinates are differentiable in the vertices, visibility is not.
    Raises ValueError for an unknown backend, ImportError if PyTorch3D is not installed.
    """
    if backend == "torch":
        return fragments_of(visible_faces(vertices_camera, faces, camera), vertices_camera, faces, camera)
    if backend == "pytorch3d":
        from jr2net.render.rasterize_pytorch3d import rasterize_pytorch3d  # an optional dependency

        return rasterize_pytorch3d(vertices_camera, faces, camera)
    raise ValueError(f"unknown rasteriser backend {backend!r}; choose one of {', '.join(BACKENDS)}")
