"""View synthesis: equality with Eq. 2, co-visibility, and warps at any resolution."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from jr2net.face.camera import Camera, rotation_matrix
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.render.renderer import render, render_mesh
from jr2net.render.view_synthesis import head_motion_warp, synthesize_view, warp

FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))


@pytest.fixture
def posed(toy_model: FaceModel) -> Callable[..., FaceParameters]:
    def pose(pitch: float = 0.0, yaw: float = 0.0, roll: float = 0.0, shift: tuple = (0.0, 0.0, 0.0), **changes):
        face = toy_model.neutral(1)
        return face.replace(
            rotation=torch.tensor([[pitch, yaw, roll]]), translation=face.translation + torch.tensor([shift]), **changes
        )

    return pose


@pytest.mark.parametrize("size", [32, 96])
def test_equals_equation_2_for_equal_shape_and_expression(toy_model, posed, size: int) -> None:
    """p_s ~ K T_{t→s} D_t(p_t) K⁻¹ p_t with T from the two poses, within 1e-3 pixels."""
    generator = torch.Generator().manual_seed(0)
    common = {
        "identity": torch.randn(1, 4, generator=generator),
        "expression": 0.3 * torch.rand(1, 51, generator=generator),
    }
    first = posed(0.1, -0.3, 0.05, (5.0, -3.0, 20.0), **common)
    second = posed(-0.2, 0.25, -0.1, (-8.0, 4.0, -30.0), **common)
    camera = Camera.default(size)
    source, driving = render(toy_model, first, camera), render(toy_model, second, camera)
    view = synthesize_view(source, driving, toy_model.faces, torch.zeros(1, 3, size, size), camera)

    rotation_s, rotation_t = (FLIP @ rotation_matrix(p.rotation[0].double()) for p in (first, second))
    between = rotation_s @ rotation_t.T
    hit = driving.mask[0, 0] > 0
    row, column = hit.nonzero().T
    centre = torch.stack([column, row], -1) + 0.5
    point = camera.unproject(centre.double(), driving.depth[0, 0][hit].double())
    moved = (point - second.translation.double()) @ between.T + first.translation.double()
    assert hit.sum() > 0.2 * size**2
    assert (view.position[0][hit].double() - camera.project(moved)).norm(dim=-1).max() < 1e-3
    assert torch.equal(view.mask, driving.mask)


def test_identical_views_give_the_identity(toy_model, posed) -> None:
    camera = Camera.default(32)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    rendering = render(toy_model, posed(yaw=0.2), camera)
    view = synthesize_view(rendering, rendering, toy_model.faces, image, camera)
    row, column = (rendering.mask[0, 0] > 0).nonzero().T
    torch.testing.assert_close(
        view.position[0, row, column], torch.stack([column, row], -1) + 0.5, atol=1e-3, rtol=0, check_dtype=False
    )
    torch.testing.assert_close(view.image, image * rendering.mask, atol=1e-3, rtol=0)
    assert torch.equal(view.covisible, rendering.mask)
    assert (head_motion_warp(rendering, rendering, image, camera) - image).abs().max() < 1e-3


def test_position_follows_the_expression(toy_model, posed) -> None:
    """The position is that of the same surface point under the source's expression."""
    camera = Camera.default(32)
    expression = torch.zeros(1, 51)
    expression[0, 17] = 1.0
    source, driving = render(toy_model, posed(expression=expression), camera), render(toy_model, posed(), camera)
    view = synthesize_view(source, driving, toy_model.faces, torch.zeros(1, 3, 32, 32), camera)
    index = 60  # a vertex in the middle: the nearest pixel moves about as far as the vertex
    before, after = camera.project(driving.vertices[0, index]), camera.project(source.vertices[0, index])
    column, row = before.floor().long()
    shift = view.position[0, row, column] - (torch.stack([column, row]) + 0.5)
    assert (after - before).norm() > 0.2
    torch.testing.assert_close(shift, after - before, atol=0.1, rtol=0.1)


def wall_and_post() -> tuple[torch.Tensor, torch.Tensor]:
    """A wall 200 mm wide and 60 mm in front of it a post 20 mm wide, each a fine grid: (N, 3), (F, 3), model axes."""
    vertices, faces = [], []
    for width, height, z in ((200.0, 120.0, 0.0), (20.0, 120.0, 60.0)):
        v, u = torch.meshgrid(torch.linspace(0.5, -0.5, 9), torch.linspace(-0.5, 0.5, 9), indexing="ij")
        corner = torch.arange(81).view(9, 9)[:-1, :-1].reshape(-1) + 81 * len(vertices)
        vertices.append(torch.stack([width * u, height * v, torch.full_like(u, z)], -1).view(-1, 3))
        faces += [
            torch.stack([corner, corner + 9, corner + 1], 1),
            torch.stack([corner + 1, corner + 9, corner + 10], 1),
        ]
    return torch.cat(vertices), torch.cat(faces)


