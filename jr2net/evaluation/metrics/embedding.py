"""Feature distances: identity preservation (CSIM) and similarity of image distributions (Fréchet distance)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def csim(generated: Tensor, source: Tensor) -> Tensor:
    """Cosine similarity of face embeddings (B, D), (B, D) -> (B,) in [-1, 1]; 1: same person."""
    return functional.cosine_similarity(generated, source, dim=-1)


def frechet_distance(generated: Tensor, truth: Tensor) -> float:
    """Fréchet distance of Gaussians fitted to two sets of features (N, D), (M, D); FID if they are Inception's.

    Only comparable for the same feature network and the same number of images, both of which a report must state.
    With fewer images than D it is still exact for the fitted (degenerate) Gaussians. Raises ValueError on fewer than
    two images or unequal D.
    """
    if generated.ndim != 2 or truth.ndim != 2 or generated.shape[1] != truth.shape[1]:
        raise ValueError(f"features {tuple(generated.shape)} and {tuple(truth.shape)}: expected (N, D) and (M, D)")
    if min(len(generated), len(truth)) < 2:
        raise ValueError("a Fréchet distance needs at least two images on each side")
    a, b = _centred(generated), _centred(truth)
    mean_gap = (generated.double().mean(0) - truth.double().mean(0)).square().sum()
    # With Σ = XᵀX for both sides, tr √(Σa Σb) is the nuclear norm of Xa Xbᵀ: no D × D square root.
    overlap = torch.linalg.svdvals(a @ b.T).sum()
    return float((mean_gap + a.square().sum() + b.square().sum() - 2 * overlap).clamp_min(0))


def _centred(features: Tensor) -> Tensor:
    features = features.double()
    return (features - features.mean(0)) / (len(features) - 1) ** 0.5
