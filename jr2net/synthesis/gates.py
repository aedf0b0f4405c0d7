"""What makes a pair worth keeping: its scores, and the reason for which it is left out."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from jr2net.config import GatesConfig

COLUMNS = ("score_covisible", "score_identity", "score_expression", "score_saturation")
"""The scores of a pair; of all but the last more is better."""

_NO_CHANGE = 0.05
"""Norm of a change of expression below which its direction says little."""


def covisible_coverage(covisible: Tensor, mask: Tensor) -> Tensor:
    """Part of the driving face (mask) that the source shows too: (B, 1, S, S) each -> (B,) in [0, 1]."""
    return (covisible * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp(min=1)


def shape_metric(basis: Tensor) -> Tensor:
    """(K, K) mm²: what turns identity coefficients into mean square distances of vertices; basis (K, N, 3) mm."""
    flat = basis.flatten(1)
    return flat @ flat.T / basis.shape[1]


def shape_similarity(source: Tensor, generated: Tensor, metric: Tensor) -> Tensor:
    """1 / (1 + d), d the root mean square distance in mm of two shapes, by identity coefficients (B, K) -> (B,).

    metric: ``shape_metric``. Two people of a face model are usually some 3 to 5 mm apart, one person on two pictures 1.
    """
    offset = generated - source
    return 1 / (1 + ((offset @ metric) * offset).sum(-1).clamp(min=0).sqrt())


def expression_agreement(before: Tensor, after: Tensor, wanted: Tensor) -> Tensor:
    """Cosine between the change that is read again and the change that was asked for: (B, 51) each -> (B,) in [-1, 1].

    before, after: as read from the source and from the picture. Shapes that a reader always misjudges cancel out. Where
    hardly anything was to change, it tends to 0.
    """
    seen, asked = after - before, wanted - before
    size = (seen.norm(dim=-1) * asked.norm(dim=-1)).clamp(min=_NO_CHANGE**2)
    return (seen * asked).sum(-1) / size


def saturation(image: Tensor, mask: Tensor) -> Tensor:
    """Part of the face (mask) with a channel at an end of its range: (B, 3, S, S), (B, 1, S, S) -> (B,) in [0, 1]."""
    at_end = ((image <= 1 / 255) | (image >= 254 / 255)).any(1, keepdim=True)
    return (at_end * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp(min=1)


def rejection(scores: Mapping[str, float], gates: GatesConfig) -> str | None:
    """Why a pair with these scores is left out: ``not_finite`` or the gate that it failed first; None: it is kept."""
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
