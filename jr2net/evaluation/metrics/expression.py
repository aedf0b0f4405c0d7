"""Errors of the 51 expression coefficients, and detection of collapse to a constant prediction."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jr2net.face.arkit import ARKIT_NAMES


@dataclass(frozen=True)
class ExpressionErrors:
    """Per blendshape, each (51,), order of ``ARKIT_NAMES``.

    mae          mean absolute error
    correlation  Pearson's r between predicted and true coefficient; NaN if either is constant
    std          standard deviation of the prediction
    true_std     standard deviation of the ground truth
    """

    mae: Tensor
    correlation: Tensor
    std: Tensor
    true_std: Tensor

    def summary(self) -> dict[str, float]:
        """``mae``: mean over blendshapes; ``correlation``: mean over blendshapes that vary in both; ``spread_ratio``:
        ratio of the standard deviations of prediction and ground truth (0 for a constant prediction)."""
        return {
            "mae": float(self.mae.mean()),
            "correlation": float(self.correlation.nanmean()),
            "spread_ratio": float(self.std.square().sum().sqrt() / self.true_std.square().sum().sqrt()),
        }

    def by_name(self) -> dict[str, dict[str, float]]:
        """Blendshape -> {mae, correlation}, as in the report."""
        return {
            name: {"mae": float(mae), "correlation": float(r)}
            for name, mae, r in zip(ARKIT_NAMES, self.mae, self.correlation)
        }


def expression_errors(predicted: Tensor, truth: Tensor) -> ExpressionErrors:
    """Errors of predicted coefficients (M, 51) against the ground truth (M, 51)."""
    predicted, truth = predicted.double(), truth.double()
    std, true_std = predicted.std(0, correction=0), truth.std(0, correction=0)
    covariance = ((predicted - predicted.mean(0)) * (truth - truth.mean(0))).mean(0)
    varies = (std > 1e-6) & (true_std > 1e-6)
    correlation = torch.where(varies, covariance / (std * true_std), torch.nan)
    return ExpressionErrors((predicted - truth).abs().mean(0), correlation, std, true_std)
