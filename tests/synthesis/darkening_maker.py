"""A pair generator without networks: it darkens the source image by the expression's mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from jr2net.config import SynthesisConfig
from jr2net.face.parameters import FaceParameters
from jr2net.synthesis.gates import COLUMNS
from jr2net.synthesis.maker import PairMaker
from jr2net.synthesis.pair_generator import GeneratedPairs, Stopwatch

SIZE = 32
SETTINGS = SynthesisConfig(pairs=10, pairs_per_shard=4, batch_size=3)


@dataclass
class DarkeningGenerator:
    """Replaces the networks. reconstructed: number of images reconstructed so far; scores: the same for every pair."""

    size: int = SIZE
    reconstructed: int = 0
    scores: dict[str, float] = field(default_factory=lambda: dict.fromkeys(COLUMNS, 0.5))

    def check(self) -> None:
        """Its device always works."""

    def reconstruct(self, images: Tensor) -> FaceParameters:
        self.reconstructed += len(images)
        count, brightness = len(images), images.mean((1, 2, 3))
        light = brightness[:, None, None].expand(-1, 9, 3)
        empty = torch.zeros(count, 3)
        return FaceParameters(empty, torch.zeros(count, 51), empty, empty, empty, light)

    def generate(
        self,
        images: Tensor,
        faces: FaceParameters,
        source_index: Tensor,
        target: FaceParameters,
        stopwatch: Stopwatch | None = None,
    ) -> GeneratedPairs:
        darker = images[source_index] * (1 - target.expression.mean(1))[:, None, None, None]
        tinted = darker + 0.1 * (target.light - faces.light[source_index]).mean((1, 2))[:, None, None, None]
        scores = {name: torch.full((len(source_index),), value) for name, value in self.scores.items()}
        return GeneratedPairs(tinted, scores)


MakeMaker = Callable[..., PairMaker]
