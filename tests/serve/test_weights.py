import numpy as np
import pytest
import torch
from conftest import CPU, SIZE

from jr2net.networks.checkpoint import read_description
from serve.networks import FittingNetwork
from serve.weights import copy_weights, main


def test_half_precision_changes_coefficients_by_less_than_a_thousandth(weights, face_model, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "recaugnet").symlink_to(weights["recnet"])
    (run / "dcnet").symlink_to(weights["dcnet"])
    recaugnet, _ = copy_weights(str(run), tmp_path / "weights")
    full, half = (FittingNetwork.load(str(folder), face_model, CPU) for folder in (weights["recnet"], recaugnet))
    size = [
        sum(file.stat().st_size for file in folder.glob("*.safetensors")) for folder in (run / "recaugnet", recaugnet)
    ]
    assert size[1] < 0.6 * size[0]
    pictures = [np.random.default_rng(n).integers(0, 255, (SIZE, SIZE, 3), np.uint8) for n in range(4)]
    for one, other in zip(full(pictures), half(pictures), strict=True):
        assert np.abs(one.face["expression"] - other.face["expression"]).max() < 1e-3
        assert one.network.digest != other.network.digest
    assert half.reconstructor.network.backbone.conv1.weight.dtype == torch.float32
    assert full.described.digest in read_description(recaugnet)["trained_from"].values()


def test_a_run_without_networks_is_explained(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert "recaugnet" in capsys.readouterr().err
    assert main([]) == 1


@pytest.mark.parametrize("name", ["recaugnet", "dcnet"])
def test_the_settings_of_make_serve_name_what_is_copied(name):
    from serve.settings import load_settings

    settings = load_settings("configs/serve-laptop.yaml")
    assert f"serve/weights/{name}" in (settings.reconstruction.weights, settings.reenactment.weights)
