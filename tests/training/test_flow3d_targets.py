"""What flow3d's losses compare: the priors of both ways, background that is truly revealed, and weights of pixels."""

from __future__ import annotations

from typing import Any

import pytest
import small_trainings as small
import torch
from torch import Tensor, nn

from jr2net.evaluation.flow import cycle_error
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.landmarks import MOUTH, NOSE_BRIDGE
from jr2net.face.model import FaceModel
from jr2net.networks.flow3d.network import premultiplied
from jr2net.render.renderer import landmarks_2d
from jr2net.render.scene import Scene, set_scene
from jr2net.training.flow3d import Flow3DTraining

SIDE = 32


def training(model: FaceModel, **settings: Any) -> Flow3DTraining:
    built = small.training("flow3d", model, 2, **settings)
    assert isinstance(built, Flow3DTraining)
    return built


def turned(built: Flow3DTraining, model: FaceModel) -> Scene:
    """Of a frontal source and a driving face that is turned and opens its mouth."""
    source, expression = model.neutral(1), torch.zeros(1, 51)
    expression[:, ARKIT_NAMES.index("jawOpen")] = 0.8
    driving = source.replace(rotation=torch.tensor([[0.1, 0.4, 0.0]]), expression=expression)
    return set_scene(model, built.camera, torch.rand(1, 3, SIDE, SIDE), source, driving)


@pytest.mark.parametrize("prior", ["pose", "mesh"])
def test_the_prior_of_the_way_back_undoes_that_of_the_way_there(procedural_model: FaceModel, prior: str) -> None:
    built, seen = training(procedural_model, prior=prior), []
    built.networks["warping"].register_forward_pre_hook(lambda module, given: seen.append(given))
    scene = turned(built, procedural_model)
    built.warp(premultiplied(scene.source_image, torch.ones(1, 1, SIDE, SIDE)), scene)
    ((_, source, driving, there, back),) = seen
    assert torch.equal(source, built.flow3d.coefficients(scene.source_face))
    assert torch.equal(driving, built.flow3d.coefficients(scene.driving_face))
    alone = cycle_error(there.flow, torch.zeros_like(back.flow))
    assert alone > 0.05 and cycle_error(there.flow, back.flow) < alone / 3


def holes() -> dict[str, Tensor]:
    """The person stands at the left in the source and in the middle in the driving frame."""
    generator = torch.Generator().manual_seed(0)
    source, driving = torch.zeros(2, 1, 1, SIDE, SIDE)
    source[..., 4:12], driving[..., 8:20] = 1, 1
    images = torch.rand(2, 1, 3, SIDE, SIDE, generator=generator)
    return {"source_image": images[0], "driving_image": images[1], "source_matte": source, "driving_matte": driving}


class Grey(nn.Module):
    def forward(self, image: Tensor, hole: Tensor) -> Tensor:
        return torch.full_like(image, 0.5)


def background(built: Flow3DTraining, batch: dict[str, Tensor]) -> float:
    return float(built.background_losses(batch)["background"])


def changed(batch: dict[str, Tensor], role: str, columns: slice) -> dict[str, Tensor]:
    image = batch[f"{role}_image"].clone()
    image[..., columns] = 1 - 0.5 * image[..., columns]
    return batch | {f"{role}_image": image}


def test_the_background_is_compared_where_the_driving_frame_reveals_it(toy_model: FaceModel) -> None:
    built, batch = training(toy_model), holes()
    built.wrapped["inpaint"] = Grey()
    reference = background(built, batch)
    assert background(built, changed(batch, "driving", slice(4, 7))) != reference  # the source hides it, this does not
    for columns in (slice(7, 21), slice(21, SIDE), slice(0, 3)):  # the person; what the source shows itself
        assert background(built, changed(batch, "driving", columns)) == reference


def test_the_person_in_the_source_is_no_background(toy_model: FaceModel) -> None:
    built, batch = training(toy_model), holes()
    built.wrapped["inpaint"] = Grey()
    assert background(built, changed(batch, "source", slice(4, 12))) == background(built, batch)


def test_eyes_and_mouth_weigh_most(procedural_model: FaceModel) -> None:
    built = training(procedural_model)
    scene = turned(built, procedural_model)
    weights, loss = built.emphasis(scene), built.config.loss
    points = landmarks_2d(procedural_model, scene.driving_face, built.camera)[0].long()
    mouth, nose = (weights[0, 0, points[part, 1], points[part, 0]] for part in (MOUTH, NOSE_BRIDGE))
    assert mouth.min() > nose[0] > 1
    assert weights.max() <= 1 + loss.face_emphasis + loss.feature_emphasis
    corner = weights[0, 0, 0, 0]
    assert corner == pytest.approx(1, abs=1e-3) and scene.driving.mask[0, 0, 0, 0] == 0
