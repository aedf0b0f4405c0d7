"""Reconstruction and reenactment on a GPU that only pretends: no mixed devices, as many reads whatever the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jr2net.config import BackboneConfig, DCNetConfig, Flow3DConfig
from jr2net.face.camera import Camera
from jr2net.face.gltf import face_glb
from jr2net.face.model import FaceModel
from jr2net.face.obj_file import face_obj
from jr2net.images.crop import Crop
from jr2net.inference.compositing import draw_mesh
from jr2net.inference.messages import Fit, ModelInfo, ReenactRequest, ReenactResult
from jr2net.inference.reconstruction import Precision, Reconstructor
from jr2net.inference.reenactment import Reenactor
from jr2net.networks.dcnet import DCNet
from jr2net.networks.etnet import ETNet
from jr2net.networks.flow3d.network import Flow3D
from jr2net.networks.precision import prepare
from jr2net.networks.recaugnet import RecAugNet
from jr2net.networks.recnet import RecNet
from tests.pretended_gpu import PretendedGpu, pretended_gpu

SIZE = 32
BACKBONE = BackboneConfig(layers=10, width=8, points=4)
OPTIMIZER = {"steps": 1, "batch_size": 1, "learning_rate": 1e-3}
TOLERANCE = {"fp32": 1e-3, "bf16": 3e-2}


def crops(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 255, (count, SIZE, SIZE, 3), np.uint8))


def reconstructor(model: FaceModel, device: torch.device | str, precision: Precision) -> Reconstructor:
    torch.manual_seed(0)
    network = RecAugNet(RecNet(model.sizes, BACKBONE), ETNet(BACKBONE)).to(device)
    return Reconstructor(network, model.to(device), ModelInfo("recaugnet", "", SIZE, 5.0)).prepared(precision)


def reenactor(kind: str, model: FaceModel, device: torch.device | str, precision: Precision) -> Reenactor:
    torch.manual_seed(0)
    if kind == "flow3d":
        small = Flow3DConfig(channels=4, depth=4, lift_width=4, refine_blocks=1)
        network: torch.nn.Module = Flow3D(small)
    else:
        generator = {"generator": kind.removeprefix("dcnet-")}
        network = DCNet(DCNetConfig.model_validate({"width": 8, "scales": 2, "optimizer": OPTIMIZER, **generator}))
    prepared = prepare(network.to(device), precision)
    return Reenactor(prepared, model.to(device), ModelInfo(kind.partition("-")[0], "", SIZE, 5.0))


def requests(model: FaceModel, count: int) -> list[ReenactRequest]:
    fields = {name: value[0].numpy() for name, value in model.neutral(1).state().items()}
    driving = {**fields, "expression": np.full(51, 0.3, np.float32)}
    return [ReenactRequest(crop, fields, driving) for crop in crops(count)]


def traffic(gpu: PretendedGpu) -> dict:
    """Reads and uploads, other than asynchronous ones, since the last call."""
    found = {kind: gpu.places(kind) for kind in ("read", "upload")}
    gpu.traffic.clear()
    return found


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_reconstruction(precision: Precision, toy_model: FaceModel) -> None:
    expected = reconstructor(toy_model, "cpu", precision).fit(crops(3))
    with pretended_gpu() as gpu:
        network = reconstructor(toy_model, gpu.device, precision)
        network.fit(crops(3))  # constants are uploaded once
        traffic(gpu)
        fits: list[Fit] = network.fit(crops(3))
        of_three = traffic(gpu)
        network.fit(crops(1))
        assert traffic(gpu) == of_three and not of_three["upload"]
    for fit, other in zip(fits, expected, strict=True):
        np.testing.assert_allclose(fit.landmarks, other.landmarks, atol=30 * TOLERANCE[precision])
        for name, value in fit.face.items():
            np.testing.assert_allclose(value, other.face[name], rtol=TOLERANCE[precision], atol=TOLERANCE[precision])


def test_a_fitted_face_is_drawn_and_written_with_a_model_on_the_gpu(toy_model: FaceModel) -> None:
    """Fits are arrays of the host; the model that came with their network is on its device."""
    face, photo = toy_model.neutral(1), np.full((64, 64, 3), 128, np.uint8)
    crop, camera = Crop((32.0, 32.0), 64.0), Camera.default(SIZE)
    drawn, obj, glb = (
        draw_mesh(photo, crop, toy_model, face, camera),
        face_obj(toy_model, face),
        face_glb(toy_model, face),
    )
    with pretended_gpu() as gpu:
        model = toy_model.to(gpu.device)
        assert np.abs(draw_mesh(photo, crop, model, face, camera).astype(int) - drawn).max() <= 1
        assert (face_obj(model, face), face_glb(model, face)) == (obj, glb)


@pytest.mark.parametrize(
    ("kind", "precision"),
    [("dcnet-warp", "fp32"), ("dcnet-paper", "fp32"), ("flow3d", "fp32"), ("dcnet-warp", "bf16"), ("flow3d", "bf16")],
)
def test_reenactment(kind: str, precision: Precision, toy_model: FaceModel) -> None:
    expected = reenactor(kind, toy_model, "cpu", precision).reenact(requests(toy_model, 3))
    with pretended_gpu() as gpu:
        network = reenactor(kind, toy_model, gpu.device, precision)
        network.reenact(requests(toy_model, 3))
        traffic(gpu)
        results: list[ReenactResult] = network.reenact(requests(toy_model, 3))
        of_three = traffic(gpu)
        network.reenact(requests(toy_model, 1))
        assert traffic(gpu) == of_three and not of_three["upload"]
    for result, other in zip(results, expected, strict=True):
        difference = np.abs(result.crop.image.astype(float) - other.crop.image)
        assert difference.mean() <= 255 * TOLERANCE[precision] / 3
