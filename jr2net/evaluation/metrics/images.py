"""Image metrics per image: generated against target, as in the paper's same-identity tables."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

# Limits PSNR to 100 dB. For identical images it is infinite, which breaks means and JSON.
_MIN_SQUARED_ERROR = 1e-10


def compare_images(generated: Tensor, target: Tensor, face_mask: Tensor) -> dict[str, Tensor]:
    """``l1``, ``l1_face``, ``psnr`` and ``ssim``, each (B,).

    Images (B, 3, H, W) in [0, 1]; face_mask (B, 1, H, W) of the driving face.
    """
    return {
        "l1": l1(generated, target),
        "l1_face": l1_face(generated, target, face_mask),
        "psnr": psnr(generated, target),
        "ssim": ssim(generated, target),
    }


def l1(generated: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference over pixels and channels, (B, 3, H, W) -> (B,)."""
    return (generated - target).abs().mean((1, 2, 3))


def l1_face(generated: Tensor, target: Tensor, face_mask: Tensor) -> Tensor:
    """``l1`` weighted by a mask (B, 1, H, W); NaN if the mask is empty."""
    error, area = masked_error(generated, target, face_mask)
    return error / area


def masked_error(generated: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Sum (B,) of absolute differences weighted by a mask (B, 1, H, W), and sum (B,) of the weights, over pixels and
    channels: their ratio over many images is a mean over pixels, which small regions of single images do not sway."""
    weighted = (generated - target).abs() * mask
    return weighted.sum((1, 2, 3)), mask.sum((1, 2, 3)) * generated.shape[1]


def kept_violations(generated: Tensor, source: Tensor, kept: Tensor) -> Tensor:
    """(): number of pixels with ``kept`` (B, 1, H, W) 1 in which images (B, 3, H, W) are not equal to the bit."""
    return ((generated != source).any(1, keepdim=True) & (kept == 1)).sum()


def sharpness(image: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute Laplacian of the grey values of images (B, 3, H, W) over a mask (B, 1, H, W), (B,); NaN if the mask
    is empty."""
    kernel = image.new_tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    edges = F.conv2d(F.pad(image.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate"), kernel).abs()
    return (edges * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3))


def psnr(generated: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of images in [0, 1], at most 100: (B, 3, H, W) -> (B,)."""
    return -10 * torch.log10((generated - target).square().mean((1, 2, 3)).clamp_min(_MIN_SQUARED_ERROR))


def ssim(generated: Tensor, target: Tensor) -> Tensor:
    """Structural similarity with the Gaussian window of Wang et al. 2004 (σ = 1.5): (B, 3, H, W) -> (B,)."""
    value = structural_similarity_index_measure(generated, target, data_range=1.0, reduction="none")
    assert isinstance(value, Tensor)
    return value.reshape(len(generated))
