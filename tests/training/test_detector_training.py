"""The detector's training: its targets, and that it learns where a face is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from jr2net.config import OptimizerConfig
from jr2net.networks.checkpoint import load_network, save_network
from jr2net.networks.detector import STRIDE, Detector, cell_centres
from jr2net.training.detector import DetectorTraining, detector_losses, nearness

SIDE, WIDTHS = 64, (8, 8, 16, 16, 16)
CELLS = SIDE // STRIDE


def face(x: float, y: float, size: float) -> torch.Tensor:
    """68 points (68, 2) in a square around a centre."""
    grid = torch.stack(torch.meshgrid(torch.linspace(-0.5, 0.5, 17), torch.linspace(-0.5, 0.5, 4), indexing="xy"), -1)
    return torch.tensor([x, y]) + size * grid.reshape(68, 2)


def batch() -> dict:
    """Two pictures: a bright square on black that is a face, and none."""
    image = torch.zeros(2, 3, SIDE, SIDE)
    image[0, :, 20:44, 12:36] = 1
    landmarks = torch.zeros(2, 3, 68, 2)
    landmarks[0, 0] = face(24, 32, 24)
    visible = torch.zeros(2, 3)
    visible[0, 0] = 1
    return {"image": image, "landmarks": landmarks, "visible": visible, "sample_id": ["a", "b"]}


def test_the_nearest_cell_of_a_face_is_its_own() -> None:
    near, size = nearness(torch.stack([face(24, 32, 24), face(5, 60, 40)])[None], CELLS)
    assert size[0].tolist() == pytest.approx([24, 40])
    for centre, map_ in zip(([24, 32], [5, 60]), near[0]):
        distance = (cell_centres(SIDE) - torch.tensor(centre)).norm(dim=-1)
        assert map_.max() == 1 and map_.flatten()[distance.argmin()] == 1 and map_.min() < 1e-3


def test_the_truth_has_the_least_loss_and_a_hidden_face_no_score() -> None:
    data = batch()
    near, _ = nearness(data["landmarks"], CELLS)
    target = (near * (data["visible"] > 0)[..., None, None]).amax(1)
    logit, landmarks = torch.logit(target.clamp(1e-6, 1 - 1e-6)), data["landmarks"][:, 0, None, None]
    found = detector_losses(logit, landmarks.expand(-1, CELLS, CELLS, -1, -1), data)
    assert found["score"] < 1e-3 and found["landmark"] == 0
    beside = detector_losses(logit, landmarks.expand(-1, CELLS, CELLS, -1, -1) + 2.4, data)
    assert beside["landmark"] == pytest.approx(8 * 0.1 * 2**0.5, rel=1e-3)
    hidden = detector_losses(torch.full_like(logit, -9), landmarks, data | {"visible": 0.3 * data["visible"]})
    assert hidden["score"] < 1e-3 and hidden["landmark"] == 0


def test_it_learns_where_a_face_is_and_is_saved_for_inference(tmp_path: Path) -> None:
    torch.manual_seed(0)
    training = DetectorTraining(
        Detector(SIDE, WIDTHS), OptimizerConfig(steps=60, batch_size=2, learning_rate=5e-3, decay="none")
    )
    losses = [training.step(batch()) for _ in range(60)]
    assert losses[-1]["score"] < 0.2 * losses[0]["score"] and losses[-1]["landmark"] < 0.5 * losses[0]["landmark"]
    assert set(training.validation_losses(batch())) == {"score", "landmark"} and training.networks["detector"].training

    save_network(training.networks["detector"], tmp_path, {}, "0" * 64, {})
    network = load_network(tmp_path)
    assert isinstance(network, Detector) and network.architecture == {"side": SIDE, "widths": list(WIDTHS)}
    assert "one picture, 64 × 64 pixels" in (tmp_path / "README.md").read_text()
    image = batch()["image"]
    with torch.no_grad():
        plain, fused = network(image), network.fused()(image)
    for one, other in zip(plain, fused):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=2e-3)
