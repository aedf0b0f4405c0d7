"""With the papers' configurations every network can be built at full size and trained for one step."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from jr2net.config import Config, load
from jr2net.face.load import load_face_model
from jr2net.networks.checkpoint import save_network
from jr2net.networks.recnet import RecNet
from jr2net.run.cascade import networks
from jr2net.run.trainings import build, save
from jr2net.training.flow3d import phase_starts

CONFIGS = Path(__file__).parents[1] / "configs"


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
        "source_matte": person(size, size // 4),
        "driving_matte": person(size, size // 3),
    }


def person(size: int, left: int) -> torch.Tensor:
    """A matte (1, 1, size, size) of a rectangle."""
    matte = torch.zeros(1, 1, size, size)
    matte[..., size // 4 :, left : left + size // 2] = 1
    return matte


def test_every_network_trains_one_step_at_the_papers_size(tmp_path: Path) -> None:
    config = load(CONFIGS / "paper.yaml", ["face.model=procedural", "dcnet.adversarial_from=0"])
    assert (config.image_size, config.recnet.backbone.layers, config.etnet.backbone.layers) == (224, 50, 34)
    model = load_face_model(config.face)
    assert model.sizes == {"identity": 80, "expression": 51, "albedo": 64}
    folders: dict[str, str] = {}
    for stage in networks(config):
        training = build(stage, config, model, folders)
        losses = training.step(batch_for(stage, config))
        assert losses
        assert all(map(math.isfinite, losses.values()))
        folders[stage] = str(tmp_path / stage)
        save(stage, training, config, model, {}, tmp_path / stage)
        assert (tmp_path / stage / "model.safetensors").exists()


def test_flow3d_trains_one_step_of_each_phase_at_its_papers_size(tmp_path: Path) -> None:
    config = load(CONFIGS / "paper-flow3d.yaml", ["face.model=procedural", "recnet.backbone={layers: 10, width: 8}"])
    assert (config.image_size, config.reenactor) == (256, "flow3d")
    model = load_face_model(config.face)
    torch.manual_seed(0)
    save_network(RecNet(model.sizes, config.recnet.backbone), tmp_path / "recnet", {}, model.digest, {})
    training = build("flow3d", config, model, {"recnet": tmp_path / "recnet"})
    starts = phase_starts(config.flow3d)
    for step in (0, round(config.flow3d.adversarial_from * training.steps), starts[1]):
        training.step_number = step
        losses = training.step(batch_for("flow3d", config))
        assert all(map(math.isfinite, losses.values()))
        assert ("feature_matching" in losses) == (starts[0] <= step < starts[1])
    save("flow3d", training, config, model, {}, tmp_path / "flow3d")
    assert (tmp_path / "flow3d" / "model.safetensors").exists()
