"""ResNets: torchvision's names, pretrained weights, and independence of the rest of the batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from jr2net.config import BackboneConfig
from jr2net.networks.resnet import Pointwise, ResNet, max_pool, soft_argmax
from jr2net.networks.weights import WeightsError

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


def torchvision_shapes(layers: int) -> dict[str, tuple[int, ...]]:
    """Parameters and statistics of torchvision's ResNet without its classifier, following its definition."""
    expansion = 4 if layers == 50 else 1
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, inputs: int, outputs: int, side: int) -> None:
        shapes[f"{name}.weight"] = (outputs, inputs, side, side)

    def norm(name: str, channels: int) -> None:
        shapes.update({f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")})

    convolution("conv1", 3, 64, 7)
    norm("bn1", 64)
    inputs = 64
    for stage, blocks in enumerate(BLOCKS[layers]):
        width, outputs = 64 * 2**stage, 64 * 2**stage * expansion
        for block in range(blocks):
            prefix = f"layer{stage + 1}.{block}"
            sides = [(inputs, width, 1), (width, width, 3), (width, outputs, 1)]
            if layers != 50:
                sides = [(inputs, width, 3), (width, width, 3)]
            for index, (i, o, side) in enumerate(sides, start=1):
                convolution(f"{prefix}.conv{index}", i, o, side)
                norm(f"{prefix}.bn{index}", o)
            if inputs != outputs:
                convolution(f"{prefix}.downsample.0", inputs, outputs, 1)
                norm(f"{prefix}.downsample.1", outputs)
            inputs = outputs
    return shapes


def published(layers: int) -> dict[str, Tensor]:
    """A state dict like those in torchvision's files, with classifier and batch counters."""
    generator = torch.Generator().manual_seed(layers)
    values = {k: 0.05 * torch.rand(s, generator=generator) for k, s in torchvision_shapes(layers).items()}
    values |= {k: v + 0.5 for k, v in values.items() if k.endswith("running_var")}
    values["bn1.num_batches_tracked"] = torch.tensor(7)
    values["fc.weight"], values["fc.bias"] = torch.zeros(1000, 8), torch.zeros(1000)
    return values


@pytest.mark.parametrize("layers", [18, 34, 50])
def test_names_and_shapes_match_torchvision(layers: int) -> None:
    with torch.device("meta"):
        network = ResNet(BackboneConfig(layers=layers, weights="published.pth"), pretrained=False)
    assert {k: tuple(v.shape) for k, v in network.state_dict().items()} == torchvision_shapes(layers)
    assert network.channels == (2048 if layers == 50 else 512)


def test_group_normalised_network_has_the_same_parameter_names() -> None:
    with torch.device("meta"):
        network = ResNet(BackboneConfig(layers=34))
    statistics = ("running_mean", "running_var")
    assert set(network.state_dict()) == {k for k in torchvision_shapes(34) if not k.endswith(statistics)}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_pretrained_weights_are_loaded_and_used(tmp_path: Path, suffix: str) -> None:
    weights, path = published(18), tmp_path / f"resnet18{suffix}"
    if suffix == ".pth":
        torch.save(weights, path)
    else:
        safetensors.torch.save_file(weights, path)
    network = ResNet(BackboneConfig(layers=18, weights=str(path)))
    assert all(torch.equal(network.state_dict()[key], weights[key]) for key in torchvision_shapes(18))

    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    x = (image - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    x = torch.nn.functional.conv2d(x, weights["conv1.weight"], stride=2, padding=3)
    mean, variance = weights["bn1.running_mean"].view(-1, 1, 1), weights["bn1.running_var"].view(-1, 1, 1)
    x = (x - mean) / (variance + 1e-5).sqrt() * weights["bn1.weight"].view(-1, 1, 1) + weights["bn1.bias"].view(
        -1, 1, 1
    )
    torch.testing.assert_close(network.stages(image)[0], x.relu(), rtol=1e-4, atol=1e-5)

    before = network.bn1.running_mean.clone()
    network.train()(image).sum().backward()
    assert torch.equal(network.bn1.running_mean, before) and network.bn1.weight.grad is not None


def test_errors_name_weights_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "resnet18.pth"
    torch.save(published(18), path)
    with pytest.raises(WeightsError, match=r"resnet18\.pth: .*layer1\.2\.conv1.*`layers`"):
        ResNet(BackboneConfig(layers=34, weights=str(path)))
    with pytest.raises(WeightsError, match=r"conv1\.weight has shape \(64, 3, 7, 7\).*width 64"):
        ResNet(BackboneConfig(layers=18, width=32, weights=str(path)))
    with pytest.raises(WeightsError, match="no such weight file"):
        ResNet(BackboneConfig(layers=18, weights=str(tmp_path / "absent.pth")))
    path.write_bytes(b"not a weight file")
    with pytest.raises(WeightsError, match=r"resnet18\.pth: cannot be read as weights"):
        ResNet(BackboneConfig(layers=18, weights=str(path)))


class _Malicious:
    def __reduce__(self) -> tuple:
        return print, ("code from a weight file ran",)


def test_weight_files_cannot_run_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "resnet18.pth"
    torch.save({"conv1.weight": _Malicious()}, path)
    with pytest.raises(WeightsError):
        ResNet(BackboneConfig(layers=18, weights=str(path)))
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("layers", [10, 18, 34, 50])
def test_stages_halve_the_side(layers: int) -> None:
    network = ResNet(BackboneConfig(layers=layers, width=8))
    maps = network.stages(torch.rand(2, 3, 64, 64))
    assert [m.shape[-1] for m in maps] == [32, 16, 8, 4, 2]
    assert maps[-1].shape[1] == network.channels == 64 * (4 if layers == 50 else 1)
    assert network(torch.rand(2, 3, 96, 96)).shape == (2, network.channels)


def test_features_do_not_depend_on_the_batch() -> None:
    torch.manual_seed(0)
    network = ResNet(BackboneConfig(layers=10, width=8)).train()
    images = torch.rand(3, 3, 64, 64)
    torch.testing.assert_close(network(images)[:1], network(images[:1]), rtol=1e-4, atol=1e-5)


def test_soft_argmax_finds_a_peak() -> None:
    maps = torch.zeros(1, 2, 5, 9)
    maps[0, 0, 1, 8] = maps[0, 1, 4, 2] = 50.0
    torch.testing.assert_close(soft_argmax(maps), torch.tensor([[[1.0, -0.5], [-0.5, 1.0]]]))


def test_keypoints_are_appended_to_the_features_of_pretrained_weights(tmp_path: Path) -> None:
    path = tmp_path / "resnet18.pth"
    torch.save(published(18), path)
    network = ResNet(BackboneConfig(layers=18, points=7, weights=str(path)))
    features = network(torch.rand(2, 3, 64, 96))
    assert features.shape == (2, network.channels) == (2, 512 + 14)
    assert features[:, 512:].abs().max() <= 2
    assert ResNet(BackboneConfig(layers=50, points=7)).channels == 2048 + 14


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 2, 7, 9), (3, 1, 1, 4)])
def test_max_pool_is_the_same_in_inference_mode(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    expected = torch.nn.functional.max_pool2d(x, 3, 2, 1)
    with torch.inference_mode():
        assert torch.equal(max_pool(x), expected)
    assert torch.equal(max_pool(x), expected)


def test_pointwise_convolution_mixes_the_channels_of_each_pixel() -> None:
    convolution = Pointwise(3, 5, 1, bias=False)
    x = torch.randn(2, 3, 6, 7, generator=torch.Generator().manual_seed(4))
    mixed = torch.einsum("oc,bchw->bohw", convolution.weight[:, :, 0, 0], x)
    torch.testing.assert_close(convolution(x), mixed)


def test_a_backbone_may_see_a_smaller_image() -> None:
    torch.manual_seed(0)
    network = ResNet(BackboneConfig(layers=10, width=8, points=4, side=32)).eval()
    image = torch.rand(2, 3, 64, 64)
    small = image.view(2, 3, 32, 2, 32, 2).mean((3, 5))
    torch.testing.assert_close(network(image), network(small))
    assert network.stages(image)[0].shape[-1] == 16
