"""Losses against values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from jr2net.config import RecNetLossConfig
from jr2net.face.parameters import FaceParameters
from jr2net.training import losses

WEIGHTS = RecNetLossConfig()


def grey_image(*values: float) -> torch.Tensor:
    """One grey image (1, 3, 1, W)."""
    return torch.tensor(values).view(1, 1, 1, -1).expand(1, 3, 1, -1)


def test_l1() -> None:
    generated, target = grey_image(0.5, 0.2), grey_image(0.1, 0.2)
    assert losses.l1(generated, target).item() == pytest.approx(0.2)
    weight = torch.tensor([3.0, 1.0]).view(1, 1, 1, 2)
    assert losses.l1(generated, target, weight).item() == pytest.approx(0.3)


def test_perceptual_is_the_mean_over_layers() -> None:
    ones, zeros = [torch.ones(1, 2, 4, 4), torch.ones(1, 8, 2, 2)], [torch.zeros(1, 2, 4, 4), torch.zeros(1, 8, 2, 2)]
    zeros[1] += 0.5
    assert losses.perceptual(ones, zeros).item() == pytest.approx(0.75)


def test_hinge_losses() -> None:
    logits = torch.tensor([2.0, 0.0, -1.0]).view(1, 1, 1, 3)
    assert losses.adversarial(logits).item() == pytest.approx((0 + 1 + 2) / 3)
    generated = torch.tensor([-3.0, 0.0, 1.0]).view(1, 1, 1, 3)
    assert losses.discriminator(logits, generated).item() == pytest.approx((0 + 1 + 2) / 3 + (0 + 1 + 2) / 3)


def test_activation() -> None:
    predicted, truth = torch.tensor([[0.2, 0.0, 0.5]]), torch.tensor([[0.6, 0.0, 0.1]])
    assert losses.activation(predicted, truth).item() == pytest.approx((0.6 * 0.4 + 0 + 0.5 * 0.4) / 3)


def test_photometric_is_a_mean_over_the_mask() -> None:
    image = torch.zeros(2, 3, 2, 2)
    rendered = torch.zeros(2, 3, 2, 2)
    rendered[0, :, 0, 0] = torch.tensor([0.3, 0.0, 0.4])
    rendered[0, :, 1, 1] = 1.0  # outside of the mask
    mask = torch.zeros(2, 1, 2, 2)
    mask[0, 0, 0] = 1
    value = losses.photometric(rendered, image, mask, epsilon=0.0).item()
    assert value == pytest.approx((0.5 + 0.0) / 2 / 2)  # two pixels of the first image, none of the second


def test_photometric_gradient_is_finite_where_the_images_are_equal() -> None:
    rendered = torch.zeros(1, 3, 2, 2, requires_grad=True)
    losses.photometric(rendered, torch.zeros(1, 3, 2, 2), torch.ones(1, 1, 2, 2)).backward()
    assert torch.isfinite(rendered.grad).all()


def test_landmark() -> None:
    predicted = torch.zeros(2, 68, 2)
    detected = torch.zeros(2, 68, 2)
    detected[0, 40] = torch.tensor([3.0, 4.0])
    detected[1, 62] = torch.tensor([0.0, 1.0])  # inner mouth
    value = losses.landmark(predicted, detected, 224, WEIGHTS).item()
    assert value == pytest.approx(1.6e-3 * (25 + 20) / 68 / 2, rel=1e-5)
    half = losses.landmark(predicted / 2, detected / 2, 112, WEIGHTS).item()
    assert half == pytest.approx(value, rel=1e-5)


def test_undetected_landmarks_are_ignored() -> None:
    predicted = torch.zeros(2, 68, 2, requires_grad=True)
    detected = torch.full((2, 68, 2), math.nan)
    detected[0, 33:35] = 1.0
    value = losses.landmark(predicted, detected, 224, WEIGHTS)
    assert value.item() == pytest.approx(1.6e-3 * 2 / 2, rel=1e-5)  # mean of two points; the second face has none
    value.backward()
    assert torch.isfinite(predicted.grad).all()
    assert predicted.grad[0, 33:35].abs().min() > 0 and not predicted.grad[1].any()


def test_landmark_weights() -> None:
    weights = losses.landmark_weights(RecNetLossConfig(landmark_jaw=0.3, landmark_emphasis=2.0), torch.zeros(1))
    assert weights.shape == (68,)
    assert weights[:17].tolist() == pytest.approx([0.3] * 17)
    emphasised = {int(i) for i in (weights == 2.0).nonzero().flatten()}
    assert emphasised == set(range(27, 31)) | set(range(60, 68))


def test_identity_feature() -> None:
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    b = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    assert losses.identity_feature(a, b).item() == pytest.approx(0.5)


def test_regularization() -> None:
    parameters = FaceParameters(
        identity=torch.tensor([[1.0, 2.0]]),
        expression=torch.tensor([[0.5, 0.5]]),
        albedo=torch.tensor([[3.0]]),
        rotation=torch.zeros(1, 3),
        translation=torch.zeros(1, 3),
        light=torch.zeros(1, 9, 3),
    )
    expected = 3e-4 * (1.0 * 5 + 0.8 * 0.5 + 1.7e-2 * 9)
    assert losses.regularization(parameters, WEIGHTS).item() == pytest.approx(expected)


def test_light_grey() -> None:
    light = torch.full((1, 9, 3), 0.7)
    assert losses.light_grey(light).item() == pytest.approx(0, abs=1e-12)
    light[0, 0] = torch.tensor([0.0, 0.3, 0.6])
    assert losses.light_grey(light).item() == pytest.approx(0.18 / 27)


def test_albedo_variance() -> None:
    albedo = torch.tensor([[[0.2, 0.5, 0.5], [0.4, 0.5, 0.5]]])
    assert losses.albedo_variance(albedo).item() == pytest.approx(0.01)


def test_losses_are_means_over_images() -> None:
    """The mean of the losses of both halves of a batch is the loss of the batch."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    masks = (noise(4, 1, 8, 8) > torch.tensor([0.2, 0.4, 0.6, 0.9]).view(4, 1, 1, 1)).float()
    detected = torch.where(noise(4, 68, 1) > 0.3, 10 * noise(4, 68, 2), math.nan)
    cases = {
        "l1": (lambda a, b, w: losses.l1(a, b, w), (noise(4, 3, 8, 8), noise(4, 3, 8, 8), 1 + masks)),
        "photometric": (losses.photometric, (noise(4, 3, 8, 8), noise(4, 3, 8, 8), masks)),
        "landmark": (lambda a, b: losses.landmark(a, b, 64, WEIGHTS), (10 * noise(4, 68, 2), detected)),
        "activation": (losses.activation, (noise(4, 51), noise(4, 51))),
        "albedo_variance": (losses.albedo_variance, (noise(4, 9, 3),)),
        "light_grey": (losses.light_grey, (noise(4, 9, 3),)),
    }
    for name, (function, arguments) in cases.items():
        full = function(*arguments)
        halves = [function(*(a[half] for a in arguments)) for half in (slice(0, 2), slice(2, 4))]
        assert full.item() == pytest.approx(sum(halves).item() / 2, rel=1e-5), name


def test_landmark_loss_is_linear_beyond_the_huber_bound() -> None:
    detected = torch.zeros(1, 68, 2)
    config = RecNetLossConfig(landmark=1.0, landmark_emphasis=1.0, landmark_linear_from=2.0)
    near = losses.landmark(torch.tensor([1.0, 0.0]).expand(1, 68, 2), detected, 224, config)
    far = losses.landmark(torch.tensor([0.0, 5.0]).expand(1, 68, 2), detected, 224, config)
    assert near.item() == pytest.approx(1.0)
    assert far.item() == pytest.approx(2 * 2 * 5 - 4)
    exact = detected.clone().requires_grad_()
    losses.landmark(exact, detected, 224, config).backward()
    assert exact.grad is not None and exact.grad.isfinite().all()
