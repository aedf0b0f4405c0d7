"""Losses: Eq. 3 to 6, the activation loss, RecNet's losses after Deep3DFaceReconstruction (Deng et al. 2019), and those
of 3DFlowRenderer (arXiv 2404.14667) and the methods that it builds on.

Every loss is a mean over the batch of a per-image value, so that the mean over workers is the loss of the global batch.
Weights are applied by the caller, except within terms that sum several.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from jr2net.config import RecNetLossConfig
from jr2net.face.landmarks import INNER_MOUTH, JAW, NOSE_BRIDGE
from jr2net.face.parameters import FaceParameters

# Published landmark weights refer to squared pixels of images of this side.
_LANDMARK_SIDE = 224.0


def l1(generated: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Eq. 3, |I_gen − I_t|: mean over images (B, 3, H, W), pixels weighted by ``weight`` (B, 1, H, W)."""
    distance = (generated - target).abs()
    if weight is None:
        return distance.mean()
    weight = weight.expand_as(distance)
    return ((distance * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))).mean()


def perceptual(generated: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """Eq. 4, |Θ(I_gen) − Θ(I_t)|: mean over layers of the mean absolute distance of activations, each (B, C, h, w)."""
    return torch.stack([(a - b.detach()).abs().mean() for a, b in zip(generated, target, strict=True)]).mean()


def style(generated: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """Mean over layers of the mean absolute distance of Gram matrices (Johnson et al. 2016) of (B, C, h, w)."""
    return perceptual([_gram(layer) for layer in generated], [_gram(layer) for layer in target])


def _gram(activations: Tensor) -> Tensor:
    """(B, C, C): correlations of the channels of (B, C, h, w)."""
    flat = activations.flatten(2)
    return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])


