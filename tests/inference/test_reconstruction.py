"""Loading a reconstructor from a checkpoint, with the camera that it was trained with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from jr2net.config import BackboneConfig
from jr2net.face.model import FaceModel
from jr2net.inference.reconstruction import Reconstructor
from jr2net.networks.checkpoint import CheckpointError, save_network
from jr2net.networks.recnet import RecNet


def test_a_checkpoint_contains_its_camera(toy_model: FaceModel, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = RecNet(toy_model.sizes, BackboneConfig(layers=10, width=8))
    save_network(network, tmp_path, {"image_size": 48, "focal_ratio": 4.0}, toy_model.digest, {})
    reconstructor = Reconstructor.load(tmp_path, face_model=toy_model)
    assert (reconstructor.camera.size, reconstructor.camera.focal) == (48, 192.0)
    faces = reconstructor.predict(torch.rand(2, 3, 48, 48))
    assert {name: tuple(value.shape) for name, value in faces.state().items()} == {
        "identity": (2, 4),
        "expression": (2, 51),
        "albedo": (2, 3),
        "rotation": (2, 3),
        "translation": (2, 3),
        "light": (2, 9, 3),
    }
    with pytest.raises(ValueError, match=r"shape \(2, 3, 32, 32\), expected \(B, 3, 48, 48\)"):
        reconstructor.predict(torch.rand(2, 3, 32, 32))


def test_an_empty_folder_is_an_error(toy_model: FaceModel, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="train the network first"):
        Reconstructor.load(tmp_path, face_model=toy_model)
