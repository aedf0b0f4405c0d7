"""ONNX exports agree with PyTorch for batches of any size; missing packages are reported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from jr2net.config import BackboneConfig, DCNetConfig
from jr2net.face.model import FaceModel
from jr2net.inference.messages import ModelInfo
from jr2net.inference.onnx import TOLERANCE, ExportError, export_reconstructor, export_reenactor
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor
from jr2net.networks.dcnet import DCNet
from jr2net.networks.recnet import RecNet

OPTIMIZER = {"steps": 1, "batch_size": 1, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def reconstructor(toy_model: FaceModel) -> Reconstructor:
    torch.manual_seed(0)
    network = RecNet(toy_model.sizes, BackboneConfig(layers=10, width=8)).eval()
    for head in (network.identity, network.expression.linear, network.rotation, network.light):
        torch.nn.init.normal_(head.weight, std=0.1)
    return Reconstructor(network, toy_model, ModelInfo("recnet", "", 32, 5.0))


def test_recnet_in_onnxruntime_agrees_with_pytorch(reconstructor: Reconstructor, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    exported = export_reconstructor(reconstructor, tmp_path / "recnet.onnx")
    assert exported.path.is_file() and exported.difference <= TOLERANCE


def test_dcnet_in_onnxruntime_agrees_with_pytorch(toy_model: FaceModel, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    network = DCNet(DCNetConfig.model_validate({"width": 8, "scales": 2, "blocks": 1, "optimizer": OPTIMIZER})).eval()
    for layer in (network.motion, network.output):
        torch.nn.init.normal_(layer.weight, std=0.1)
    reenactor = Reenactor(network, toy_model, ModelInfo("dcnet", "", 32, 5.0))
    assert export_reenactor(reenactor, tmp_path / "dcnet.onnx").difference <= TOLERANCE


def test_a_missing_extra_is_named(reconstructor, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ExportError, match=r"jr2net\[onnx\]"):
        export_reconstructor(reconstructor, tmp_path / "x.onnx")
