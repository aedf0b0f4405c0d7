"""Maps of a rendering: values, axes and consistency."""

from __future__ import annotations

import math

import pytest
import torch

from jr2net.face.camera import Camera
from jr2net.face.light import ambient, irradiance
from jr2net.face.model import FaceModel
from jr2net.render.renderer import landmarks_2d, render, render_mesh, vertex_normals


def sphere(rows: int = 60, columns: int = 80, radius: float = 60.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Vertices (N, 3) around the origin and faces (F, 3), counter-clockwise from outside."""
    theta = torch.linspace(0, math.pi, rows)[:, None]
    phi = torch.linspace(0, 2 * math.pi, columns + 1)[None, :-1]
    vertices = torch.stack(
        [theta.sin() * phi.cos(), theta.cos().expand(-1, columns), -theta.sin() * phi.sin()], -1
    ).reshape(-1, 3)
    corner = torch.arange((rows - 1) * columns)
    right = corner - corner % columns + (corner + 1) % columns
    faces = torch.cat(
        [torch.stack([corner, corner + columns, right], 1), torch.stack([right, corner + columns, right + columns], 1)]
    )
    return radius * vertices, faces


def test_depth_and_normals_of_a_sphere() -> None:
    vertices, faces = sphere()
    camera = Camera.default(64)
    centre = torch.tensor([10.0, -20.0, 1000.0])
    rendering = render_mesh(
        (vertices + centre)[None], faces, torch.full((1, len(vertices), 3), 0.5), ambient(1.0)[None], camera
    )
    y, x = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    ray = camera.unproject(torch.stack([x, y], -1), torch.ones(64, 64))
    along, square = (ray * centre).sum(-1), (ray**2).sum(-1)
    discriminant = along**2 - square * ((centre**2).sum() - 60.0**2)
    inside = discriminant > 0.02 * along**2 * (60.0 / 1000) ** 2  # the polyhedron is slightly smaller than the sphere
    depth = (along - discriminant.clamp_min(0).sqrt()) / square
    assert (rendering.mask[0, 0][inside] == 1).all() and (rendering.mask[0, 0][discriminant <= 0] == 0).all()
    central = discriminant > 0.2 * discriminant.max()
    assert (rendering.depth[0, 0] - depth)[central].abs().max() < 0.3

    normal = (ray * depth[..., None] - centre) / 60.0 * torch.tensor([1.0, -1.0, -1.0])  # light axes
    assert (rendering.normal[0].permute(1, 2, 0) - normal)[central].abs().max() < 0.01
    torch.testing.assert_close(rendering.image[rendering.mask.expand(-1, 3, -1, -1) > 0].mean(), torch.tensor(0.5))
    for background in (rendering.depth, rendering.normal, rendering.light, rendering.albedo, rendering.image):
        assert (background * (1 - rendering.mask) == 0).all()


def test_maps_are_consistent(toy_model: FaceModel) -> None:
    generator = torch.Generator().manual_seed(0)
    neutral = toy_model.neutral(2)
    face = neutral.replace(
        rotation=0.2 * torch.randn(2, 3, generator=generator),
        light=neutral.light + torch.rand(2, 9, 3, generator=generator),
    )
    rendering = render(toy_model, face, Camera.default(32))
    assert (
        rendering.image.shape
        == rendering.normal.shape
        == rendering.light.shape
        == rendering.albedo.shape
        == (2, 3, 32, 32)
    )
    assert rendering.depth.shape == rendering.mask.shape == (2, 1, 32, 32)
    assert rendering.vertices.shape == rendering.normals.shape == (2, 144, 3)
    assert 0.2 < rendering.mask.mean() < 0.9
    torch.testing.assert_close(rendering.image, rendering.albedo * rendering.light)
    expected = irradiance(rendering.normal.permute(0, 2, 3, 1), face.light).permute(0, 3, 1, 2) * rendering.mask
    torch.testing.assert_close(rendering.light, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(rendering.normal.norm(dim=1, keepdim=True), rendering.mask)


def test_frontal_face_points_at_the_camera_and_is_lit_from_the_side_of_the_light(toy_model: FaceModel) -> None:
    face = toy_model.neutral(1)
    light = face.light.clone()
    light[:, 3] = 0.5  # H_3 grows with x, to the right of the image
    rendering = render(toy_model, face.replace(light=light), Camera.default(32))
    assert (rendering.normal[:, 2][rendering.mask[:, 0] > 0] > 0.3).all()
    left, right = rendering.light[..., :12].sum(), rendering.light[..., -12:].sum()
    assert right > 1.1 * left
    light = face.light.clone()
    light[:, 1] = 0.5  # H_1 grows with y, up
    rendering = render(toy_model, face.replace(light=light), Camera.default(32))
    assert rendering.light[:, :, :12].sum() > 1.1 * rendering.light[:, :, -12:].sum()


def test_vertex_normals_point_outwards() -> None:
    vertices, faces = sphere(20, 30)
    normals = vertex_normals(torch.stack([vertices, vertices + 5]), faces)
    inner = slice(60, -60)  # without the poles, where many vertices coincide
    torch.testing.assert_close(normals[1, inner], vertices[inner] / 60.0, atol=0.03, rtol=0)
    torch.testing.assert_close(normals[0], normals[1], atol=1e-4, rtol=0)


def test_landmarks_are_projected_vertices(toy_model: FaceModel) -> None:
    generator = torch.Generator().manual_seed(0)
    face = toy_model.neutral(2).map(lambda value: value + 0.1 * torch.randn(value.shape, generator=generator))
    camera = Camera(48, 200.0, (20.0, 28.0))
    rendering = render(toy_model, face, camera)
    points = landmarks_2d(toy_model, face, camera)
    assert points.shape == (2, 68, 2)
    torch.testing.assert_close(points, camera.project(rendering.vertices[:, toy_model.landmarks]), atol=1e-3, rtol=0)


def test_face_behind_the_camera_gives_an_empty_image_without_nan(toy_model: FaceModel) -> None:
    face = toy_model.neutral(2)
    translation = torch.tensor([[0.0, 0, 1080], [0, 0, -1080]], requires_grad=True)
    rendering = render(toy_model, face.replace(translation=translation), Camera.default(16))
    assert rendering.mask[0].any() and not rendering.mask[1].any()
    (rendering.image.sum() + rendering.depth.sum()).backward()
    assert torch.isfinite(translation.grad).all() and (translation.grad[1] == 0).all()


def test_real_model_fills_the_crop(real_ground) -> None:
    """ICT's face from a file: a frontal face covers about half of the default crop and is upright."""
    from jr2net.face.model_file import read_model_file

    model = read_model_file(real_ground / "assets" / "ict_narrow_lo.npz")
    camera = Camera.default(64)
    rendering = render(model, model.neutral(1), camera)
    assert 0.3 < rendering.mask.mean() < 0.8
    points = landmarks_2d(model, model.neutral(1), camera)[0]
    assert points[8, 1] > points[27, 1] + 15  # the chin lies below the nose bridge
    assert points[36, 0] < points[45, 0] - 15  # the subject's right eye is on the left of the image


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_cpu(toy_model: FaceModel) -> None:
    face, camera = toy_model.neutral(2), Camera.default(32)
    cpu, cuda = render(toy_model, face, camera), render(toy_model.to("cuda"), face.to("cuda"), camera)
    assert (cpu.image - cuda.image.cpu()).abs().mean() < 1e-4
