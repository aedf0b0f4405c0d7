"""Visibility and barycentric coordinates: comparison with the reference rasteriser, and edge cases."""

from __future__ import annotations

import pytest
import torch

from jr2net.face.camera import Camera
from jr2net.render.rasterizer import interpolate, rasterize
from jr2net.render.reference import rasterize_reference


def random_triangles(count: int, seed: int, size: float = 60.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random triangles that cross each other, some behind the camera, some outside of the image: (1, 3·count, 3)."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.randn(count, 1, 3, generator=generator) * torch.tensor([80.0, 80.0, 150.0])
    corners = centre + size * torch.randn(count, 3, 3, generator=generator) + torch.tensor([0.0, 0.0, 500.0])
    corners[:2, :, 2] -= 600
    return corners.view(1, -1, 3), torch.arange(3 * count).view(-1, 3)


def on_screen(points: list[tuple[float, float]], camera: Camera, depth: float = 100.0) -> torch.Tensor:
    """Camera-space vertices (1, n, 3) that project to these pixels, in float64 for exactness."""
    pixels = torch.tensor(points, dtype=torch.float64)
    return camera.unproject(pixels, torch.full((len(points),), depth, dtype=torch.float64))[None]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [7, 32])
def test_agrees_with_the_reference(seed: int, size: int) -> None:
    vertices, faces = random_triangles(60, seed)
    camera = Camera.default(size, focal_ratio=2.0)
    fragments = rasterize(vertices, faces, camera)
    face, barycentric, depth = rasterize_reference(vertices[0].double(), faces, camera)

    agree = fragments.pix_to_face[0] == face
    assert agree.float().mean() > 0.998  # crossing surfaces may have equal depth in float32
    torch.testing.assert_close(fragments.bary_coords[0][agree].double(), barycentric[agree], atol=2e-5, rtol=0)
    hit = agree & (face >= 0)
    interpolated = interpolate(fragments, faces, vertices[..., 2:])[0, 0]
    torch.testing.assert_close(interpolated[hit].double(), depth[hit], rtol=1e-5, atol=0)
    assert (interpolated[~hit & agree] == 0).all()


def test_agrees_with_the_reference_on_a_model(toy_model) -> None:
    camera = Camera.default(24)
    vertices = toy_model.mean * torch.tensor([1.0, -1.0, -1.0]) + torch.tensor([0.0, 0.0, 1080.0])
    fragments = rasterize(vertices[None], toy_model.faces, camera)
    face, _, _ = rasterize_reference(vertices.double(), toy_model.faces, camera)
    assert (
        fragments.pix_to_face[0] == face
    ).float().mean() > 0.998  # a centre on a shared edge may belong to either face
    assert ((fragments.pix_to_face[0] >= 0) == (face >= 0)).all()


def test_pixel_centres_are_at_one_half() -> None:
    camera = Camera(8, 10.0, (4.0, 4.0))
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    inside = [(2.51, 3.51), (5.49, 3.51), (5.49, 4.49), (2.51, 4.49)]  # between the centres of columns 2 and 5
    square = rasterize(on_screen(inside, camera), faces, camera).pix_to_face[0]
    assert (square >= 0).nonzero().tolist() == []
    around = [(2.49, 3.49), (5.51, 3.49), (5.51, 4.51), (2.49, 4.51)]
    square = rasterize(on_screen(around, camera), faces, camera).pix_to_face[0]
    assert (square >= 0).nonzero().tolist() == [[i, j] for i in (3, 4) for j in (2, 3, 4, 5)]


def test_barycentric_coordinates_are_perspective_correct_at_pixel_centres() -> None:
    camera = Camera(8, 10.0, (3.0, 5.0))  # principal point off the centre
    generator = torch.Generator().manual_seed(0)
    vertices = torch.tensor([[[-9.0, -9, 15], [9, -7, 12], [1, 9, 30]]]).double()
    vertices = vertices + torch.rand(1, 3, 3, generator=generator)
    faces = torch.tensor([[0, 1, 2]])
    fragments = rasterize(vertices, faces, camera)
    point = interpolate(fragments, faces, vertices)[0].permute(1, 2, 0)
    hit = fragments.pix_to_face[0] >= 0
    assert hit.sum() > 10
    row, column = hit.nonzero().T
    torch.testing.assert_close(camera.project(point[hit]), torch.stack([column, row], -1) + 0.5, check_dtype=False)
    torch.testing.assert_close(fragments.hit_bary_coords.sum(0), torch.ones_like(fragments.hit_bary_coords[0]))


