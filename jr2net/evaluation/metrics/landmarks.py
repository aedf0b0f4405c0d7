"""Landmark errors of the 68 points, in pixels. Undetected points are NaN and ignored."""

from __future__ import annotations

import torch
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


def box_nme(predicted: Tensor, truth: Tensor) -> Tensor:
    """Normalised mean error of AFLW2000-3D (Zhu et al. 2016): mean distance of the 68 points over the size of their
    true bounding box, the square root of its area. Points (B, 68, 2) -> (B,); points that are NaN are ignored."""
    finite = truth.isfinite()
    low = truth.where(finite, torch.inf).amin(1)
    high = truth.where(finite, -torch.inf).amax(1)
    size = (high - low).prod(-1).sqrt()
    return (predicted - truth).norm(dim=-1).nanmean(-1) / size


def relative_efl(generated: Tensor, driving: Tensor) -> Tensor:
    """``efl`` over the distance of the outer eye corners of the driving image, so that it does not depend on the size
    of images: (B, 68, 2) -> (B,). NaN where no face was found in either image."""
    left, right = OUTER_EYE_CORNERS
    return efl(generated, driving) / (driving[:, left] - driving[:, right]).norm(dim=-1)
