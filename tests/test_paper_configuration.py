"""With the paper's configuration every network can be built at full size and trained for one step."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from jr2net.config import Config, load
from jr2net.face.load import load_face_model
from jr2net.run.cascade import NETWORKS
from jr2net.run.trainings import build, save

PAPER = Path(__file__).parents[1] / "configs" / "paper.yaml"


def batch_for(stage: str, config: Config) -> dict:
    """One pair of noise images of the paper's size."""
    generator = torch.Generator().manual_seed(0)
    size = config.image_size
    image, landmarks = (1, 3, size, size), (1, 68, 2)
    if stage == "etnet":
        return {"image": torch.rand(image, generator=generator), "expression": torch.rand(1, 51, generator=generator)}
    return {
        "source_image": torch.rand(image, generator=generator),
        "driving_image": torch.rand(image, generator=generator),
        "source_landmarks": torch.rand(landmarks, generator=generator) * size,
        "driving_landmarks": torch.rand(landmarks, generator=generator) * size,
        "sample_id": ["noise"],
    }


def test_every_network_trains_one_step_at_the_papers_size(tmp_path: Path) -> None:
    config = load(PAPER, ["face.model=procedural", "dcnet.adversarial_from=0"])
    assert (config.image_size, config.recnet.backbone.layers, config.etnet.backbone.layers) == (224, 50, 34)
    model = load_face_model(config.face)
    assert model.sizes == {"identity": 80, "expression": 51, "albedo": 64}
    folders: dict[str, str] = {}
    for stage in NETWORKS:
        training = build(stage, config, model, folders)
        losses = training.step(batch_for(stage, config))
        assert losses
        assert all(map(math.isfinite, losses.values()))
        folders[stage] = str(tmp_path / stage)
        save(stage, training, config, model, {}, tmp_path / stage)
        assert (tmp_path / stage / "model.safetensors").exists()
