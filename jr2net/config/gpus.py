"""The sizes of the trainings on another number of GPUs: batch sizes, learning rates, steps and moving averages."""

from __future__ import annotations

import copy
import math
from typing import Any

TRAININGS = ("recnet", "dcnet", "flow3d", "etnet", "recaugnet", "detector")
_OTHER_RATES = ("discriminator_learning_rate", "source_learning_rate")
_AVERAGES = ("ema", "average")  # decays of moving averages


def scaled_to(tree: dict[str, Any], gpus: int) -> dict[str, Any]:
    """The settings of a whole configuration, made for ``scaling.workers`` GPUs, for another number of them.

    With k times as many GPUs a global batch has k times as many samples, as many on each GPU as before. Adam's learning
    rates grow by √k (Malladi et al. 2022), a moving average's decay ρ becomes ρᵏ (Busbridge et al. 2023), and there
    are k times fewer steps, so that a training sees as many samples. A warm-up has as many steps as before. There
    are k times as many synthesis actors.
    """
    scaled = copy.deepcopy(tree)
    scaling = scaled["scaling"]
    factor = gpus / scaling["workers"]
    scaling["workers"] = gpus
    scaling["synthesis_actors"] = max(1, round(scaling["synthesis_actors"] * factor))
    scaling["synthesis_actors_min"] = min(scaling["synthesis_actors_min"], scaling["synthesis_actors"])
    for name in TRAININGS:
        _scale(scaled[name], factor)
    if scaled["reccopynet"]["optimizer"] is not None:
        _scale(scaled["reccopynet"], factor)
    return scaled


def _scale(training: dict[str, Any], factor: float) -> None:
    optimizer = training["optimizer"]
    batch_size = max(1, round(optimizer["batch_size"] * factor))
    factor = batch_size / optimizer["batch_size"]
    optimizer["batch_size"] = batch_size
    optimizer["steps"] = max(1, round(optimizer["steps"] / factor))
    optimizer["learning_rate"] = _digits(optimizer["learning_rate"] * math.sqrt(factor), 3)
    for rate in _OTHER_RATES:
        if rate in training:
            training[rate] = _digits(training[rate] * math.sqrt(factor), 3)
    for average in _AVERAGES:
        if average in training:
            training[average] = _digits(training[average] ** factor, 6)


def _digits(number: float, digits: int) -> float:
    return float(f"{number:.{digits}g}")
