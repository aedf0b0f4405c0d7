"""How well the 51 coefficients are recovered, and whether a network has collapsed to one face for every picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jr2net.face.arkit import ARKIT_NAMES


@dataclass(frozen=True)
class ExpressionErrors:
    """Per blendshape, each (51,), order of ``ARKIT_NAMES``.

    mae          mean absolute error
    correlation  Pearson's r between predicted and true coefficient; NaN where either never changes
    spread       standard deviation of the prediction
    truth_spread standard deviation of the truth
    """

    mae: Tensor
    correlation: Tensor
    spread: Tensor
    truth_spread: Tensor

    def summary(self) -> dict[str, float]:
        """``mae``; ``correlation``: mean over the shapes that move in both; ``spread_ratio``: how much of the truth's
        variation the prediction has (0 is a network that always answers the same face)."""
        return {
            "mae": float(self.mae.mean()),
            "correlation": float(self.correlation.nanmean()),
            "spread_ratio": float(self.spread.square().sum().sqrt() / self.truth_spread.square().sum().sqrt()),
        }

    def by_name(self) -> dict[str, dict[str, float]]:
        """name -> {mae, correlation}, as the report lists them."""
        return {
            name: {"mae": float(mae), "correlation": float(r)}
            for name, mae, r in zip(ARKIT_NAMES, self.mae, self.correlation)
        }


def expression_errors(predicted: Tensor, truth: Tensor) -> ExpressionErrors:
    """Coefficients (M, 51) against the true (M, 51)."""
    predicted, truth = predicted.double(), truth.double()
    spread, truth_spread = predicted.std(0, correction=0), truth.std(0, correction=0)
    covariance = ((predicted - predicted.mean(0)) * (truth - truth.mean(0))).mean(0)
    moves = (spread > 1e-6) & (truth_spread > 1e-6)
    correlation = torch.where(moves, covariance / (spread * truth_spread), torch.nan)
    return ExpressionErrors((predicted - truth).abs().mean(0), correlation, spread, truth_spread)
