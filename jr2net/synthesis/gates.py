"""Quality scores of synthesised pairs, and the gates that reject pairs by them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from jr2net.config import GatesConfig

COLUMNS = ("score_covisible", "score_identity", "score_expression", "score_saturation")
"""The scores of a pair; for all but the last, higher is better."""

_NO_CHANGE = 0.05
"""Norm of an expression change below which its direction is unreliable."""


def covisible_coverage(covisible: Tensor, mask: Tensor) -> Tensor:
    """Fraction of the driving face (mask) that is visible in the source: (B, 1, S, S) each -> (B,) in [0, 1]."""
    return (covisible * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp(min=1)


def shape_metric(basis: Tensor) -> Tensor:
    """Quadratic form (K, K) in mm² from a difference of identity coefficients to the mean square vertex distance.

    basis: (K, N, 3) in mm.
    """
    flat = basis.flatten(1)
    return flat @ flat.T / basis.shape[1]


def shape_similarity(source: Tensor, generated: Tensor, metric: Tensor) -> Tensor:
    """1 / (1 + d), where d is the RMS vertex distance in mm of two shapes; identity coefficients (B, K) -> (B,).

    metric: of ``shape_metric``. Two people of a face model typically differ by 3 to 5 mm, two estimates of one
    person by about 1 mm.
    """
    offset = generated - source
    return 1 / (1 + ((offset @ metric) * offset).sum(-1).clamp(min=0).sqrt())


def expression_agreement(before: Tensor, after: Tensor, target: Tensor) -> Tensor:
    """Cosine of the predicted and the target expression change: (B, 51) each -> (B,) in [-1, 1].

    before, after: predicted from the source and from the generated image, so that a constant bias of the predictor
    cancels out. For small changes the score tends to 0.
    """
    predicted_change, target_change = after - before, target - before
    norm = (predicted_change.norm(dim=-1) * target_change.norm(dim=-1)).clamp(min=_NO_CHANGE**2)
    return (predicted_change * target_change).sum(-1) / norm


def saturation(image: Tensor, mask: Tensor) -> Tensor:
    """Fraction of the face (mask) with a channel at 0 or 1: (B, 3, S, S), (B, 1, S, S) -> (B,) in [0, 1]."""
    saturated = ((image <= 1 / 255) | (image >= 254 / 255)).any(1, keepdim=True)
    return (saturated * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp(min=1)


def rejection(scores: Mapping[str, float], gates: GatesConfig) -> str | None:
    """Reason for rejecting a pair: ``not_finite`` or the first gate that it fails; None: the pair is kept."""
    if not all(math.isfinite(score) for score in scores.values()):
        return "not_finite"
    if scores["score_covisible"] < gates.covisible:
        return "covisible"
    if scores["score_identity"] < gates.identity:
        return "identity"
    if scores["score_expression"] < gates.expression:
        return "expression"
    if scores["score_saturation"] > gates.saturation:
        return "saturation"
    return None
