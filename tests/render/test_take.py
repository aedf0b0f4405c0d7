"""``Rendering.take`` and ``concatenate``: selecting, repeating, joining equals rendering in that order."""

from __future__ import annotations

import torch

from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.render.renderer import Rendering, render


def test_selected_renderings_equal_separate_renderings(toy_model: FaceModel) -> None:
    generator, camera = torch.Generator().manual_seed(0), Camera.default(32)
    faces = toy_model.neutral(3)
    faces = faces.replace(rotation=0.3 * torch.randn(3, 3, generator=generator))
    index = torch.tensor([2, 0, 2, 1, 2])
    rendering, expected = render(toy_model, faces, camera), render(toy_model, faces[index], camera)
    cached = rendering.depth
    selected = rendering.take(index)
    assert torch.equal(selected.depth, cached[index])
    compare(selected, expected)


def test_joined_renderings_equal_separate_renderings(toy_model: FaceModel) -> None:
    generator, camera = torch.Generator().manual_seed(0), Camera.default(32)
    faces = toy_model.neutral(4)
    faces = faces.replace(rotation=0.3 * torch.randn(4, 3, generator=generator))
    faces = faces.replace(translation=faces.translation + torch.tensor([[0.0], [0], [1e5], [0]]))  # one out of sight
    first, *others = (render(toy_model, faces[torch.tensor(part)], camera) for part in ([0, 1], [2], [3]))
    for rendering in (first, *others):
        rendering.image  # noqa: B018  cached, with what it depends on
    assert first.nbytes > others[0].nbytes  # which has no pixels
    joined = first.concatenate(others)
    assert {"image", "normal", "light", "albedo"} <= set(joined.__dict__) and "depth" not in joined.__dict__
    compare(joined, render(toy_model, faces, camera))


def compare(selected: Rendering, expected: Rendering) -> None:
    for name in ("depth", "normal", "light", "albedo", "image", "mask"):
        torch.testing.assert_close(getattr(selected, name), getattr(expected, name), rtol=1e-4, atol=1e-4)
    for name in ("pix_to_face", "hit_pixels", "hit_vertices"):
        assert torch.equal(getattr(selected.fragments, name), getattr(expected.fragments, name))
    torch.testing.assert_close(
        selected.fragments.hit_bary_coords, expected.fragments.hit_bary_coords, rtol=1e-4, atol=1e-4
    )
