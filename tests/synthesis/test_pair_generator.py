"""PairGenerator with real renderings and untrained networks."""

from __future__ import annotations

import pytest
import torch

from jr2net.config import BackboneConfig, DCNetConfig
from jr2net.face.model import FaceModel
from jr2net.inference.messages import ModelInfo
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor
from jr2net.networks.dcnet import DCNet
from jr2net.networks.recnet import RecNet
from jr2net.synthesis.gates import COLUMNS
from jr2net.synthesis.pair_generator import PairGenerator, Stopwatch

SIZE = 32
RECNET, DCNET = (ModelInfo(kind, "", SIZE, 5.0) for kind in ("recnet", "dcnet"))
OPTIMIZER = {"steps": 1, "batch_size": 1, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def generator(toy_model: FaceModel) -> PairGenerator:
    torch.manual_seed(0)
    recnet = RecNet(toy_model.sizes, BackboneConfig(layers=10, width=8)).eval()
    dcnet = DCNet(DCNetConfig.model_validate({"width": 8, "scales": 2, "blocks": 1, "optimizer": OPTIMIZER})).eval()
    return PairGenerator(Reenactor(dcnet, toy_model, DCNET, Reconstructor(recnet, toy_model, RECNET)))


def test_shared_sources_give_the_same_result_as_separate_ones(generator: PairGenerator) -> None:
    images = torch.rand(3, 3, SIZE, SIZE)
    faces = generator.reconstruct(images)
    source_index = torch.tensor([2, 0, 2, 2, 0])
    expression = torch.rand(5, 51)
    stopwatch = Stopwatch()
    target = faces[source_index].replace(expression=expression)
    shared = generator.generate(images, faces, source_index, target, stopwatch)
    each = generator.generate(images[source_index], faces[source_index], torch.arange(5), target)
    torch.testing.assert_close(shared.images, each.images, rtol=1e-4, atol=1e-5)
    assert set(shared.scores) == set(COLUMNS) and set(stopwatch) == {"render", "dcnet", "gates"}
    for name in COLUMNS:
        torch.testing.assert_close(shared.scores[name], each.scores[name], rtol=1e-3, atol=1e-4)


def test_reader_and_embedder_replace_recnet_in_the_scores(generator: PairGenerator) -> None:
    images = torch.rand(2, 3, SIZE, SIZE)
    faces = generator.reconstruct(images)
    target = faces.replace(expression=torch.rand(2, 51))

    class Constant(torch.nn.Module):
        """Predicts the same for every image."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.ones(len(images), 51)

    with_scorers = PairGenerator(generator.reenactor, reader=Constant(), embedder=Constant())
    scores = with_scorers.generate(images, faces, torch.arange(2), target).scores
    torch.testing.assert_close(scores["score_identity"], torch.ones(2))
    torch.testing.assert_close(scores["score_expression"], torch.zeros(2))
