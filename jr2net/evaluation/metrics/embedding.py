"""Feature distances: identity preservation (CSIM) and similarity of image distributions (Fréchet distance)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


def csim(generated: Tensor, source: Tensor) -> Tensor:
    """Cosine similarity of face embeddings (B, D), (B, D) -> (B,) in [-1, 1]; 1: same person."""
    return functional.cosine_similarity(generated, source, dim=-1)


@dataclass(frozen=True)
class Moments:
    """Number, mean (D,) and covariance (D, D) of features, in double precision, whatever the number of images.

    Those of parts add up to those of the whole (Chan, Golub and LeVeque 1983), so that features are measured batch by
    batch and on many machines, and none are kept: ``sum(map(Moments.of, batches), Moments.none(D))``.

    count    number of features
    mean     (D,)
    scatter  (D, D): sum of the outer products of the features less their mean
    """

    count: int
    mean: Tensor
    scatter: Tensor

    @staticmethod
    def none(width: int, device: torch.device | str = "cpu") -> Moments:
        """Of no features of ``width`` numbers."""
        zeros = torch.zeros(width, width, dtype=torch.float64, device=device)
        return Moments(0, zeros.sum(0), zeros)

    @staticmethod
    def of(features: Tensor) -> Moments:
        """Of features (N, D). Raises ValueError for another shape."""
        if features.ndim != 2:
            raise ValueError(f"features {tuple(features.shape)}: expected (N, D)")
        if not len(features):
            return Moments.none(features.shape[1], features.device)
        features = features.double()
        mean = features.mean(0)
        centred = features - mean
        return Moments(len(features), mean, centred.T @ centred)

    def __add__(self, other: Moments) -> Moments:
        """Of both sets of features. Raises ValueError for unequal D."""
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"features of {len(self.mean)} and {len(other.mean)} numbers: expected (N, D) and (M, D)")
        count = self.count + other.count
        if not self.count or not other.count:
            return self if self.count else other
        gap = other.mean - self.mean
        between = torch.outer(gap, gap) * (self.count * other.count / count)
        return Moments(count, self.mean + gap * (other.count / count), self.scatter + other.scatter + between)

    @property
    def covariance(self) -> Tensor:
        """(D, D), with n - 1 degrees of freedom."""
        return self.scatter / (self.count - 1)


def frechet_distance(generated: Tensor | Moments, truth: Tensor | Moments) -> float:
    """Fréchet distance of Gaussians fitted to two sets of features (N, D), (M, D); FID if they are Inception's.

    Either set may be given by its moments. The effort is that of one pass over the images, and cubic in D alone.

    Only comparable for the same feature network and the same number of images, both of which a report must state.
    With fewer images than D it is still exact for the fitted (degenerate) Gaussians. Raises ValueError on fewer than
    two images or unequal D.
    """
    a, b = (side if isinstance(side, Moments) else Moments.of(side) for side in (generated, truth))
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"features of {len(a.mean)} and {len(b.mean)} numbers: expected (N, D) and (M, D)")
    if min(a.count, b.count) < 2:
        raise ValueError("a Fréchet distance needs at least two images on each side")
    # With Σ = FᵀF for both sides, tr √(Σa Σb) is the nuclear norm of Fa Fbᵀ.
    overlap = torch.linalg.svdvals(_factor(a.covariance) @ _factor(b.covariance).T).sum()
    spread = a.covariance.trace() + b.covariance.trace()
    return float(((a.mean - b.mean).square().sum() + spread - 2 * overlap).clamp_min(0))


def _factor(covariance: Tensor) -> Tensor:
    """F (R, D) with FᵀF = Σ, of its rank: square roots of eigenvalues that are rounding would not be small."""
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > values[-1].clamp_min(0) * len(values) * torch.finfo(values.dtype).eps
    return (vectors[:, kept] * values[kept].sqrt()).T
