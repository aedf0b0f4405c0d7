"""Folds of a flow, and the error of the way there and back."""

from __future__ import annotations

import pytest
import torch

from jr2net.config import Flow3DConfig
from jr2net.evaluation.flow import cycle_error, flow_defects, flows, folded
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.networks.flow3d.geometry import voxel_centres
from jr2net.networks.flow3d.network import Flow3D
from jr2net.render.scene import set_scene

SIZE = (4, 8, 16)


def centres() -> torch.Tensor:
    return voxel_centres(SIZE, torch.device("cpu"))


def test_a_motion_of_everything_folds_nothing() -> None:
    flow = torch.zeros(1, 3, *SIZE)
    flow[:, 0] = 0.7
    assert folded(torch.cat([torch.zeros_like(flow), flow])).tolist() == [0, 0]


def test_a_mirrored_axis_folds_everything() -> None:
    flow = torch.zeros(3, 3, *SIZE)
    for axis in range(3):
        flow[axis, axis] = -2 * centres()[0, axis]
    assert folded(flow).tolist() == [1, 1, 1]


def test_a_tear_in_one_place_folds_one_row_of_voxels() -> None:
    flow = torch.zeros(1, 3, *SIZE)
    flow[:, 0, :, :, :5] = 0.5  # the fifth column passes the sixth
    assert folded(flow).item() == pytest.approx(1 / 15)


def test_the_way_back_is_judged_by_the_way_there() -> None:
    there = torch.zeros(2, 3, *SIZE)
    there[:, 0] = 0.25
    back = -there
    back[1, 1] = 0.125
    assert cycle_error(there, back).tolist() == pytest.approx([0, 0.125])


def test_only_voxels_that_stay_in_the_volume_count() -> None:
    there, back = torch.zeros(1, 3, *SIZE), torch.full((1, 3, *SIZE), 5.0)
    assert cycle_error(there, back).isnan().all()


@pytest.mark.parametrize("prior", ["none", "mesh"])
def test_an_untrained_network_moves_by_its_prior(procedural_model: FaceModel, prior: str) -> None:
    torch.manual_seed(0)
    network, camera = Flow3D(Flow3DConfig(prior=prior)).eval(), Camera.default(32)
    source = procedural_model.neutral(1)
    driving = source.replace(rotation=torch.tensor([[0.0, 0.3, 0.0]]))
    scene = set_scene(procedural_model, camera, torch.rand(1, 3, 32, 32), source, driving)
    with torch.inference_mode():
        there, back = flows(network, procedural_model, camera, scene)
    assert there.shape == back.shape == (1, 3, 8, 8, 8)
    if prior == "none":
        assert not there.any() and not back.any()
    else:
        alone = cycle_error(there, torch.zeros_like(there)).item()
        assert alone > 0.01, "there alone does not lead back"
        assert cycle_error(there, back).item() < alone / 2


def test_only_networks_that_warp_a_volume_have_defects_of_a_flow(procedural_model: FaceModel) -> None:
    torch.manual_seed(0)
    camera, face = Camera.default(32), procedural_model.neutral(1)
    scene = set_scene(procedural_model, camera, torch.rand(1, 3, 32, 32), face, face)
    with torch.inference_mode():
        found = flow_defects(Flow3D(Flow3DConfig()).eval(), procedural_model, camera, scene)
        assert {name: value.shape for name, value in found.items()} == {"folded_voxels": (1,), "cycle_px": (1,)}
        assert flow_defects(torch.nn.Identity(), procedural_model, camera, scene) == {}