def test_edges_through_pixel_centres_leave_no_holes() -> None:
    """A grid whose vertices are pixel centres covers every pixel, batched, in float32 and float64."""
    side = 9
    y, x = torch.meshgrid(torch.arange(side) + 0.5, torch.arange(side) + 0.5, indexing="ij")
    corner = torch.arange(side * side).view(side, side)[:-1, :-1].reshape(-1)
    faces = torch.cat(
        [
            torch.stack([corner, corner + 1, corner + side], 1),
            torch.stack([corner + 1, corner + side + 1, corner + side], 1),
        ]
    )
    camera = Camera.default(side)
    for dtype in (torch.float32, torch.float64):
        pixels = torch.stack([x, y], -1).view(-1, 2).to(dtype)
        vertices = camera.unproject(pixels, torch.full((len(pixels),), 700.0, dtype=dtype))
        assert (rasterize(vertices[None].expand(2, -1, -1), faces, camera).pix_to_face >= 0).all()


def test_triangles_are_clipped_at_the_image_border() -> None:
    camera = Camera.default(6)
    faces = torch.tensor([[0, 1, 2]])
    full = rasterize(on_screen([(-100, -100), (300, -100), (-100, 300)], camera), faces, camera)
    assert (full.pix_to_face == 0).all()
    outside = rasterize(on_screen([(-9, 1), (-1, 1), (-4, 5)], camera), faces, camera)
    assert (outside.pix_to_face == -1).all()
    left_half = rasterize(
        on_screen([(-100, -1), (3, -1), (3, 7), (-100, 7)], camera), faces.new_tensor([[0, 1, 2], [0, 2, 3]]), camera
    )
    assert ((left_half.pix_to_face[0] >= 0) == (torch.arange(6) < 3)).all()


def test_nearer_wins_and_equal_depth_goes_to_the_lower_index() -> None:
    camera = Camera.default(4)
    corners = [(-20.0, -20.0), (60.0, -20.0), (-20.0, 60.0)]
    far, near = on_screen(corners, camera, 200.0), on_screen(corners, camera, 199.999)
    vertices = torch.cat([far, near, near], 1).float()
    faces = torch.arange(9).view(3, 3)
    assert (rasterize(vertices, faces, camera).pix_to_face == 1).all()
    assert (rasterize(vertices, faces[[0, 2, 1]].flip(1), camera).pix_to_face == 1).all()  # two-sided


@pytest.mark.parametrize("depth", [-50.0, 0.0, 0.5, float("nan"), float("inf")])
def test_triangles_behind_the_camera_or_with_nan_are_not_drawn(depth: float) -> None:
    camera = Camera.default(8)
    good = on_screen([(0, 0), (3, 0), (0, 3)], camera)
    bad = on_screen([(0, 0), (8, 0), (8, 8)], camera)
    bad[0, 1, 2] = depth
    fragments = rasterize(torch.cat([bad, good], 1), torch.arange(6).view(2, 3), camera)
    assert set(fragments.pix_to_face.unique().tolist()) == {-1, 1}
    assert torch.isfinite(fragments.hit_bary_coords).all()


def test_empty_image_has_zero_maps_and_zero_gradients() -> None:
    camera = Camera.default(8)
    vertices = torch.tensor([[[0.0, 0, -5], [1, 0, -5], [0, 1, -5]]], requires_grad=True)
    faces = torch.tensor([[0, 1, 2]])
    fragments = rasterize(vertices, faces, camera)
    image = interpolate(fragments, faces, vertices)
    assert fragments.bary_coords.shape == (1, 8, 8, 3) and image.shape == (1, 3, 8, 8)
    image.sum().backward()
    assert (image == 0).all() and (vertices.grad == 0).all()


