"""The first steps of every training against stored curves: refactoring must not change training.

``python tests/training/test_loss_curves.py`` regenerates them, after a change that is meant to alter training.
Processors round differently. RecNet and ETNet forgive that for twenty steps. In a reenactor errors grow tenfold and
more from step to step, since gradients jump where a flow crosses a pixel's centre; so each of its phases begins with
fresh weights and takes two steps, and the norms of gradients are compared in the first. Between instruction sets the
losses then agree to 0.05 %. On the same type of machine all agrees to the last digit.
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
# The steps at which a reenactor's phases begin in a schedule of 20, see ``small_trainings.configuration``.
PHASES = {"dcnet": (0, 10), "dcnet-paper": (0,), "flow3d": (0, 5, 10, 15)}
PHASE_STEPS = 2
TOLERANCE = 0.01


def loss_curves(network: str, model: FaceModel) -> dict[str, list[float]]:
    """Loss term -> its values over the steps, of a reenactor over the first steps of each phase where it occurs."""
    batch = small.batch(model, 4)
    curves: dict[str, list[float]] = {}
    for phase in PHASES.get(network, (0,)):
        training = small.training(network, model, 4, STEPS)
        training.step_number = phase
        for step in range(PHASE_STEPS if network in PHASES else STEPS):
            for term, value in training.step(batch).items():
                if network not in PHASES or step == 0 or not term.endswith("_gradient"):
                    curves.setdefault(term, []).append(float(f"{value:.6g}"))
    return curves


@pytest.mark.parametrize("network", small.NETWORKS)
def test_first_steps_match_the_stored_curves(network: str, procedural_model: FaceModel) -> None:
    stored, curves = json.loads(REFERENCE.read_text())[network], loss_curves(network, procedural_model)
    assert curves.keys() == stored.keys()
    for term, values in curves.items():
        assert values == pytest.approx(stored[term], rel=TOLERANCE, abs=1e-6), term


def store() -> None:
    model = load_face_model(FaceConfig())
    curves = {network: loss_curves(network, model) for network in small.NETWORKS}
    REFERENCE.write_text(json.dumps(curves, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    sys.exit(store())
