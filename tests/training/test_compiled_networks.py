"""``scaling.compile``: every network that a training calls is one graph, and computes the same."""

from __future__ import annotations

from functools import partial

import pytest
import small_trainings as small
import torch

from jr2net.face.model import FaceModel

STEPS = 4  # all phases of flow3d; DCNet without and with its discriminator


@pytest.mark.parametrize("network", small.NETWORKS)
def test_compiled_networks_are_whole_graphs(network: str, toy_model: FaceModel) -> None:
    torch._dynamo.reset()
    batch = small.batch(toy_model, 2)
    plain, compiled = (small.training(network, toy_model, 2, STEPS) for _ in range(2))
    compiled.wrap(partial(torch.compile, backend="eager", fullgraph=True))
    for _ in range(STEPS):
        assert compiled.step(batch) == plain.step(batch)
