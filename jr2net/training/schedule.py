"""Learning-rate schedule as a pure function of the step, so that a resumed run continues exactly."""

from __future__ import annotations

import math

from jr2net.config import OptimizerConfig


def learning_rate(step: int, optimizer: OptimizerConfig, base: float | None = None) -> float:
    """Learning rate at ``step`` (0 … steps-1): linear warm-up, then, depending on ``optimizer.decay``, constant, half a
    cosine down to 2 % of ``base``, or ``base`` / 5 in the second half (as Deng et al. 2019 after epoch 10 of 20).

    ``base`` replaces the configured rate (DCNet's discriminator has its own).
    """
    base = optimizer.learning_rate if base is None else base
    if step < optimizer.warmup:
        return base * (step + 1) / optimizer.warmup
    if optimizer.decay == "none":
        return base
    if optimizer.decay == "step":
        return base if 2 * step < optimizer.steps else 0.2 * base
    progress = (step - optimizer.warmup) / max(1, optimizer.steps - optimizer.warmup)
    return base * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
