"""``Rendering.take``: selecting, repeating and reordering equals rendering in that order."""

from __future__ import annotations

import torch

from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.render.renderer import render


def test_selected_renderings_equal_separate_renderings(toy_model: FaceModel) -> None:
    generator, camera = torch.Generator().manual_seed(0), Camera.default(32)
    faces = toy_model.neutral(3)
    faces = faces.replace(rotation=0.3 * torch.randn(3, 3, generator=generator))
    index = torch.tensor([2, 0, 2, 1, 2])
    rendering, expected = render(toy_model, faces, camera), render(toy_model, faces[index], camera)
    cached = rendering.depth
    selected = rendering.take(index)
    assert torch.equal(selected.depth, cached[index])
    for name in ("depth", "normal", "light", "albedo", "image", "mask"):
        torch.testing.assert_close(getattr(selected, name), getattr(expected, name), rtol=1e-4, atol=1e-4)
    for name in ("pix_to_face", "hit_pixels", "hit_vertices"):
        assert torch.equal(getattr(selected.fragments, name), getattr(expected.fragments, name))
    torch.testing.assert_close(
        selected.fragments.hit_bary_coords, expected.fragments.hit_bary_coords, rtol=1e-4, atol=1e-4
    )
