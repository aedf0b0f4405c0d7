"""Landmark errors of the 68 points, in pixels. Undetected points are NaN and ignored."""

from __future__ import annotations

from torch import Tensor

from jr2net.face.landmarks import INNER, OUTER_EYE_CORNERS


def nme(predicted: Tensor, truth: Tensor) -> Tensor:
    """Normalised mean error: mean distance of the inner 51 points over the true distance of the outer eye corners.

    Points (B, 68, 2) -> (B,). NaN if an eye corner or all inner points are undetected; average with ``nanmean``.
    """
    left, right = OUTER_EYE_CORNERS
    width = (truth[:, left] - truth[:, right]).norm(dim=-1)
    return (predicted[:, INNER] - truth[:, INNER]).norm(dim=-1).nanmean(-1) / width


def efl(generated: Tensor, driving: Tensor) -> Tensor:
    """The paper's EFL: root mean square distance in pixels between the 68 landmarks of generated and driving images.

    Points (B, 68, 2) -> (B,); NaN if no point was detected.
    """
    return (generated - driving).square().sum(-1).nanmean(-1).sqrt()
