"""The first twenty steps of every training against stored curves: a refactoring must not change what is learnt.

``python tests/training/test_loss_curves.py`` stores them anew, for a change that is meant to alter training. Processors
round differently, and a step's rounding grows in the next, so curves are compared to 2 %, DCNet's adversarial terms,
which amplify most, to 10 %. On one kind of machine they agree to the last digit.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import small_trainings as small

from jr2net.config import FaceConfig
from jr2net.face.load import load_face_model
from jr2net.face.model import FaceModel

REFERENCE = Path(__file__).parents[1] / "references" / "loss_curves.json"
STEPS = 20
TOLERANCE = {"adversarial": 0.1, "discriminator": 0.1, "discriminator_gradient": 0.2, "dcnet_gradient": 0.2}


def loss_curves(network: str, model: FaceModel) -> dict[str, list[float]]:
    """Term -> its value in each step that has it; the second half of DCNet's steps is adversarial."""
    training, batch = small.training(network, model, 4, STEPS), small.batch(model, 4)
    curves: dict[str, list[float]] = {}
    for _ in range(STEPS):
        for term, value in training.step(batch).items():
            curves.setdefault(term, []).append(float(f"{value:.6g}"))
    return curves


@pytest.mark.parametrize("network", small.NETWORKS)
def test_first_steps_follow_the_stored_curves(network: str, procedural_model: FaceModel) -> None:
    stored, curves = json.loads(REFERENCE.read_text())[network], loss_curves(network, procedural_model)
    assert curves.keys() == stored.keys()
    for term, values in curves.items():
        assert values == pytest.approx(stored[term], rel=TOLERANCE.get(term, 0.02), abs=1e-6), term


def store() -> None:
    model = load_face_model(FaceConfig())
    curves = {network: loss_curves(network, model) for network in small.NETWORKS}
    REFERENCE.write_text(json.dumps(curves, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    sys.exit(store())
