"""What depends on a portrait alone is computed once, and changes no picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from jr2net.config import DCNetConfig, Flow3DConfig
from jr2net.face.model import FaceModel
from jr2net.inference import reenactment
from jr2net.inference.messages import ModelInfo, ReenactRequest, to_face_arrays
from jr2net.inference.portraits import Portraits
from jr2net.inference.reenactment import Reenactor
from jr2net.networks.dcnet import DCNet
from jr2net.networks.flow3d.network import Flow3D
from jr2net.networks.precision import prepare

SIDE = 32


@pytest.fixture
def reenactor(toy_model: FaceModel) -> Reenactor:
    torch.manual_seed(0)
    flow3d = Flow3D(Flow3DConfig(flow_widths=(4, 8), refine_widths=(8, 8, 16), refine_blocks=1))
    for parameter in flow3d.parameters():  # zero-initialised layers hide what lies before them
        parameter.data.add_(0.05 * torch.randn(parameter.shape))
    return Reenactor(prepare(flow3d), toy_model, ModelInfo("flow3d", "", SIDE, 5.0))


def requests(model: FaceModel, portraits: list[int]) -> list[ReenactRequest]:
    """One request for each number of a portrait, all with other target faces."""
    generator = np.random.default_rng(0)
    crops = generator.integers(0, 256, (max(portraits) + 1, SIDE, SIDE, 3), dtype=np.uint8)
    neutral = to_face_arrays(model.neutral(1))
    return [
        ReenactRequest(
            crops[portrait], neutral, neutral | {"expression": generator.random(51, dtype=np.float32) * (0.2 * place)}
        )
        for place, portrait in enumerate(portraits)
    ]


def count_encoded(reenactor: Reenactor, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fills the list with the number of images in each call of the network's ``encode``."""
    counts, encode = [], reenactor.network.encode

    def counted(images: torch.Tensor, *matte: torch.Tensor) -> object:
        counts.append(len(images))
        return encode(images, *matte)

    monkeypatch.setattr(reenactor.network, "encode", counted)
    return counts


def test_a_portrait_is_encoded_once(
    reenactor: Reenactor, toy_model: FaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = count_encoded(reenactor, monkeypatch)
    reenactor.reenact(requests(toy_model, [0, 1, 0, 0]))
    reenactor.reenact(requests(toy_model, [1, 0]))
    reenactor.reenact(requests(toy_model, [2, 0]))
    assert counts == [2, 1]


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1), ("bf16", 8)])
def test_pictures_are_the_same(reenactor: Reenactor, toy_model: FaceModel, precision: str, tolerance: int) -> None:
    """To the bit in a batch of the same portraits; alone they differ by the rounding of another batch size."""
    network = prepare(reenactor.network, precision)
    batch = requests(toy_model, [0, 1, 0, 2])
    known = replace(reenactor, network=network, portraits=Portraits())
    first, again = ([result.crop for result in known.reenact(batch)] for _ in range(2))
    alone = [replace(known, portraits=Portraits()).reenact([request])[0].crop for request in batch]
    assert not np.array_equal(first[0].image, first[2].image)
    for one, other, fresh in zip(first, again, alone, strict=True):
        assert np.array_equal(one.image, other.image) and np.array_equal(one.kept, other.kept)
        assert np.abs(one.image.astype(int) - fresh.image).max() <= tolerance


def test_the_oldest_portraits_are_forgotten(reenactor: Reenactor, toy_model: FaceModel) -> None:
    reenactor.reenact(requests(toy_model, [0]))
    (portrait,) = reenactor.portraits._portraits.values()
    small = replace(reenactor, portraits=Portraits(2 * portrait.nbytes))
    for number in (0, 1, 0, 2):
        small.reenact(requests(toy_model, [number]))
    assert len(small.portraits._portraits) == 2
    small.reenact(requests(toy_model, [0, 1, 2]))  # more than fit
    assert len(small.portraits._portraits) == 2 and small.portraits._bytes == 2 * portrait.nbytes


@pytest.fixture
def dcnet(toy_model: FaceModel) -> Reenactor:
    torch.manual_seed(0)
    optimizer = {"steps": 1, "batch_size": 1, "learning_rate": 1.0}
    network = DCNet(DCNetConfig.model_validate({"width": 8, "scales": 2, "optimizer": optimizer}))
    for parameter in network.parameters():
        parameter.data.add_(0.05 * torch.randn(parameter.shape))
    return Reenactor(network.eval(), toy_model, ModelInfo("dcnet", "", SIDE, 5.0))


def test_a_network_may_gain_nothing_by_a_code(dcnet: Reenactor, toy_model: FaceModel) -> None:
    assert dcnet.encode(torch.rand(1, 3, SIDE, SIDE)) is None
    assert len(dcnet.reenact(requests(toy_model, [0, 0]))) == 2


def test_the_source_face_is_rendered_once(
    dcnet: Reenactor, toy_model: FaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever the reenactor; with another face in the same crop it is rendered again."""
    counts, render = [], reenactment.render
    monkeypatch.setattr(reenactment, "render", lambda *given: counts.append(len(given[1].rotation)) or render(*given))
    batch = requests(toy_model, [0, 1, 0, 0])
    first, again = ([result.crop for result in dcnet.reenact(batch)] for _ in range(2))
    assert counts == [2]
    turned = batch[0].source | {"rotation": np.float32([0, 0.5, 0])}
    dcnet.reenact([replace(batch[0], source=turned), batch[1]])
    assert counts == [2, 1]
    for one, other, request in zip(first, again, batch, strict=True):
        assert np.array_equal(one.image, other.image)
        fresh = replace(dcnet, portraits=Portraits()).reenact([request])[0].crop
        assert np.abs(one.image.astype(int) - fresh.image).max() <= 1
        assert np.abs(one.position - fresh.position).max() < 1e-3
