"""A training goes on to another number of steps exactly where the steps it has taken do not depend on that number."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_trainings as small
import torch

from jr2net.config import Config, OptimizerConfig, load
from jr2net.config.stages import training_section
from jr2net.face.model import FaceModel
from jr2net.run.cascade import NETWORKS
from jr2net.run.inputs import SETTINGS
from jr2net.training import Training
from jr2net.training.more_steps import FRACTIONS, changed_by_total
from jr2net.training.recnet import RecNetTraining

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.yaml"


def test_every_training_has_its_fractions() -> None:
    config = load(SMOKE)
    assert {training_section(config, stage) for stage in NETWORKS} <= FRACTIONS.keys()
    assert changed_by_total(config, "detector", 2 * config.detector.optimizer.steps, 1) == []
    assert changed_by_total(config, "detector", 2 * config.detector.optimizer.steps, 300) == [
        "detector.optimizer.decay"
    ]


def config_of(stage: str, steps: int, *overrides: str) -> Config:
    return load(SMOKE, [f"{stage}.optimizer.steps={steps}", *(f"{stage}.{override}" for override in overrides)])


def test_every_fraction_of_the_steps_is_known() -> None:
    known = {f"{stage}.{name}" for stage, names in FRACTIONS.items() for name in names}
    assert known == {name for name in SETTINGS if name.endswith(("_from", "_until")) and name.count(".") == 1}
    for stage in FRACTIONS:
        fields = type(getattr(load(SMOKE), stage)).model_fields
        described = {name for name, field in fields.items() if "fraction of the steps" in (field.description or "")}
        assert described == set(FRACTIONS[stage])


@pytest.mark.parametrize(
    ("stage", "overrides", "taken", "changed"),
    [
        ("recnet", ["optimizer.decay=none"], 100, []),
        ("recnet", ["optimizer.decay=cosine"], 1, []),  # the first step has the whole rate
        ("recnet", ["optimizer.decay=cosine"], 2, ["optimizer.decay"]),
        ("recnet", ["optimizer.decay=cosine", "optimizer.warmup=10"], 11, []),
        ("recnet", ["optimizer.decay=cosine", "optimizer.warmup=10"], 12, ["optimizer.decay"]),
        ("recnet", ["optimizer.decay=step"], 50, []),  # the rate falls half-way
        ("recnet", ["optimizer.decay=step"], 51, ["optimizer.decay"]),
        ("recnet", ["optimizer.decay=none", "photometric_from=0.8"], 80, []),
        ("recnet", ["optimizer.decay=none", "photometric_from=0.8"], 81, ["photometric_from"]),
        ("dcnet", ["optimizer.decay=none"], 50, []),
        ("dcnet", ["optimizer.decay=none"], 51, ["adversarial_from"]),
        ("dcnet", ["optimizer.decay=none", "adversarial_from=0"], 100, []),
        ("etnet", ["optimizer.decay=none", "squared_until=0.5"], 51, ["squared_until"]),
        ("etnet", ["optimizer.decay=none", "squared_until=1"], 100, []),
        ("recaugnet", ["optimizer.decay=none"], 100, []),
        ("flow3d", ["optimizer.decay=none", "refine_from=0.46"], 46, []),
        ("flow3d", ["optimizer.decay=none", "refine_from=0.46"], 47, ["refine_from"]),
        (
            "flow3d",
            ["optimizer.decay=none"],
            100,
            ["optimizer.decay", "refine_from", "adversarial_from", "inpaint_from"],
        ),
    ],
)
def test_what_depends_on_the_total(stage: str, overrides: list[str], taken: int, changed: list[str]) -> None:
    """From 100 to 200 steps. flow3d's schedule starts anew where inpainting begins, with a warm-up."""
    found = changed_by_total(config_of(stage, 200, *overrides), stage, total=100, taken=taken)
    assert found == [f"{stage}.{name}" for name in changed]


def recnet_training(model: FaceModel, steps: int, decay: str) -> Training:
    training = small.training("recnet", model, 4, steps)
    assert isinstance(training, RecNetTraining)
    optimizer = OptimizerConfig.model_validate({**training.settings.model_dump(), "decay": decay})
    return RecNetTraining(training.networks["recnet"], model, training.camera, optimizer, training.loss)


@pytest.mark.parametrize("decay", ["none", "cosine"])
def test_a_training_that_goes_on_is_as_long_as_one_that_was_planned_so(toy_model: FaceModel, decay: str) -> None:
    batch = small.batch(toy_model, 4)
    longer, shorter = recnet_training(toy_model, 8, decay), recnet_training(toy_model, 4, decay)
    for training, steps in ((longer, 8), (shorter, 4)):
        for _ in range(steps):
            training.step(batch)
    continued = recnet_training(toy_model, 8, decay)
    continued.load_state_dict(shorter.state_dict())
    for _ in range(4):
        continued.step(batch)
    same = all(torch.equal(value, small.weights(longer)[name]) for name, value in small.weights(continued).items())
    allowed = not changed_by_total(config_of("recnet", 8, f"optimizer.decay={decay}"), "recnet", total=4, taken=4)
    assert same == allowed == (decay == "none")
