"""RecNet, ETNet and RecAugNet: shapes, initial predictions, and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from jr2net.config import BackboneConfig
from jr2net.face.light import irradiance
from jr2net.face.parameters import FaceParameters
from jr2net.networks.etnet import ETNet
from jr2net.networks.recaugnet import RecAugNet
from jr2net.networks.recnet import RecNet

SIZES = {"identity": 80, "expression": 51, "albedo": 64}
SMALL = BackboneConfig(layers=10, width=8)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def perturb(network: nn.Module) -> None:
    """Adds noise to the parameters, since zero-initialised layers block gradients."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))


def assert_every_trained_parameter_has_a_gradient(network: nn.Module) -> None:
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
        else:
            assert parameter.grad is None, name


def total(parameters: FaceParameters) -> torch.Tensor:
    return sum((value.square().sum() for value in parameters.state().values()), torch.zeros(()))


@pytest.mark.parametrize("sizes", [SIZES, {"identity": 10, "expression": 51, "albedo": 21}])
def test_shapes_follow_the_face_model(sizes: dict[str, int], images: torch.Tensor) -> None:
    parameters = RecNet(sizes, SMALL)(images)
    assert parameters.identity.shape == (2, sizes["identity"])
    assert parameters.expression.shape == (2, 51)
    assert parameters.albedo.shape == (2, sizes["albedo"])
    assert parameters.rotation.shape == parameters.translation.shape == (2, 3)
    assert parameters.light.shape == (2, 9, 3)


def test_initial_prediction_is_the_frontal_mean_face(images: torch.Tensor) -> None:
    start = RecNet(SIZES, SMALL)(images)
    for field in ("identity", "albedo", "rotation"):
        assert not getattr(start, field).any(), field
    assert (start.expression > 0).all() and (start.expression < 0.1).all()
    torch.testing.assert_close(start.translation, torch.tensor([0.0, 0.0, 1080.0]).expand(2, 3))
    normals = nn.functional.normalize(torch.randn(2, 5, 3), dim=-1)
    torch.testing.assert_close(irradiance(normals, start.light), torch.full((2, 5, 3), 0.8))


def test_every_parameter_of_recnet_has_a_gradient(images: torch.Tensor) -> None:
    network = RecNet(SIZES, SMALL)
    perturb(network)
    total(network(images)).backward()
    assert_every_trained_parameter_has_a_gradient(network)


def test_zero_initialised_heads_have_gradients(images: torch.Tensor) -> None:
    network = RecNet(SIZES, SMALL)
    sum(value.sum() for value in network(images).state().values()).backward()
    heads = (network.identity, network.expression.linear, network.albedo, network.rotation, network.translation)
    assert all(head.weight.grad.abs().max() > 0 for head in heads)


def test_etnet_predicts_coefficients(images: torch.Tensor) -> None:
    network = ETNet(SMALL)
    perturb(network)
    expression = network(images)
    assert expression.shape == (2, 51) and ((expression >= 0) & (expression <= 1)).all()
    expression.sum().backward()
    assert_every_trained_parameter_has_a_gradient(network)


def test_recaugnet_uses_etnets_expression_and_trains_the_rest(images: torch.Tensor) -> None:
    recnet, etnet = RecNet(SIZES, SMALL), ETNet(SMALL)
    perturb(recnet)
    perturb(etnet)
    before = recnet(images)
    network = RecAugNet(recnet, etnet)
    after = network(images)
    torch.testing.assert_close(after.expression, etnet(images))
    for field in ("identity", "albedo", "rotation", "translation", "light"):
        torch.testing.assert_close(getattr(after, field), getattr(before, field))
    total(after).backward()
    assert_every_trained_parameter_has_a_gradient(network)
    assert not any(p.requires_grad for p in etnet.parameters())


def test_etnet_can_train_with_the_rest_of_recaugnet(images: torch.Tensor) -> None:
    recnet, etnet = RecNet(SIZES, SMALL), ETNet(SMALL)
    perturb(recnet)
    perturb(etnet)
    network = RecAugNet(recnet, etnet, train_etnet=True)
    total(network(images)).backward()
    assert_every_trained_parameter_has_a_gradient(network)
    assert all(p.requires_grad for p in etnet.parameters())
    assert not any(p.requires_grad for p in recnet.expression.parameters())
    assert network.architecture == RecAugNet(recnet, etnet).architecture


def test_backbone_provides_perceptual_features(images: torch.Tensor) -> None:
    features = RecNet(SIZES, SMALL).features(images)
    assert [f.shape[-1] for f in features] == [32, 16, 8, 4]


def test_networks_of_the_papers_size_can_be_built() -> None:
    with torch.device("meta"):
        recnet, etnet = RecNet(SIZES, BackboneConfig(layers=50)), ETNet(BackboneConfig(layers=34))
        network = RecAugNet(recnet, etnet)
        assert network(torch.empty(1, 3, 224, 224)).light.shape == (1, 9, 3)
    assert 23e6 < sum(p.numel() for p in recnet.parameters()) < 25e6
    assert 21e6 < sum(p.numel() for p in etnet.parameters()) < 22e6