def feature_matching(generated: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Mean over layers of the mean absolute distance of the discriminator's activations (Wang et al. 2018)."""
    return perceptual(generated, real)


def cyclic_warp(
    back: Tensor,
    source: Tensor,
    regained: Tensor,
    features: Sequence[Tensor],
    source_features: Sequence[Tensor],
    features_weight: float,
) -> Tensor:
    """‖m ⊙ (R(Ṽ_s) − [α_s I_s, α_s])‖₁ + λ Σ_l ‖ψ_l(R(Ṽ_s)) − ψ_l(α_s I_s)‖₁, each norm a mean.

    back (B, 4, S, S)      R(Ṽ_s): premultiplied RGBA, decoded from the features warped there and back
    source (B, 4, S, S)    premultiplied RGBA of the source
    regained (B, 1, S, S)  what the driving view had kept visible; m = α_s · regained, without a gradient, so that what
                           the driving view hides is not asked back
    features               ψ of both images, one (B, C, h, w) for each layer; λ is ``features_weight``
    """
    mask = source[:, 3:] * regained.detach()
    distances = [(a - b.detach()).abs().mean() for a, b in zip(features, source_features, strict=True)]
    return (mask * (back - source).abs()).mean() + features_weight * torch.stack(distances).sum()


def total_variation(flow: Tensor) -> Tensor:
    """Sum over the axes of the mean absolute difference of neighbouring voxels of a flow (B, 3, D, h, w)."""
    axes = [axis for axis in (2, 3, 4) if flow.shape[axis] > 1]
    return torch.stack([flow.diff(dim=axis).abs().mean() for axis in axes]).sum()


def matte(predicted: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute distance of mattes (B, 1, S, S) and of their differences of neighbouring pixels."""
    distances = [(predicted - truth).abs().mean()]
    distances += [(predicted.diff(dim=axis) - truth.diff(dim=axis)).abs().mean() for axis in (2, 3)]
    return torch.stack(distances).sum()


def inside(generated: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute distance of images (B, 3, S, S) within the mask (B, 1, S, S) of each, then over images.

    An image with an empty mask contributes 0.
    """
    distance = (generated - target).abs().mean(1, keepdim=True)
    return ((distance * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp(min=1)).mean()


def adversarial(logits: Tensor) -> Tensor:
    """Eq. 5, generator loss: ReLU(1 − D(I_gen)), mean over the logits (B, 1, h, w)."""
    return F.relu(1 - logits).mean()


def discriminator(real: Tensor, generated: Tensor) -> Tensor:
    """Eq. 6, discriminator loss: ReLU(1 − D(I_t)) + ReLU(1 + D(I_gen)), mean over the logits (B, 1, h, w)."""
    return F.relu(1 - real).mean() + F.relu(1 + generated).mean()


def activation(predicted: Tensor, truth: Tensor) -> Tensor:
    """ETNet's loss, max(β, β_gt) · |β − β_gt|: mean over coefficients (B, E) in [0, 1].

    The paper prints no absolute value, without which too small predictions would decrease the loss.
    """
    return (torch.maximum(predicted, truth) * (predicted - truth).abs()).mean()


def known_activation(predicted: Tensor, truth: Tensor) -> Tensor:
    """``activation`` where the truth (B, E) is known; a face whose truth is NaN contributes 0 to the mean."""
    known = truth.isfinite()
    target = torch.where(known, truth, predicted.detach())  # NaN must be replaced: its gradient is NaN at any weight
    return (known * torch.maximum(predicted, target) * (predicted - target).abs()).mean()


def keypoints(predicted: Tensor, truth: Tensor, side: int) -> Tensor:
    """Mean absolute distance of coordinates, squared below 0.02 (Huber 1964), of the keypoints inside of the image.

    predicted (B, P, 2): the first of them, from -1 to 1 across the image; truth (B, K, 2) in pixels of images of side
    ``side``, NaN where it is not known. Those that are not known or outside of the image contribute 0 to the mean.
    """
    target = 2 * truth / side - 1
    inside = (target.abs() < 1).all(-1, keepdim=True)  # false for NaN
    found = predicted[:, : truth.shape[1]]
    # NaN must be replaced before the subtraction: its gradient is NaN even with a weight of zero.
    target = torch.where(inside, target, found.detach())
    return F.smooth_l1_loss(found, target, beta=0.02)


def photometric(rendered: Tensor, image: Tensor, mask: Tensor, epsilon: float = 1e-6) -> Tensor:
    """√(ε + Σ_rgb d²), mean over the mask of each image, then over images.

    rendered, image (B, 3, S, S) in [0, 1]; mask (B, 1, S, S): pixels of the face that are compared. An image
    with an empty mask contributes 0.
    """
    distance = (epsilon + (rendered - image).square().sum(1, keepdim=True)).sqrt()
    return ((distance * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp(min=1)).mean()


def landmark(predicted: Tensor, detected: Tensor, side: int, config: RecNetLossConfig) -> Tensor:
    """Weighted squared distances of the 68 landmarks, mean over the detected points of each face, then over faces.

    predicted, detected (B, 68, 2) in pixels of images of side ``side``; NaN: undetected. Distances are rescaled to
    224-pixel images, so that weights are independent of the image size; ``config.landmark`` is included.
    """
    found = detected.isfinite().all(-1)
    # NaN must be replaced before the subtraction: its gradient is NaN even with a weight of zero.
    target = torch.where(found[..., None], detected, predicted.detach())
    distance = ((predicted - target) * (_LANDMARK_SIDE / side)).square().sum(-1)
    if config.landmark_linear_from is not None:
        distance = _huber(distance, config.landmark_linear_from)
    weighted = distance * landmark_weights(config, predicted)
    return config.landmark * (weighted.sum(1) / found.sum(1).clamp(min=1)).mean()


def _huber(squared: Tensor, bound: float) -> Tensor:
    """Huber loss (Huber 1964) of squared distances: quadratic up to ``bound``, linear beyond, against outliers."""
    beyond = squared > bound**2
    # The square root is only computed beyond the bound, since its gradient at 0 is infinite.
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
    """1 − cosine similarity of the face embeddings (B, C) of the rendered face and the image."""
    return (1 - F.cosine_similarity(rendered, image.detach(), dim=-1)).mean()


def regularization(parameters: FaceParameters, config: RecNetLossConfig) -> Tensor:
    """Squared norms of identity (B, K), expression (B, E) and albedo (B, A), with the weights of ``config``."""
    total = (
        config.regularization_identity * parameters.identity.square().sum(1)
        + config.regularization_expression * parameters.expression.square().sum(1)
        + config.regularization_albedo * parameters.albedo.square().sum(1)
    )
    return config.regularization * total.mean()


def light_grey(light: Tensor) -> Tensor:
    """Mean squared distance of each colour channel of the light (B, 9, 3) from the mean of the three channels."""
    return (light - light.mean(-1, keepdim=True)).square().mean()


def albedo_variance(albedo: Tensor) -> Tensor:
    """Variance over the vertices of the skin's albedo (B, n, 3), summed over channels."""
    return (albedo - albedo.mean(1, keepdim=True)).square().sum(-1).mean()
