"""bfloat16 (coordinates stay float32) and networks prepared for inference."""

from __future__ import annotations

import pytest
import torch

from jr2net.config import BackboneConfig
from jr2net.face.model import FaceModel
from jr2net.networks.etnet import ETNet
from jr2net.networks.motion import extend_motion
from jr2net.networks.precision import Bfloat16, in_bfloat16, prepare
from jr2net.networks.recaugnet import RecAugNet
from jr2net.networks.recnet import RecNet
from jr2net.networks.resnet import soft_argmax
from tests.training.small_trainings import NETWORKS, batch, training

POINTS = BackboneConfig(layers=10, width=8, points=4)
CPU = torch.device("cpu")


@pytest.fixture
def network(toy_model: FaceModel) -> RecAugNet:
    torch.manual_seed(0)
    built = RecAugNet(RecNet(toy_model.sizes, POINTS), ETNet(POINTS))
    for name, parameter in built.named_parameters():
        if "backbone" not in name:  # zero-initialised heads would hide every error
            torch.nn.init.normal_(parameter, std=0.02)
    return built.eval()


def test_coordinates_are_computed_in_float32_under_autocast() -> None:
    position = torch.rand(2, 16, 16, 2, generator=torch.Generator().manual_seed(0)) * 16
    assert torch.equal(in_bfloat16(CPU, extend_motion, position, 16), extend_motion(position, 16))
    maps = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert torch.equal(in_bfloat16(CPU, soft_argmax, maps), soft_argmax(maps.float()))


def test_heads_compute_in_float32(network: RecAugNet) -> None:
    dtypes = []
    for module in network.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda _, inputs, output: dtypes.extend([inputs[0].dtype, output.dtype]))
    in_bfloat16(CPU, network, torch.rand(2, 3, 32, 32))
    assert dtypes and set(dtypes) == {torch.float32}


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 0.02)])
def test_prepared_networks_give_the_same_output(network: RecAugNet, precision: str, tolerance: float) -> None:
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(images)
        prepared = prepare(network, precision)
        output = prepared(images)
    assert isinstance(prepared, Bfloat16) == (precision == "bf16")
    for name in ("identity", "expression", "rotation"):
        value, target = getattr(output, name), getattr(expected, name)
        assert value.dtype == torch.float32
        assert (value - target).abs().max() <= tolerance * target.abs().max(), name


@pytest.mark.parametrize("name", NETWORKS)
def test_training_steps_in_bfloat16(name: str, toy_model: FaceModel) -> None:
    first, second = (training(name, toy_model, 4) for _ in range(2))
    second.bf16 = True
    logs = [each.step(batch(toy_model, 4)) for each in (first, second)]
    for term in logs[0]:
        if "deviation" not in term and "gradient" not in term:
            assert logs[1][term] == pytest.approx(logs[0][term], rel=0.05, abs=0.01), term
    for network in second.networks.values():
        assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
