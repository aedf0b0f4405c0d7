"""The two backends give equal results; skipped if PyTorch3D is not installed."""

from __future__ import annotations

import pytest
import torch

from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.render.rasterizer import rasterize
from jr2net.render.renderer import Rendering, render

pytest.importorskip("pytorch3d", reason="PyTorch3D is not installed")


def faces_of(model: FaceModel, batch: int) -> FaceParameters:
    """Poses that keep vertices off the pixel grid, where PyTorch3D leaves holes."""
    generator = torch.Generator().manual_seed(0)
    deviation = {"identity": 0.5, "expression": 0.1, "albedo": 0.5, "rotation": 0.3, "translation": 7.0, "light": 0.2}
    return FaceParameters(
        **{
            name: value + deviation[name] * torch.randn(value.shape, generator=generator)
            for name, value in model.neutral(batch).state().items()
        }
    )


def both(model: FaceModel, face: FaceParameters, camera: Camera) -> tuple[Rendering, Rendering]:
    return render(model, face, camera, "torch"), render(model, face, camera, "pytorch3d")


@pytest.mark.parametrize(("size", "batch"), [(33, 3), (128, 1)])
def test_maps_agree(toy_model: FaceModel, size: int, batch: int) -> None:
    ours, theirs = both(toy_model, faces_of(toy_model, batch), Camera(size, 5.2 * size, (0.48 * size, 0.53 * size)))
    agree = ours.fragments.pix_to_face == theirs.fragments.pix_to_face
    assert agree.float().mean() >= 0.9995 and ours.mask.mean() > 0.2
    weight = (ours.fragments.bary_coords - theirs.fragments.bary_coords)[agree].abs()
    assert weight.max() < 1e-3 and weight.mean() < 1e-5
    depth = (ours.depth / theirs.depth - 1)[:, 0][agree & (ours.fragments.pix_to_face >= 0)].abs()
    assert depth.max() < 1e-5
    for name in ("normal", "light", "albedo", "image"):
        difference = (getattr(ours, name) - getattr(theirs, name)).abs().permute(0, 2, 3, 1)[agree]
        assert difference.max() < 1e-3, name


def test_gradients_agree(toy_model: FaceModel) -> None:
    camera = Camera.default(64)
    face = faces_of(toy_model, 1)
    renderings = []
    for backend in ("torch", "pytorch3d"):
        leaves = face.map(lambda value: value.clone().requires_grad_())
        renderings.append((render(toy_model, leaves, camera, backend), leaves))
    agree = (renderings[0][0].fragments.pix_to_face == renderings[1][0].fragments.pix_to_face)[:, None]
    weights = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * agree
    for rendering, _ in renderings:
        (rendering.image * weights).sum().backward()
    for name, ours in renderings[0][1].state().items():
        theirs = getattr(renderings[1][1], name).grad
        assert (ours.grad - theirs).norm() <= 2e-3 * theirs.norm(), name


def test_backends_agree_on_a_real_face(real_ground) -> None:
    from jr2net.face.model_file import read_model_file

    model = read_model_file(real_ground / "assets" / "ict_narrow_lo.npz")
    ours, theirs = both(model, faces_of(model, 1), Camera.default(96))
    assert (ours.fragments.pix_to_face == theirs.fragments.pix_to_face).float().mean() > 0.999
    assert (ours.image - theirs.image).abs().mean() < 1e-4


def test_triangles_behind_the_camera_are_not_drawn() -> None:
    vertices = torch.tensor(
        [[[-50.0, -50, 100], [50, -50, -100], [0, 50, 100], [-9, -9, 100], [9, -8, 100], [1, 9, 100]]]
    )
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    camera = Camera.default(16, 1.0)
    ours, theirs = (rasterize(vertices, faces, camera, backend).pix_to_face for backend in ("torch", "pytorch3d"))
    assert torch.equal(ours, theirs) and set(ours.unique().tolist()) == {-1, 1}
