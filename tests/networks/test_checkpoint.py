"""Checkpoints: deterministic bytes, round trip, and clear errors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from jr2net import weights
from jr2net.config import BackboneConfig, DCNetConfig, Flow3DConfig
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.model import FaceModel
from jr2net.inference.weights import shipped_weights
from jr2net.networks.checkpoint import CheckpointError, load_network, read_description, save_network
from jr2net.networks.dcnet import DCNet
from jr2net.networks.dcnet_warp import WarpDCNet
from jr2net.networks.etnet import ETNet
from jr2net.networks.flow3d.network import Flow3D
from jr2net.networks.model_card import STUDIO, model_card
from jr2net.networks.recaugnet import RecAugNet
from jr2net.networks.recnet import RecNet

SMALL = BackboneConfig(layers=10, width=8)
SIZES = {"identity": 5, "expression": 51, "albedo": 4}


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    dcnet = {"width": 8, "scales": 2, "optimizer": {"steps": 1, "batch_size": 1, "learning_rate": 1e-3}}
    frozen = BackboneConfig(layers=18, width=8, weights="resnet18.pth")
    return {
        "recnet": RecNet(SIZES, SMALL),
        "dcnet": DCNet(DCNetConfig(**dcnet)),
        "dcnet, paper": DCNet(DCNetConfig(**dcnet, generator="paper")),
        "dcnet, ablated": DCNet(DCNetConfig(**dcnet, conditions="no_light", warped_image=False)),
        "flow3d": Flow3D(Flow3DConfig(prior="pose", refine_blocks=1), focal_ratio=4.0),
        "etnet": ETNet(frozen, pretrained=False),
        "recaugnet": RecAugNet(RecNet(SIZES, SMALL), ETNet(SMALL)),
    }


@pytest.fixture
def face() -> FaceModel:
    """A face of four vertices."""
    generator = torch.Generator().manual_seed(0)
    return FaceModel(
        mean=torch.rand(4, 3, generator=generator),
        faces=torch.tensor([[0, 1, 2], [0, 2, 3]]),
        identity_basis=torch.rand(5, 4, 3, generator=generator),
        expression_basis=torch.rand(len(ARKIT_NAMES), 4, 3, generator=generator),
        albedo_mean=torch.rand(4, 3, generator=generator),
        albedo_basis=torch.rand(4, 4, 3, generator=generator),
        landmarks=torch.zeros(68, dtype=torch.int64),
        labels=torch.zeros(4, dtype=torch.int64),
        label_names=("skin",),
        mirror=torch.arange(4),
        uv=torch.zeros(4, 2),
        name="four vertices",
    )


@pytest.mark.parametrize("name", ["recnet", "dcnet", "dcnet, paper", "dcnet, ablated", "flow3d", "etnet", "recaugnet"])
def test_round_trip(name: str, face: FaceModel, tmp_path: Path) -> None:
    network = networks()[name]
    save_network(network, tmp_path / "first", {"image_size": 64}, face.digest, {"prepare": "abc"})
    loaded = load_network(tmp_path / "first", face)
    assert type(loaded) is type(network) and not loaded.training
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in network.state_dict().items())

    save_network(loaded, tmp_path / "second", {"image_size": 64}, face.digest, {"prepare": "abc"})
    for file in ("model.safetensors", "model.json"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()

    description = read_description(tmp_path / "first")
    assert description["kind"] == name.partition(",")[0]
    assert description["architecture"]["image_size"] == 64
    assert description["face_model"] == face.digest and description["trained_from"] == {"prepare": "abc"}


def test_a_dcnet_that_names_no_generator_is_the_one_that_warps(face: FaceModel, tmp_path: Path) -> None:
    """Checkpoints from before there were two."""
    save_network(networks()["dcnet"], tmp_path, {}, face.digest, {})
    assert read_description(tmp_path)["architecture"] == {"width": 8, "scales": 2, "context_scales": 2, "blocks": 2}
    assert isinstance(load_network(tmp_path), WarpDCNet)
    shipped = load_network(Path(weights.__file__).parent / "dcnet")
    assert isinstance(shipped, WarpDCNet)


def test_a_dcnet_of_an_unknown_generator_is_rejected(face: FaceModel, tmp_path: Path) -> None:
    save_network(networks()["dcnet, paper"], tmp_path, {}, face.digest, {})
    path = tmp_path / "model.json"
    path.write_text(path.read_text().replace('"generator": "paper"', '"generator": "other"'))
    with pytest.raises(CheckpointError, match=r"(?s)model\.json: architecture: .*generator"):
        load_network(tmp_path)


def test_flow3d_keeps_its_camera(face: FaceModel, tmp_path: Path) -> None:
    save_network(networks()["flow3d"], tmp_path, {"image_size": 64, "focal_ratio": 4.0}, face.digest, {})
    loaded = load_network(tmp_path, face)
    assert isinstance(loaded, Flow3D) and loaded.focal_ratio == 4.0 and loaded.config.prior == "pose"


def test_network_for_another_face_model_is_rejected(face: FaceModel, tmp_path: Path) -> None:
    save_network(networks()["recnet"], tmp_path, {}, face.digest, {})
    other = replace(face, identity_basis=face.identity_basis * 2, name="another")
    with pytest.raises(CheckpointError, match=r"model\.json: face_model is .* but 'another' is .*Set face\.model"):
        load_network(tmp_path, other)
    load_network(tmp_path)  # without a face model there is no check


def test_errors_name_the_damaged_file(face: FaceModel, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.json: cannot be read: .*train the network first"):
        load_network(tmp_path / "absent")

    save_network(networks()["recnet"], tmp_path, {}, face.digest, {})
    weights, description = tmp_path / "model.safetensors", tmp_path / "model.json"
    whole, text = weights.read_bytes(), description.read_text()

    weights.write_bytes(whole[:-1] + b"\1")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: checksum does not match model\.json"):
        load_network(tmp_path)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be read"):
        load_network(tmp_path)
    weights.write_bytes(whole)

    changed = json.loads(text)
    changed["architecture"]["backbone"]["width"] = 16
    description.write_text(json.dumps(changed))
    with pytest.raises(CheckpointError, match="does not fit the architecture"):
        load_network(tmp_path)
    description.write_text(json.dumps(json.loads(text) | {"kind": "stylegan"}))
    with pytest.raises(CheckpointError, match="kind 'stylegan' is none of recnet, dcnet, flow3d, etnet, recaugnet"):
        load_network(tmp_path)
    description.write_text(text[:20])
    with pytest.raises(CheckpointError, match=r"model\.json: cannot be read as JSON"):
        load_network(tmp_path)


def test_unknown_modules_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="Linear is not one of recnet"):
        save_network(nn.Linear(1, 1), tmp_path, {}, "", {})


def test_a_card_lies_beside_the_weights(face: FaceModel, tmp_path: Path) -> None:
    save_network(
        networks()["dcnet"], tmp_path, {"image_size": 64}, face.digest, {"recnet": "abc"}, "other", "Some clips."
    )
    text = (tmp_path / "README.md").read_text()
    _, header, body = text.split("---\n", 2)
    assert yaml.safe_load(header)["license"] == "other" == read_description(tmp_path)["license"]
    assert "64 × 64 pixels" in body and "Some clips." in body and "consent" in body and "`abc`" in body


@pytest.mark.parametrize("name", ["recaugnet", "dcnet", "flow3d"])
def test_shipped_weights_have_a_licence_and_a_card(name: str) -> None:
    folder = shipped_weights(name)
    description = read_description(folder)
    assert description["license"] == "MIT"
    assert Path(folder, "README.md").read_text() == model_card(description, STUDIO)