def test_slivers_and_degenerate_triangles_stay_finite() -> None:
    camera = Camera.default(128)
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 200, 3, generator=generator) * 40
    thickness = torch.logspace(-5, 0.5, 200)[:, None]  # mm
    c = a + (b - a) * torch.rand(200, 1, generator=generator) + thickness * torch.randn(200, 3, generator=generator)
    vertices = (torch.stack([a, b, c], 1).view(1, -1, 3) + torch.tensor([0.0, 0, 800])).requires_grad_()
    faces = torch.cat([torch.arange(600).view(-1, 3), torch.tensor([[0, 0, 1], [5, 5, 5]])])
    fragments = rasterize(vertices, faces, camera)
    interpolate(fragments, faces, vertices).sum().backward()
    assert (fragments.pix_to_face >= 0).sum() > 5
    assert torch.isfinite(fragments.hit_bary_coords).all() and torch.isfinite(vertices.grad).all()
    depth = interpolate(fragments, faces, vertices[..., 2:]).detach()
    assert depth.max() < 1000


def test_batch_equals_single_images(toy_model) -> None:
    generator = torch.Generator().manual_seed(3)
    camera = Camera.default(20)
    vertices = toy_model.mean * torch.tensor([1.0, -1.0, -1.0]) + torch.tensor([0.0, 0.0, 1080.0])
    vertices = (
        vertices + 10 * torch.randn(3, 1, 3, generator=generator) + torch.randn(3, *vertices.shape, generator=generator)
    )
    batch = rasterize(vertices, toy_model.faces, camera)
    single = [rasterize(vertices[i : i + 1], toy_model.faces, camera) for i in range(3)]
    assert torch.equal(batch.pix_to_face, torch.cat([s.pix_to_face for s in single]))
    torch.testing.assert_close(batch.bary_coords, torch.cat([s.bary_coords for s in single]), atol=1e-6, rtol=0)
    own = interpolate(batch, toy_model.faces, toy_model.uv.expand(3, -1, -1))
    shared = interpolate(batch, toy_model.faces, toy_model.uv[None])
    assert own.shape == (3, 2, 20, 20) and torch.equal(own, shared)
    torch.testing.assert_close(
        interpolate(batch, toy_model.faces, vertices)[1:2], interpolate(single[1], toy_model.faces, vertices[1:2])
    )


def test_attributes_may_use_other_vertex_indices() -> None:
    """Like a texture seam: the same triangles with separate attribute indices."""
    camera = Camera.default(8)
    vertices = on_screen([(0, 0), (8, 0), (8, 8), (0, 8)], camera)
    fragments = rasterize(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]), camera)
    labels = torch.tensor([[[1.0], [1], [1], [2], [2], [2]]]).double()
    interpolated = interpolate(fragments, torch.arange(6).view(2, 3), labels)
    torch.testing.assert_close(interpolated[:, 0], fragments.pix_to_face + 1.0, check_dtype=False)


def test_errors_name_the_valid_values(toy_model) -> None:
    camera = Camera.default(8)
    vertices = toy_model.mean[None] + torch.tensor([0.0, 0, 1000])
    with pytest.raises(ValueError, match=r"'cuda'.*torch, pytorch3d"):
        rasterize(vertices, toy_model.faces, camera, backend="cuda")
    fragments = rasterize(vertices, toy_model.faces, camera)
    with pytest.raises(ValueError, match=r"\(2, 144, 3\).*B = 1"):
        interpolate(fragments, toy_model.faces, vertices.expand(2, -1, -1))


def test_missing_pytorch3d_raises_with_instructions(toy_model) -> None:
    try:
        import pytorch3d  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match="build it from source"):
            rasterize(toy_model.mean[None], toy_model.faces, Camera.default(8), backend="pytorch3d")
    else:
        pytest.skip("PyTorch3D is installed")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_cpu() -> None:
    vertices, faces = random_triangles(60, 0)
    camera = Camera.default(32, focal_ratio=2.0)
    cpu, cuda = rasterize(vertices, faces, camera), rasterize(vertices.cuda(), faces.cuda(), camera)
    agree = cpu.pix_to_face == cuda.pix_to_face.cpu()
    assert agree.float().mean() > 0.998
    torch.testing.assert_close(cpu.bary_coords[agree], cuda.bary_coords.cpu()[agree], atol=1e-4, rtol=0)
