"""VGG-19 features with torchvision's parameter names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from jr2net.networks.vgg import VGG19Features
from jr2net.networks.weights import WeightsError

# torchvision's configuration "E" up to conv5_1: index in `features`, inputs, outputs.
CONVOLUTIONS = [
    (0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256), (12, 256, 256), (14, 256, 256),
    (16, 256, 256), (19, 256, 512), (21, 512, 512), (23, 512, 512), (25, 512, 512), (28, 512, 512),
]  # fmt: skip


def published() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for index, inputs, outputs in CONVOLUTIONS:
        weights[f"features.{index}.weight"] = 0.02 * torch.randn(outputs, inputs, 3, 3, generator=generator)
        weights[f"features.{index}.bias"] = torch.zeros(outputs)
    return weights


def test_pretrained_weights_are_loaded_by_key(tmp_path: Path) -> None:
    weights = published()
    path = tmp_path / "vgg19.pth"
    torch.save(weights | {"features.30.weight": torch.zeros(1), "classifier.0.bias": torch.zeros(1)}, path)
    network = VGG19Features(path)
    assert set(network.state_dict()) == set(weights)
    assert all(torch.equal(network.state_dict()[key], weights[key]) for key in weights)
    assert not any(p.requires_grad for p in network.parameters())

    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    activations = network(image)
    assert [tuple(a.shape[1:]) for a in activations] == [
        (64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8), (512, 4, 4),
    ]  # fmt: skip
    assert all(a.min() >= 0 for a in activations)
    sum(a.sum() for a in activations).backward()
    assert image.grad.abs().max() > 0


def test_weights_of_another_network_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "vgg11.pth"
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, path)
    with pytest.raises(WeightsError, match=r"vgg11\.pth: no 'features\.0\.bias'"):
        VGG19Features(path)
