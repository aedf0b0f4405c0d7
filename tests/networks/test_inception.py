"""Inception for FID: its size, its features, its weight file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from jr2net.networks.inception import FEATURES, Inception
from jr2net.networks.weights import WeightsError


@pytest.fixture(scope="module")
def network() -> Inception:
    torch.manual_seed(0)
    return Inception(None)


def test_it_is_inception_v3_without_its_classifier(network: Inception) -> None:
    """torchvision's has 23,834,568 parameters without the auxiliary classifier, the last layer 2,049,000 of them."""
    assert sum(value.numel() for value in network.parameters()) == 23_834_568 - 2_049_000
    names = network.state_dict()
    assert names["Mixed_7c.branch3x3dbl_3b.conv.weight"].shape == (384, 384, 3, 1)
    assert names["Mixed_6b.branch7x7_2.conv.weight"].shape == (128, 128, 1, 7)
    with torch.inference_mode():
        features = network(torch.rand(2, 3, 40, 40))
    assert features.shape == (2, FEATURES) and torch.isfinite(features).all()
    assert not any(value.requires_grad for value in network.parameters()) and not network.training


def test_its_weights_are_read_by_name(network: Inception, tmp_path: Path) -> None:
    weights = {key: value.contiguous() for key, value in network.state_dict().items() if "num_batches" not in key}
    save_file(weights | {"fc.bias": torch.ones(1008)}, tmp_path / "fid.safetensors")
    loaded = Inception(tmp_path / "fid.safetensors").state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in weights.items())
    save_file({"fc.bias": torch.ones(1008)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"other\.safetensors: no 'Conv2d_1a_3x3\.conv\.weight' of shape"):
        Inception(tmp_path / "other.safetensors")
