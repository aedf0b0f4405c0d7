"""Differentiable rendering of face parameters to image, depth, normal, light, albedo and mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from jr2net.device import constant
from jr2net.face.camera import TO_CAMERA, Camera, to_camera
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.render.rasterizer import Fragments, rasterize
from jr2net.render.shading import irradiance_map, unit, vertex_normals

__all__ = ["Rendering", "landmarks_2d", "render", "render_mesh", "vertex_normals"]

_MAPS = ("depth", "normal", "light", "albedo", "image")


@dataclass(frozen=True)
class Rendering:
    """B renderings of a mesh, S x S pixels. Maps are computed lazily and cached; they are 0 on background.

    vertices     (B, N, 3)   camera space, mm
    normals      (B, N, 3)   unit vertex normals, light axes
    fragments                visible triangle and barycentric coordinates of each pixel
    reflectance  (B|1, N, 3) albedo per vertex
    illumination (B, 9, 3)   spherical-harmonic light
    """

    vertices: Tensor
    normals: Tensor
    fragments: Fragments
    reflectance: Tensor
    illumination: Tensor

    @property
    def mask(self) -> Tensor:
        """(B, 1, S, S): 1 where the mesh is visible."""
        return self.fragments.mask

    @cached_property
    def depth(self) -> Tensor:
        """(B, 1, S, S): depth (z in camera space) in mm."""
        return self._interpolate(self.vertices[..., 2:])

    @cached_property
    def normal(self) -> Tensor:
        """(B, 3, S, S): unit normals in light axes (x right, y up, z towards the camera)."""
        return unit(self._interpolate(self.normals), 1)

    @cached_property
    def light(self) -> Tensor:
        """(B, 3, S, S): irradiance Σ_b θ_b H_b(n)."""
        return irradiance_map(self.normal, self.illumination)

    @cached_property
    def albedo(self) -> Tensor:
        """(B, 3, S, S): interpolated vertex albedo."""
        return self._interpolate(self.reflectance)

    @cached_property
    def image(self) -> Tensor:
        """(B, 3, S, S): albedo x light. Not clamped to [0, 1], so that gradients flow everywhere."""
        return self.albedo * self.light

    def mask_of(self, vertices: Tensor) -> Tensor:
        """(B, 1, S, S): 1 where the visible surface belongs to ``vertices`` (N,) bool, by interpolation."""
        part = self._interpolate(vertices[None, :, None].to(self.mask.dtype))
        return (part > 0.5).to(self.mask.dtype)

    def take(self, index: Tensor) -> Rendering:
        """Selects renderings ``index`` (M,) int64, with repetition allowed; cached maps are indexed, not recomputed."""
        batched = self.reflectance.shape[0] > 1
        selected = Rendering(
            self.vertices[index],
            self.normals[index],
            self.fragments.take(index, self.vertices.shape[1]),
            self.reflectance[index] if batched else self.reflectance,
            self.illumination[index],
        )
        selected.__dict__.update({name: value[index] for name, value in self._cached_maps().items()})
        return selected

    def concatenate(self, others: Sequence[Rendering]) -> Rendering:
        """These renderings and others of meshes with as many vertices, as one batch, with the maps cached in all."""
        parts = (self, *others)
        joined = Rendering(
            torch.cat([part.vertices for part in parts]),
            torch.cat([part.normals for part in parts]),
            self.fragments.concatenate([other.fragments for other in others], self.vertices.shape[1]),
            torch.cat([part.reflectance.expand(len(part.vertices), -1, -1) for part in parts]),
            torch.cat([part.illumination for part in parts]),
        )
        maps = [part._cached_maps() for part in parts]
        names = set(maps[0]).intersection(*maps[1:])
        joined.__dict__.update({name: torch.cat([cached[name] for cached in maps]) for name in names})
        return joined

    @property
    def nbytes(self) -> int:
        """Size in memory, with the maps cached so far."""
        tensors = (self.vertices, self.normals, self.reflectance, self.illumination, *self._cached_maps().values())
        return self.fragments.nbytes + sum(tensor.nbytes for tensor in tensors)

    def _cached_maps(self) -> dict[str, Tensor]:
        return {name: self.__dict__[name] for name in _MAPS if name in self.__dict__}

    def _interpolate(self, attributes: Tensor) -> Tensor:
        return self.fragments.scatter(self.fragments.gather(attributes))


def render(model: FaceModel, parameters: FaceParameters, camera: Camera, backend: str = "torch") -> Rendering:
    """Renders B faces, differentiable in identity, expression, albedo, rotation, translation and light."""
    shape = model.shape(parameters.identity, parameters.expression)
    vertices = to_camera(shape, parameters.rotation, parameters.translation)
    return render_mesh(vertices, model.faces, model.reflectance(parameters.albedo), parameters.light, camera, backend)


def render_mesh(
    vertices_camera: Tensor, faces: Tensor, albedo: Tensor, light: Tensor, camera: Camera, backend: str = "torch"
) -> Rendering:
    """Renders any mesh: vertices (B, N, 3) in camera space, albedo (B|1, N, 3), light (B, 9, 3)."""
    normals = vertex_normals(vertices_camera, faces) * constant(TO_CAMERA, vertices_camera)
    return Rendering(vertices_camera, normals, rasterize(vertices_camera, faces, camera, backend), albedo, light)


def landmarks_2d(model: FaceModel, parameters: FaceParameters, camera: Camera) -> Tensor:
    """The 68 projected landmarks (B, 68, 2) in pixels; only their vertices are computed."""
    points = model.landmarks
    shape = (
        model.mean[points]
        + torch.einsum("bk,knc->bnc", parameters.identity, model.identity_basis[:, points])
        + torch.einsum("bk,knc->bnc", parameters.expression, model.expression_basis[:, points])
    )
    return camera.project(to_camera(shape, parameters.rotation, parameters.translation))
