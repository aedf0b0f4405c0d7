"""What stops a training that has gone wrong, and what warns of one that is about to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jr2net.errors import UserError

EXPLOSION = 1000.0
"""Times its recent mean at which a loss counts as exploding."""

COLLAPSE = 0.002
"""Deviation of the expression coefficients (in [0, 1]) below which every face is answered with the same expression."""

_SETTLED = 100  # steps before a loss has a level and an answer has a spread


class Divergence(UserError, ArithmeticError):
    """A training that cannot go on; the message names term, step and samples. Not worth a retry."""


class NonFiniteLoss(Divergence):
    """A loss or a gradient became NaN or infinite."""


class ExplodingLoss(Divergence):
    """A loss is ``EXPLOSION`` times what it was."""


class LossWatch:
    """Knows the level of one network's loss and stops the step that leaves it."""

    def __init__(self) -> None:
        self._level, self._seen = 0.0, 0

    def check(self, values: Mapping[str, float], step: int, samples: Sequence[object]) -> None:
        """``values``: weighted terms of one step. Raises NonFiniteLoss or ExplodingLoss."""
        check_finite(values, step, samples)
        total = sum(values.values())
        if self._seen >= _SETTLED and total > EXPLOSION * self._level:
            worst = max(values, key=lambda term: values[term])
            raise ExplodingLoss(
                f"step {step}: the loss is {total:.4g}, {EXPLOSION:.0f} times its level of {self._level:.4g}, most of "
                f"it {worst} ({values[worst]:.4g}), on samples {_named(samples)}; lower the learning rate or look at "
                "these samples"
            )
        self._seen += 1
        self._level += (total - self._level) / min(self._seen, _SETTLED)


def check_finite(values: Mapping[str, float], step: int, samples: Sequence[object]) -> None:
    broken = [term for term, value in values.items() if not math.isfinite(value)]
    if broken:
        raise NonFiniteLoss(
            f"step {step}: {', '.join(broken)} became NaN or infinite on samples {_named(samples)}; "
            "lower the learning rate or look at these samples"
        )


def collapse_warning(records: Sequence[Mapping[str, Any]]) -> str | None:
    """What to tell about some consecutive steps in which every face got the same expression; None if none did.

    records: of ``jr2net.training.log``. Networks begin with one answer for all, so the first steps do not count.
    """
    spreads = [
        record["losses"]["expression_deviation"]
        for record in records
        if record["step"] > _SETTLED and "expression_deviation" in record["losses"]
    ]
    if not spreads or (spread := sum(spreads) / len(spreads)) >= COLLAPSE:
        return None
    return (
        f"steps {records[0]['step']} to {records[-1]['step']}: expressions deviate by {spread:.2g} from face to face, "
        "the network answers with the mean face; weaken regularization_expression, raise the landmarks' weight or the "
        "learning rate"
    )


def _named(samples: Sequence[object]) -> str:
    return ", ".join(map(str, samples[:8])) or "unknown"
