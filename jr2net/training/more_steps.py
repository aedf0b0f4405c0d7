"""Whether a training can go on with another total number of steps: where its steps so far would have been the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jr2net.config import Config
from jr2net.config.stages import training_section
from jr2net.training.flow3d import flow3d_rate, phase_starts
from jr2net.training.schedule import learning_rate

FRACTIONS = {
    "recnet": ("photometric_from",),
    "dcnet": ("adversarial_from",),
    "flow3d": ("refine_from", "adversarial_from", "inpaint_from"),
    "etnet": ("squared_until",),
    "recaugnet": (),
    "reccopynet": (),
    "detector": (),
}
"""Section of a training -> its settings that are a fraction of the steps, at which something begins or ends."""


def changed_by_total(config: Config, stage: str, total: int, taken: int) -> list[str]:
    """The settings through which the first ``taken`` steps of a stage depend on the total number of steps.

    total: the other number, which the training had before. Empty if it can go on from step ``taken`` exactly.
    """
    section = training_section(config, stage)
    now = getattr(config, section)
    before = now.model_copy(update={"optimizer": now.optimizer.model_copy(update={"steps": total})})
    planned, earlier = _timeline(section, now), _timeline(section, before)
    return [
        f"{section}.{name}"
        for name in planned
        if any(planned[name](step) != earlier[name](step) for step in range(taken))
    ]


def _timeline(name: str, section: Any) -> dict[str, Callable[[int], float | bool]]:
    """By setting, what of a step depends on the total number of steps."""
    optimizer = section.optimizer
    starts = {field: getattr(section, field) * optimizer.steps for field in FRACTIONS[name]}
    timeline: dict[str, Callable[[int], float | bool]] = {
        "optimizer.decay": lambda step: learning_rate(step, optimizer)
    }
    if name == "flow3d":
        timeline["optimizer.decay"] = lambda step: flow3d_rate(step, section)
        starts |= dict(zip(("refine_from", "inpaint_from"), phase_starts(section), strict=True))
    return timeline | {field: lambda step, start=start: step >= start for field, start in starts.items()}
