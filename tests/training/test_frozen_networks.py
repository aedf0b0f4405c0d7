"""Networks that a training uses and does not train: no gradients, and bfloat16 where the training computes in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import small_trainings as small
import torch
from torch import Tensor, nn

from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.networks.recnet import RecNet
from jr2net.training import Training
from jr2net.training.recnet import RecNetTraining


class Embedder(nn.Module):
    """A convolution; ``calls``: whether each output has a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.calls: list[bool] = []

    def forward(self, image: Tensor) -> Tensor:
        embedding = self.convolution(image).mean((2, 3))
        self.calls.append(embedding.requires_grad)
        return embedding


def recnet_training(model: FaceModel, embedder: nn.Module) -> RecNetTraining:
    config = small.configuration(2)
    torch.manual_seed(0)
    camera, optimizer = Camera.from_config(config), config.recnet.optimizer
    network = RecNet(model.sizes, small.BACKBONE)
    return RecNetTraining(network, model, camera, optimizer, config.recnet.loss, embedder=embedder)


def test_the_embedder_is_frozen_and_its_target_has_no_graph(toy_model: FaceModel) -> None:
    embedder, batch = Embedder(), small.batch(toy_model, 2)
    training = recnet_training(toy_model, embedder)
    for _ in range(2):
        assert training.step(batch)["identity_feature"] > 0
    assert embedder.calls == [False, True] * 2, "the target, then what is rendered"
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in embedder.parameters())


@contextmanager
def dtypes_of(network: nn.Module) -> Iterator[set[torch.dtype]]:
    """The dtypes that the network's convolutions compute in."""
    found: set[torch.dtype] = set()
    hooks = [
        module.register_forward_hook(lambda _, inputs, output: found.add(output.dtype))
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ]
    yield found
    for hook in hooks:
        hook.remove()


def with_embedder(model: FaceModel) -> tuple[Training, nn.Module]:
    embedder = Embedder()
    return recnet_training(model, embedder), embedder


def of(name: str) -> Callable[[FaceModel], tuple[Training, nn.Module]]:
    """A reenactor's training, and the RecNet that reconstructs its frames and gives the perceptual features."""

    def build(model: FaceModel) -> tuple[Training, nn.Module]:
        training = small.training(name, model, 2)
        return training, training.recnet  # type: ignore[attr-defined]

    return build


FROZEN = {"embedder": with_embedder, "dcnet": of("dcnet"), "flow3d": of("flow3d")}


@pytest.mark.parametrize(("bf16", "dtype"), [(False, torch.float32), (True, torch.bfloat16)])
@pytest.mark.parametrize("name", FROZEN)
def test_frozen_networks_compute_in_the_precision_of_the_training(
    name: str, bf16: bool, dtype: torch.dtype, toy_model: FaceModel
) -> None:
    training, frozen = FROZEN[name](toy_model)
    training.bf16 = bf16
    with dtypes_of(frozen) as dtypes:
        training.step(small.batch(toy_model, 2))
    assert dtypes == {dtype}
    assert all(parameter.dtype == torch.float32 for parameter in frozen.parameters())
    assert all(parameter.grad is None for parameter in frozen.parameters())


def test_a_scripted_embedder_computes_in_bfloat16(toy_model: FaceModel) -> None:
    script = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    training, batch = recnet_training(toy_model, script), small.batch(toy_model, 2)
    expected = recnet_training(toy_model, script).step(batch)["identity_feature"]
    training.bf16 = True
    assert training.step(batch)["identity_feature"] == pytest.approx(expected, rel=0.05)
