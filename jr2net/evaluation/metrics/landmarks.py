"""Landmark errors, on the 68 points in pixels; points that were not detected are NaN and do not count."""

from __future__ import annotations

from torch import Tensor

from jr2net.face.landmarks import INNER, OUTER_EYE_CORNERS


def nme(predicted: Tensor, truth: Tensor) -> Tensor:
    """Normalised mean error: mean distance of the inner 51 points over the true distance of the outer eye corners.

    Points (B, 68, 2) -> (B,). NaN for a picture whose eye corners or all inner points are undetected: average with
    ``nanmean``.
    """
    left, right = OUTER_EYE_CORNERS
    width = (truth[:, left] - truth[:, right]).norm(dim=-1)
    return (predicted[:, INNER] - truth[:, INNER]).norm(dim=-1).nanmean(-1) / width


def efl(generated: Tensor, driving: Tensor) -> Tensor:
    """The paper's EFL: root mean square distance of the 68 landmarks of generated and driving picture, in pixels.

    Points (B, 68, 2) -> (B,); NaN where nothing was detected.
    """
    return (generated - driving).square().sum(-1).nanmean(-1).sqrt()
