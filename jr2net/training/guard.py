"""Stops a training that diverges, and warns of one that collapses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jr2net.errors import UserError

EXPLOSION_FACTOR = 1000.0
"""A loss above this multiple of its running mean counts as exploding."""

NEGLIGIBLE_LOSS = 1e-3
"""A loss up to this does not explode, whatever its mean: a part that has nothing to learn has a loss of about 0."""

COLLAPSE_DEVIATION = 0.002
"""Standard deviation of the expression coefficients (in [0, 1]) over a batch below which the network has collapsed."""

_WARMUP_STEPS = 100  # steps before losses and deviations are checked


class Divergence(UserError, ArithmeticError):
    """A training that cannot continue; the message names loss term, step and samples. A retry would not help."""


class NonFiniteLoss(Divergence):
    """A loss or a gradient became NaN or infinite."""


class ExplodingLoss(Divergence):
    """A loss is more than ``EXPLOSION_FACTOR`` times its running mean."""


class LossMonitor:
    """Checks the loss of one network against its running mean (of about the last 100 steps)."""

    def __init__(self) -> None:
        self._mean, self._steps = 0.0, 0

    def check(self, values: Mapping[str, float], step: int, samples: Sequence[object]) -> None:
        """Checks the weighted loss terms ``values`` of one step. Raises NonFiniteLoss or ExplodingLoss."""
        check_finite(values, step, samples)
        total = sum(values.values())
        if self._steps >= _WARMUP_STEPS and total > max(EXPLOSION_FACTOR * self._mean, NEGLIGIBLE_LOSS):
            worst = max(values, key=lambda term: values[term])
            raise ExplodingLoss(
                f"step {step}: the loss exploded to {total:.4g}, over {EXPLOSION_FACTOR:.0f} times its mean of "
                f"{self._mean:.4g}, mostly {worst} ({values[worst]:.4g}), on samples {_names(samples)}; "
                "lower the learning rate or check these samples"
            )
        self._steps += 1
        self._mean += (total - self._mean) / min(self._steps, _WARMUP_STEPS)


def check_finite(values: Mapping[str, float], step: int, samples: Sequence[object]) -> None:
    """Raises NonFiniteLoss if any value is NaN or infinite."""
    non_finite = [term for term, value in values.items() if not math.isfinite(value)]
    if non_finite:
        raise NonFiniteLoss(
            f"step {step}: {', '.join(non_finite)} became NaN or infinite on samples {_names(samples)}; "
            "lower the learning rate or check these samples"
        )


def collapse_warning(records: Sequence[Mapping[str, Any]]) -> str | None:
    """A warning if the network predicted the same expression for every face in these consecutive steps, else None.

    records: see ``jr2net.training.log``. The first steps are skipped, since networks start with a constant prediction.
    """
    deviations = [
        record["losses"]["expression_deviation"]
        for record in records
        if record["step"] > _WARMUP_STEPS and "expression_deviation" in record["losses"]
    ]
    if not deviations or (deviation := sum(deviations) / len(deviations)) >= COLLAPSE_DEVIATION:
        return None
    return (
        f"steps {records[0]['step']} to {records[-1]['step']}: expressions deviate by {deviation:.2g} between "
        "faces: the network predicts the mean face for every image; lower regularization_expression, or raise the "
        "landmark weight or the learning rate"
    )


def _names(samples: Sequence[object]) -> str:
    return ", ".join(map(str, samples[:8])) or "unknown"
