"""Scenes: the inputs of DCNet for a source and a driving face."""

from __future__ import annotations

import torch

from jr2net.face.camera import Camera
from jr2net.face.light import ambient
from jr2net.face.model import FaceModel
from jr2net.render.renderer import render
from jr2net.render.scene import exposure, recombine, set_scene


def test_recombination_keeps_the_identity(toy_model: FaceModel) -> None:
    source = toy_model.neutral(2).replace(identity=torch.ones(2, 4), light=ambient(0.5).expand(2, -1, -1))
    driving = toy_model.neutral(2, distance=900).replace(expression=torch.full((2, 51), 0.3))
    full, specific = recombine(source, driving), recombine(source, driving, pose=False, light=False)
    for mixed in (full, specific):
        assert mixed.identity is source.identity
        assert mixed.albedo is source.albedo
        assert mixed.expression is driving.expression
    assert full.translation is driving.translation
    assert full.light is driving.light
    assert specific.translation is source.translation
    assert specific.light is source.light


def test_renderings_have_the_colours_of_the_photo(toy_model: FaceModel) -> None:
    """The photo has another red and blue than the face parameters explain: 1.6 and 0.5 times as much."""
    camera, face = Camera.default(48), toy_model.neutral(1)
    tint = torch.tensor([1.6, 1.0, 0.5]).view(1, 3, 1, 1)
    photo = render(toy_model, face, camera).image * tint
    torch.testing.assert_close(exposure(photo, render(toy_model, face, camera)), tint)
    scene = set_scene(toy_model, camera, photo, face, face)
    torch.testing.assert_close(scene.conditions.rendered, photo.clamp(0, 1))
