"""How far a generated picture is from the true one: the columns of the paper's same-identity tables, per picture."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

# Identical pictures have infinite PSNR, which JSON cannot hold and a mean cannot survive: 100 dB is the ceiling.
_LEAST_SQUARED_ERROR = 1e-10


def compare_images(generated: Tensor, truth: Tensor, face_mask: Tensor) -> dict[str, Tensor]:
    """All columns at once, each (B,): ``l1``, ``l1_face``, ``psnr``, ``ssim``.

    Pictures (B, 3, H, W) in [0, 1]; face_mask (B, 1, H, W) of the driving face.
    """
    return {
        "l1": l1(generated, truth),
        "l1_face": l1_face(generated, truth, face_mask),
        "psnr": psnr(generated, truth),
        "ssim": ssim(generated, truth),
    }


def l1(generated: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute difference over pixels and channels, (B, 3, H, W) -> (B,)."""
    return (generated - truth).abs().mean((1, 2, 3))


def l1_face(generated: Tensor, truth: Tensor, face_mask: Tensor) -> Tensor:
    """``l1`` inside a mask (B, 1, H, W), weighted by it; NaN where the mask is empty."""
    weighted = (generated - truth).abs() * face_mask
    return weighted.sum((1, 2, 3)) / (face_mask.sum((1, 2, 3)) * generated.shape[1])


def psnr(generated: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of pictures in [0, 1], at most 100: (B, 3, H, W) -> (B,)."""
    return -10 * torch.log10((generated - truth).square().mean((1, 2, 3)).clamp_min(_LEAST_SQUARED_ERROR))


def ssim(generated: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity with the Gaussian window of Wang et al. 2004 (σ = 1.5): (B, 3, H, W) -> (B,)."""
    value = structural_similarity_index_measure(generated, truth, data_range=1.0, reduction="none")
    assert isinstance(value, Tensor)
    return value.reshape(len(generated))
