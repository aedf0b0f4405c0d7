from functools import partial

import numpy as np
import pytest
import torch
from small_networks import SIZE

from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor
from jr2net.networks.checkpoint import CheckpointError, read_description
from jr2net.weights import __main__ as command
from jr2net.weights.__main__ import copy_weights, main


def test_half_precision_changes_coefficients_by_less_than_a_thousandth(weights, face_model, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "recaugnet").symlink_to(weights["recnet"])
    (run / "dcnet").symlink_to(weights["dcnet"])
    recaugnet, _ = copy_weights(str(run), tmp_path / "weights")
    full, half = (Reconstructor.load(folder, face_model=face_model) for folder in (weights["recnet"], recaugnet))
    size = [
        sum(file.stat().st_size for file in folder.glob("*.safetensors")) for folder in (run / "recaugnet", recaugnet)
    ]
    assert size[1] < 0.6 * size[0]
    crops = [np.random.default_rng(n).integers(0, 255, (SIZE, SIZE, 3), np.uint8) for n in range(4)]
    for exact, rounded in zip(full.fit(crops), half.fit(crops), strict=True):
        assert np.abs(exact.face["expression"] - rounded.face["expression"]).max() < 1e-3
        assert exact.network.digest != rounded.network.digest
    assert half.network.backbone.conv1.weight.dtype == torch.float32
    assert full.info.digest in read_description(recaugnet)["trained_from"].values()


def test_networks_of_a_run_can_be_copied_alone(weights, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "dcnet").symlink_to(weights["dcnet"])
    assert copy_weights(str(run), tmp_path / "all") == [tmp_path / "all" / "dcnet"]
    assert copy_weights(str(run), tmp_path / "one", ["dcnet"]) == [tmp_path / "one" / "dcnet"]


def test_of_a_run_with_both_reenactors_one_is_chosen(weights, face_model, tmp_path):
    for name, given in (("recaugnet", "recnet"), ("dcnet", "dcnet"), ("flow3d", "flow3d")):
        (tmp_path / name).symlink_to(weights[given])
    for name in ("dcnet", "flow3d"):
        reenactor = Reenactor.load(tmp_path, face_model=face_model, reenactor=name)
        assert reenactor.info.kind == name and reenactor.reconstructor.info.kind == "recnet"
    with pytest.raises(CheckpointError, match=r"\(to serve it, as reenactment.weights\).* --reenactor dcnet or flow3d"):
        Reenactor.load(tmp_path, face_model=face_model)
    with pytest.raises(CheckpointError, match="holds a dcnet; give the folder of a flow3d"):
        Reenactor.load(weights["dcnet"], reconstructor=weights["recnet"], face_model=face_model, reenactor="flow3d")
    with pytest.raises(CheckpointError, match="reenactor 'warp' is none of dcnet, flow3d"):
        Reenactor.load(face_model=face_model, reenactor="warp")
    (tmp_path / "flow3d").unlink()
    with pytest.raises(CheckpointError, match=r"has no flow3d, only recaugnet, dcnet; train it first"):
        Reenactor.load(tmp_path, face_model=face_model, reenactor="flow3d")


def test_networks_that_are_not_copied_are_named(weights, tmp_path, monkeypatch, capsys):
    run, package = tmp_path / "run", tmp_path / "package"
    run.mkdir()
    (run / "dcnet").symlink_to(weights["dcnet"])
    (package / "recaugnet").mkdir(parents=True)
    monkeypatch.setattr(command, "WEIGHTS", package)
    monkeypatch.setattr(command, "copy_weights", partial(copy_weights, target=package))
    assert main([str(run)]) == 0
    assert "[weights] recaugnet: not copied, the weights of the package stay" in capsys.readouterr().out


def test_a_run_without_networks_is_an_error(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert "recaugnet" in capsys.readouterr().err
    assert main([]) == 1
    assert main([str(tmp_path), "etnet"]) == 1


@pytest.mark.parametrize("name", ["recaugnet", "dcnet"])
def test_make_serve_uses_the_copied_weights(name):
    from serve.settings import load_settings

    settings = load_settings("configs/serve-laptop.yaml")
    assert f"jr2net/weights/{name}" in (settings.reconstruction.weights, settings.reenactment.weights)
