"""A rendering's pictures taken out, doubled and reordered are the pictures rendered so."""

from __future__ import annotations

import torch

from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.render.renderer import render


def test_taken_pictures_are_those_rendered_alone(toy_model: FaceModel) -> None:
    generator, camera = torch.Generator().manual_seed(0), Camera.default(32)
    faces = toy_model.neutral(3)
    faces = faces.replace(rotation=0.3 * torch.randn(3, 3, generator=generator))
    index = torch.tensor([2, 0, 2, 1, 2])
    whole, wanted = render(toy_model, faces, camera), render(toy_model, faces[index], camera)
    made_before = whole.depth
    taken = whole.take(index)
    assert torch.equal(taken.depth, made_before[index])
    for name in ("depth", "normal", "light", "albedo", "image", "mask"):
        torch.testing.assert_close(getattr(taken, name), getattr(wanted, name), rtol=1e-4, atol=1e-4)
    for name in ("pix_to_face", "hit_pixels", "hit_vertices"):
        assert torch.equal(getattr(taken.fragments, name), getattr(wanted.fragments, name))
    torch.testing.assert_close(taken.fragments.hit_bary_coords, wanted.fragments.hit_bary_coords, rtol=1e-4, atol=1e-4)
