import math

import torch

from jr2net.evaluation.metrics.expression import expression_errors
from jr2net.face.arkit import ARKIT_NAMES


def coefficients() -> torch.Tensor:
    truth = torch.rand(60, 51, generator=torch.Generator().manual_seed(0))
    truth[:, 3] = 0  # a constant coefficient
    return truth


def test_perfect_prediction():
    errors = expression_errors(coefficients(), coefficients())
    summary = errors.summary()
    assert summary["mae"] == 0
    assert abs(summary["correlation"] - 1) < 1e-9 and abs(summary["spread_ratio"] - 1) < 1e-9
    assert math.isnan(errors.by_name()[ARKIT_NAMES[3]]["correlation"])
    assert list(errors.by_name()) == list(ARKIT_NAMES)


def test_scaled_prediction_keeps_correlation_and_reduces_spread():
    summary = expression_errors(coefficients() * 0.5, coefficients()).summary()
    assert abs(summary["correlation"] - 1) < 1e-9
    assert abs(summary["spread_ratio"] - 0.5) < 1e-9


def test_constant_prediction_has_no_spread():
    truth = coefficients()
    constant = truth[:1].expand(60, -1)
    assert expression_errors(constant, truth).summary()["spread_ratio"] < 1e-6
