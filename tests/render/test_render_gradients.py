"""Analytic gradients against finite differences, in float64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from jr2net.face import light
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.render.rasterizer import interpolate, rasterize
from jr2net.render.renderer import render
from jr2net.render.shading import irradiance_map, unit, vertex_normals
from jr2net.render.view_synthesis import head_motion_warp, synthesize_view, warp


def double(model: FaceModel) -> FaceModel:
    names = ("mean", "identity_basis", "expression_basis", "albedo_mean", "albedo_basis")
    return replace(model, **{name: getattr(model, name).double() for name in names})


def parameters(model: FaceModel, batch: int, seed: int = 0) -> FaceParameters:
    generator = torch.Generator().manual_seed(seed)

    def noise(value: torch.Tensor, scale: float) -> torch.Tensor:
        return value.double() + scale * torch.randn(value.shape, generator=generator, dtype=torch.float64)

    neutral = model.neutral(batch)
    return FaceParameters(
        identity=noise(neutral.identity, 0.5),
        expression=noise(neutral.expression, 0.1),
        albedo=noise(neutral.albedo, 0.5),
        rotation=noise(neutral.rotation, 0.2),
        translation=noise(neutral.translation, 3.0),
        light=noise(neutral.light, 0.2),
    )


def test_weights_and_attributes() -> None:
    camera = Camera.default(9, focal_ratio=1.0)
    generator = torch.Generator().manual_seed(0)
    vertices = torch.randn(2, 12, 3, generator=generator, dtype=torch.float64) * 3 + torch.tensor([0.0, 0, 9])
    attributes = torch.randn(2, 12, 4, generator=generator, dtype=torch.float64)
    faces = torch.randint(0, 12, (8, 3), generator=generator)
    assert (rasterize(vertices, faces, camera).pix_to_face >= 0).sum() > 20

    def interpolated(v: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        return interpolate(rasterize(v, faces, camera), faces, a)

    assert torch.autograd.gradcheck(
        interpolated, (vertices.requires_grad_(), attributes.requires_grad_()), eps=1e-7, atol=1e-5
    )
    assert torch.autograd.gradcheck(lambda a: interpolated(vertices, a[:1]), (attributes,), eps=1e-7, atol=1e-5)


def test_normals_and_light(toy_model) -> None:
    generator = torch.Generator().manual_seed(0)
    vertices = torch.randn(2, 6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    faces = torch.tensor([[0, 1, 2], [1, 3, 2], [2, 3, 4], [0, 4, 1]])  # vertex 5 belongs to no triangle
    assert torch.autograd.gradcheck(lambda v: vertex_normals(v, faces), (vertices,))
    assert (vertex_normals(vertices, faces)[:, 5] == 0).all()

    normal = torch.randn(2, 3, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    theta = torch.randn(2, 9, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda n: unit(n, 1), (normal,))
    assert torch.autograd.gradcheck(irradiance_map, (normal, theta))
    expected = light.irradiance(unit(normal, 1).permute(0, 2, 3, 1), theta).permute(0, 3, 1, 2)
    torch.testing.assert_close(irradiance_map(unit(normal, 1), theta), expected)


def test_background_has_zero_gradients() -> None:
    """Where the normal is 0, the normalised normal, the light and their gradients are 0, not NaN."""
    zero = torch.zeros(1, 3, 2, 2, requires_grad=True)
    light_map = irradiance_map(unit(zero, 1), torch.ones(1, 9, 3))
    light_map.sum().backward()
    assert (light_map == 0).all() and (zero.grad == 0).all()


@pytest.mark.parametrize("name", ["identity", "expression", "albedo", "rotation", "translation", "light"])
def test_gradients_with_respect_to_every_parameter(toy_model, name: str) -> None:
    """Directional derivatives of all maps, without pixels whose triangle changes within the finite difference."""
    model, camera = double(toy_model), Camera.default(16)
    start = parameters(model, 2)
    generator = torch.Generator().manual_seed(7)
    direction = torch.randn(getattr(start, name).shape, generator=generator, dtype=torch.float64)

    def maps(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = render(model, start.replace(**{name: value}), camera)
        stacked = torch.cat([out.depth / 1000, out.normal, out.light, out.albedo, out.image], 1)
        return stacked, out.fragments.pix_to_face

    value = getattr(start, name).clone().requires_grad_()
    step = 1e-5
    (after, face_after), (before, face_before) = (
        maps(value.detach() + step * direction),
        maps(value.detach() - step * direction),
    )
    current, face = maps(value)
    unchanged = ((face == face_after) & (face == face_before))[:, None]
    assert unchanged.float().mean() > 0.95 and (face >= 0).float().mean() > 0.3

    weights = torch.randn(current.shape, generator=generator, dtype=torch.float64) * unchanged
    numeric = ((after - before) / (2 * step) * weights).sum()
    (analytic,) = torch.autograd.grad((current * weights).sum(), value)
    assert numeric.abs() > 1e-8
    torch.testing.assert_close((analytic * direction).sum(), numeric, rtol=1e-5, atol=1e-9)


def test_views_are_differentiable_in_both_faces_and_the_image(toy_model) -> None:
    model, camera = double(toy_model), Camera.default(16)
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(1, 3, 16, 16, generator=generator, dtype=torch.float64, requires_grad=True)
    source, driving = (parameters(model, 1, seed) for seed in (1, 2))

    def position(angles: torch.Tensor) -> torch.Tensor:
        first = render(model, source.replace(rotation=angles[:1]), camera)
        second = render(model, driving.replace(rotation=angles[1:]), camera)
        return synthesize_view(first, second, model.faces, image.detach(), camera).position

    angles = torch.cat([source.rotation, driving.rotation]).requires_grad_()
    assert torch.autograd.gradcheck(position, (angles,), eps=1e-7, atol=1e-4)
    first, second = render(model, source, camera), render(model, driving, camera)
    positions = synthesize_view(first, second, model.faces, image, camera).position
    assert torch.autograd.gradcheck(lambda i: warp(i, positions, 16), (image,))
    assert torch.autograd.gradcheck(lambda i: head_motion_warp(first, second, i, camera), (image,))
