from dataclasses import replace

import pytest
import torch

from jr2net.config import BackboneConfig
from jr2net.inference.messages import ModelInfo
from jr2net.inference.openvino import OpenVINOError, compile_network
from jr2net.inference.reconstruction import Reconstructor
from jr2net.networks.recnet import RecNet

SIZE = 32


@pytest.fixture(scope="module")
def reconstructor(toy_model) -> Reconstructor:
    torch.manual_seed(0)
    network = RecNet(toy_model.sizes, BackboneConfig(layers=10, width=8)).eval()
    for head in (network.identity, network.expression.linear, network.rotation, network.light):
        torch.nn.init.normal_(head.weight, std=0.1)
    return Reconstructor(network, toy_model, ModelInfo("recnet", "", SIZE, 5.0))


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 0.1), ("int8", 0.2)])
def test_predictions_agree_with_pytorch(reconstructor, precision, tolerance):
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    images = torch.rand(12, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    compiled = replace(reconstructor, network=compile_network(reconstructor.network, SIZE, precision, images))
    for batch in (images[:1], images[:5]):
        expected, prediction = reconstructor.predict(batch), compiled.predict(batch)
        for name, value in expected.state().items():
            scale = max(1.0, float(value.abs().max()))
            assert (prediction.state()[name] - value).abs().max() < tolerance * scale, name


def test_int8_without_images_is_rejected(reconstructor):
    with pytest.raises(OpenVINOError, match="images"):
        compile_network(reconstructor.network, SIZE, "int8")


def test_a_missing_extra_is_named(reconstructor, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(OpenVINOError, match=r"jr2net\[openvino\]"):
        compile_network(reconstructor.network, SIZE)