def test_occluded_strip_is_not_covisible() -> None:
    """Frontal source, rotated driving view: exactly the strip of the wall behind the post is not co-visible."""
    from jr2net.face.camera import to_camera

    vertices, faces = wall_and_post()
    camera, size = Camera.default(96, 4.0), 96
    light = torch.zeros(1, 9, 3)
    turned = torch.tensor([[0.0, 0.5, 0.0]])

    def view_of(rotation: torch.Tensor):
        posed_vertices = to_camera(vertices[None], rotation, torch.tensor([[0.0, 0.0, 1000.0]]))
        return render_mesh(posed_vertices, faces, torch.ones(1, len(vertices), 3), light, camera)

    source, driving = view_of(torch.zeros(1, 3)), view_of(turned)
    view = synthesize_view(source, driving, faces, torch.zeros(1, 3, size, size), camera)
    on_wall = (driving.fragments.pix_to_face[0] >= 0) & (driving.fragments.pix_to_face[0] < len(faces) // 2)
    across = driving.fragments.scatter(driving.fragments.gather(vertices[None, :, :1]))[0, 0]  # x on the wall, mm
    covered = 10.0 * 1000 / 940  # half of the width that the post covers on the wall, seen from the source camera
    margin = 4.0  # mm, a little more than a pixel
    hidden, open_ = on_wall & (across.abs() < covered - margin), on_wall & (across.abs() > covered + margin)
    assert hidden.sum() > 30 and open_.sum() > 1000
    assert (view.covisible[0, 0][hidden] == 0).all()
    assert (view.covisible[0, 0][open_] == 1).all()
    on_post = driving.fragments.pix_to_face[0] >= len(faces) // 2
    assert (view.covisible[0, 0][on_post] == 1).all()
    assert (view.covisible * (1 - view.mask) == 0).all()


def test_back_faces_and_points_outside_the_image_are_not_covisible(toy_model, posed) -> None:
    camera = Camera.default(32)
    away = render(toy_model, posed(yaw=3.0), camera)
    front = render(toy_model, posed(), camera)
    zero = torch.zeros(1, 3, 32, 32)
    assert synthesize_view(away, front, toy_model.faces, zero, camera).covisible.sum() == 0
    outside = render(toy_model, posed(shift=(110.0, 0.0, 0.0)), camera)
    view = synthesize_view(outside, front, toy_model.faces, zero + 1, camera)
    assert 0 < view.covisible.sum() < view.mask.sum()
    assert (view.position[view.covisible[:, 0] > 0] <= 32.5).all()
    behind = render(toy_model, posed(shift=(0.0, 0.0, -3000.0)), camera)
    view = synthesize_view(behind, front, toy_model.faces, zero + 1, camera)
    assert view.covisible.sum() == 0 and (view.image == 0).all()


def test_warp_works_at_any_resolution_and_is_zero_outside() -> None:
    y, x = torch.meshgrid(torch.arange(16) + 0.5, torch.arange(16) + 0.5, indexing="ij")
    position = torch.stack([x, y], -1)[None] * 2  # pixel centres of an image of side 32 at half resolution
    for side in (8, 16, 32):
        centre = (torch.arange(side) + 0.5) * 32 / side
        features = centre.expand(1, 2, side, side)  # each column holds its x in the image
        warped = warp(features, position, 32)
        assert warped.shape == (1, 2, 16, 16)
        inner = slice(2, -2)
        torch.testing.assert_close(warped[0, 0, :, inner][inner], position[0, inner, inner, 0])
    assert (warp(features, position - 100, 32) == 0).all()


def test_non_face_features_are_zero_at_every_resolution(toy_model, posed) -> None:
    camera = Camera.default(32)
    view = synthesize_view(
        render(toy_model, posed(yaw=0.3), camera), render(toy_model, posed(), camera), toy_model.faces,
        torch.ones(1, 3, 32, 32), camera,
    )  # fmt: skip
    for side in (4, 8, 64):
        warped = warp(torch.ones(1, 5, side, side), view.position, 32)
        assert (warped * (1 - view.mask) == 0).all()
        assert warped[view.covisible.expand(-1, 5, -1, -1) > 0].mean() > 0.9


def test_head_motion_moves_the_whole_image(toy_model, posed) -> None:
    """A head motion of 3 pixels right and 2 down also moves the background."""
    camera = Camera.default(32)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    source = render(toy_model, posed(), camera)
    pixels = camera.project(source.vertices) + torch.tensor([3.0, 2.0])
    vertices = camera.unproject(pixels, source.vertices[..., 2])
    driving = render_mesh(vertices, toy_model.faces, source.reflectance, source.illumination, camera)
    moved = head_motion_warp(source, driving, image, camera)
    torch.testing.assert_close(moved[..., 2:, 3:], image[..., :-2, :-3], atol=0.01, rtol=0)
    torch.testing.assert_close(moved[..., 2:, 0], image[..., :-2, 0], atol=0.01, rtol=0)  # clamped at the border


def test_head_motion_of_a_collapsed_face_is_finite(toy_model, posed) -> None:
    camera = Camera.default(16)
    source = render(toy_model, posed(), camera)
    flat = render_mesh(
        source.vertices * 0 + torch.tensor([0.0, 0, 900]),
        toy_model.faces,
        source.reflectance,
        source.illumination,
        camera,
    )
    assert torch.isfinite(head_motion_warp(source, flat, torch.rand(1, 3, 16, 16), camera)).all()
    assert torch.isfinite(head_motion_warp(flat, source, torch.rand(1, 3, 16, 16), camera)).all()
