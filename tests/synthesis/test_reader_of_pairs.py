"""Networks that synthesis loads: those of another kind than a setting asks for are an error that names it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from jr2net.config import BackboneConfig, DCNetConfig
from jr2net.face.model import FaceModel
from jr2net.networks.checkpoint import CheckpointError, save_network
from jr2net.networks.dcnet import DCNet
from jr2net.networks.etnet import ETNet
from jr2net.networks.recnet import RecNet
from jr2net.synthesis.load import load_reader

SMALL = BackboneConfig(layers=10, width=8)
OPTIMIZER = {"steps": 1, "batch_size": 1, "learning_rate": 1.0}


def test_expressions_are_read_by_networks_that_predict_them(toy_model: FaceModel, tmp_path: Path) -> None:
    torch.manual_seed(0)
    for network in (ETNet(SMALL), RecNet(toy_model.sizes, SMALL)):
        save_network(network, tmp_path, {}, toy_model.digest, {})
        assert type(load_reader(str(tmp_path), toy_model)) is type(network)


def test_a_reader_of_another_kind_is_named(toy_model: FaceModel, tmp_path: Path) -> None:
    dcnet = DCNet(DCNetConfig.model_validate({"width": 8, "scales": 2, "optimizer": OPTIMIZER}))
    save_network(dcnet, tmp_path, {}, toy_model.digest, {})
    with pytest.raises(CheckpointError, match=r"synthesis\.reader: .* holds a dcnet; give the folder of an ETNet"):
        load_reader(str(tmp_path), toy_model)
