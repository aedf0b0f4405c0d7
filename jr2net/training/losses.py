"""The losses: Eq. 3 to 6, the activation loss, and RecNet's, after Deep3DFaceReconstruction (Deng et al. 2019).

Every loss is a mean over the batch of something that each picture has by itself, so that the mean over workers of their
parts is the loss of the whole batch. Weights are the caller's, except where a term sums several.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from jr2net.config import RecNetLossConfig
from jr2net.face.landmarks import INNER_MOUTH, JAW, NOSE_BRIDGE
from jr2net.face.parameters import FaceParameters

# Published landmark weights are for squared pixels of pictures of this side.
_LANDMARK_SIDE = 224.0


def l1(generated: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Eq. 3, |I_gen − I_t|: mean over pictures (B, 3, H, W), pixels weighted by ``weight`` (B, 1, H, W)."""
    distance = (generated - target).abs()
    if weight is None:
        return distance.mean()
    weight = weight.expand_as(distance)
    return ((distance * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))).mean()


def perceptual(generated: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """Eq. 4, |Θ(I_gen) − Θ(I_t)|: mean over layers of the mean absolute distance of activations, each (B, C, h, w)."""
    return torch.stack([(a - b.detach()).abs().mean() for a, b in zip(generated, target, strict=True)]).mean()


def adversarial(judged: Tensor) -> Tensor:
    """Eq. 5, the generator's side: ReLU(1 − D(I_gen)), mean over the logits (B, 1, h, w)."""
    return F.relu(1 - judged).mean()


def discriminator(real: Tensor, generated: Tensor) -> Tensor:
    """Eq. 6, the discriminator's side: ReLU(1 − D(I_t)) + ReLU(1 + D(I_gen)), mean over the logits (B, 1, h, w)."""
    return F.relu(1 - real).mean() + F.relu(1 + generated).mean()


def activation(predicted: Tensor, truth: Tensor) -> Tensor:
    """ETNet's loss, max(β, β_gt) · |β − β_gt|: mean over coefficients (B, E) in [0, 1].

    The paper prints no absolute value, without which too small a coefficient would be a gain.
    """
    return (torch.maximum(predicted, truth) * (predicted - truth).abs()).mean()


def photometric(rendered: Tensor, image: Tensor, mask: Tensor, epsilon: float = 1e-6) -> Tensor:
    """√(ε + Σ_rgb d²), mean over each picture's mask.

    rendered, image (B, 3, S, S) in [0, 1]; mask (B, 1, S, S): visible face, times the skin where it is known. A picture
    with an empty mask counts 0.
    """
    distance = (epsilon + (rendered - image).square().sum(1, keepdim=True)).sqrt()
    return ((distance * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp(min=1)).mean()


def landmark(predicted: Tensor, detected: Tensor, side: int, config: RecNetLossConfig) -> Tensor:
    """Squared distances of the 68 landmarks, weighted point by point, mean over each face's detected points.

    predicted, detected (B, 68, 2) in pixels of pictures of ``side``; NaN: undetected. Distances count as if pictures
    had 224 pixels, so that weights mean the same at every size; ``config.landmark`` is included.
    """
    found = detected.isfinite().all(-1)
    # Before the subtraction: the gradient through a NaN is NaN even where its factor is zero.
    target = torch.where(found[..., None], detected, predicted.detach())
    distance = ((predicted - target) * (_LANDMARK_SIDE / side)).square().sum(-1)
    if config.landmark_linear_from is not None:
        distance = _huber(distance, config.landmark_linear_from)
    weighted = distance * landmark_weights(config, predicted)
    return config.landmark * (weighted.sum(1) / found.sum(1).clamp(min=1)).mean()


def _huber(squared: Tensor, bound: float) -> Tensor:
    """Huber 1964: squared distances up to ``bound``, beyond it the tangent; hard faces do not drown the others."""
    beyond = squared > bound**2
    # The root of what is squared anyway is not asked for: its gradient at 0 is infinite.
    root = torch.where(beyond, squared, torch.ones_like(squared)).sqrt()
    return torch.where(beyond, 2 * bound * root - bound**2, squared)


def landmark_weights(config: RecNetLossConfig, like: Tensor) -> Tensor:
    """(68,): ``landmark_emphasis`` on the inner mouth and the nose bridge, ``landmark_jaw`` on the jaw line, else 1."""
    weights = like.new_ones(68)
    weights[JAW] = config.landmark_jaw
    weights[NOSE_BRIDGE] = config.landmark_emphasis
    weights[INNER_MOUTH] = config.landmark_emphasis
    return weights


def identity_feature(rendered: Tensor, image: Tensor) -> Tensor:
    """1 − cosine of a face embedder's answers (B, C) for the rendered face and the photo."""
    return (1 - F.cosine_similarity(rendered, image.detach(), dim=-1)).mean()


def regularization(parameters: FaceParameters, config: RecNetLossConfig) -> Tensor:
    """Squared lengths of identity (B, K), expression (B, E) and albedo (B, A), by the weights of ``config``."""
    total = (
        config.regularization_identity * parameters.identity.square().sum(1)
        + config.regularization_expression * parameters.expression.square().sum(1)
        + config.regularization_albedo * parameters.albedo.square().sum(1)
    )
    return config.regularization * total.mean()


def light_grey(light: Tensor) -> Tensor:
    """Light (B, 9, 3): squared distance of each channel from the mean of the three, mean over all."""
    return (light - light.mean(-1, keepdim=True)).square().mean()


def albedo_variance(albedo: Tensor) -> Tensor:
    """Albedo of the skin's vertices (B, n, 3): its variance over the face, summed over the channels."""
    return (albedo - albedo.mean(1, keepdim=True)).square().sum(-1).mean()
