"""Validation measures the network that is saved, and leaves the training as it is."""

from __future__ import annotations

import pytest
import small_trainings as small
import torch

from jr2net.face.model import FaceModel
from jr2net.training.reenactment import ReenactorTraining
from jr2net.training.validation import validate

TERMS = {
    "recnet": {"regularization", "light_grey", "landmark", "photometric", "albedo_variance"},
    "recaugnet": {"regularization", "light_grey", "landmark", "photometric", "albedo_variance"},
    "etnet": {"squared", "activation"},
    "etnet-keypoints": {"squared", "activation", "keypoints"},
} | {network: {"l1", "perceptual"} for network in ("dcnet", "dcnet-paper", "flow3d")}


@pytest.mark.parametrize("network", small.NETWORKS)
def test_validation_changes_nothing_and_repeats(network: str, toy_model: FaceModel) -> None:
    batch = small.batch(toy_model, 4)
    validated, plain = (small.training(network, toy_model, 4) for _ in range(2))
    for step in range(3):
        assert validated.step(batch) == plain.step(batch), step
        losses = validate(validated, [batch, batch])
        assert losses == validate(validated, [batch]) and losses.keys() == TERMS[network]
        assert all(0 <= value < float("inf") for value in losses.values())
    assert all(torch.equal(value, small.weights(plain)[name]) for name, value in small.weights(validated).items())


@pytest.mark.parametrize("network", ["recnet", "dcnet", "etnet"])
def test_the_mean_is_over_samples(network: str, toy_model: FaceModel) -> None:
    """However they are split into batches and micro-batches."""
    batch = small.batch(toy_model, 5)
    training = small.training(network, toy_model, 5)
    whole = validate(training, [batch])
    parts = [{key: value[part] for key, value in batch.items()} for part in (slice(0, 3), slice(3, 5))]
    assert validate(training, parts) == pytest.approx(whole, rel=1e-5)
    training.accumulate = 2
    assert validate(training, [batch]) == pytest.approx(whole, rel=1e-5)


def test_a_reenactor_is_validated_by_its_average(toy_model: FaceModel) -> None:
    training, batch = small.training("dcnet", toy_model, 4), small.batch(toy_model, 4)
    before = validate(training, [batch])
    with torch.no_grad():
        for parameter in training.networks["dcnet"].parameters():
            parameter.mul_(0.5)
    assert validate(training, [batch]) == before


def test_flow3d_is_validated_with_the_mattes_that_it_predicts(toy_model: FaceModel) -> None:
    """As it is used: the true mattes of the clips change neither the losses nor the sample images."""
    training, batch = small.training("flow3d", toy_model, 4), small.batch(toy_model, 4)
    assert isinstance(training, ReenactorTraining)
    training.step(batch)
    other = batch | {"source_matte": 1 - batch["source_matte"]}
    assert validate(training, [batch]) == validate(training, [other])
    assert torch.equal(training.sample_images(batch), training.sample_images(other))


@pytest.mark.parametrize("network", ["dcnet", "flow3d"])
def test_validation_and_samples_are_in_bfloat16_where_steps_are(network: str, toy_model: FaceModel) -> None:
    training, batch = small.training(network, toy_model, 2), small.batch(toy_model, 2)
    assert isinstance(training, ReenactorTraining)
    training.bf16, found = True, []
    for module in (*training.recnet.modules(), *training.average.modules()):
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda _, inputs, output: found.append(output.dtype))
    losses = validate(training, [batch])
    assert found and set(found) == {torch.bfloat16}
    assert all(0 <= value < float("inf") for value in losses.values())
    found.clear()
    images = training.sample_images(batch)
    assert found and set(found) == {torch.bfloat16} and images.dtype == torch.float32
