"""Distances between features of pictures: does the generated face keep the identity, do the pictures look alike."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def csim(generated: Tensor, source: Tensor) -> Tensor:
    """Cosine similarity of face embeddings (B, D), (B, D) -> (B,) in [-1, 1]; 1 is the same person."""
    return functional.cosine_similarity(generated, source, dim=-1)


def frechet_distance(generated: Tensor, truth: Tensor) -> float:
    """Fréchet distance of Gaussians fitted to two sets of features (N, D), (M, D); FID if they are Inception's.

    Comparable only between equal feature networks and equal numbers of pictures, both of which a report must state.
    With fewer pictures than D it is still exact for the fitted (degenerate) Gaussians. Raises ValueError on fewer than
    two pictures or unequal D.
    """
    if generated.ndim != 2 or truth.ndim != 2 or generated.shape[1] != truth.shape[1]:
        raise ValueError(f"features {tuple(generated.shape)} and {tuple(truth.shape)}: expected (N, D) and (M, D)")
    if min(len(generated), len(truth)) < 2:
        raise ValueError("a Fréchet distance takes at least two pictures on each side")
    a, b = _centred(generated), _centred(truth)
    mean_gap = (generated.double().mean(0) - truth.double().mean(0)).square().sum()
    # With Σ = XᵀX for both sides, tr √(Σa Σb) is the nuclear norm of Xa Xbᵀ: no D × D square root.
    overlap = torch.linalg.svdvals(a @ b.T).sum()
    return float((mean_gap + a.square().sum() + b.square().sum() - 2 * overlap).clamp_min(0))


def _centred(features: Tensor) -> Tensor:
    features = features.double()
    return (features - features.mean(0)) / (len(features) - 1) ** 0.5
