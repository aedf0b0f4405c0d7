"""How long a run will take: what its configuration expects of each stage, corrected by what the finished ones took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jr2net.config import Config
from jr2net.config.stages import first_round
from jr2net.run.cascade import ALL_STAGES
from jr2net.run.environment import duration


def expected_minutes(config: Config) -> dict[str, float]:
    """By stage, where the configuration says so; a stage of the second round takes as long as that of the first."""
    known = {str(stage): minutes for stage, minutes in config.scaling.expected_minutes.items()}
    return {
        stage: known.get(stage, known.get(first_round(stage), 0.0))
        for stage in ALL_STAGES
        if {stage, first_round(stage)} & known.keys()
    }


class Forecast:
    """What is left of a run.

    stages: those that have not finished, in the order in which they run. expected_minutes: by stage, on the machine
    that the configuration was written for; without one of them nothing is forecast.
    """

    def __init__(self, stages: Sequence[str], expected_minutes: Mapping[Any, float]) -> None:
        self._stages = list(stages)
        known = all(stage in expected_minutes for stage in stages)
        self._expected = {stage: 60 * expected_minutes[stage] for stage in stages} if known else None
        self._taken = self._planned = 0.0

    @property
    def total(self) -> float | None:
        """Seconds that all stages will take; None where that is unknown."""
        return None if self._expected is None else sum(self._expected.values())

    def after(self, stage: str) -> float | None:
        """Seconds from the end of ``stage`` to the end of the run; None where that is unknown.

        This machine is taken to be slower or faster than expected by as much as it was in the stages so far.
        """
        if self._expected is None:
            return None
        later = self._stages[self._stages.index(stage) + 1 :]
        return self._pace() * sum(self._expected[other] for other in later)

    def finished(self, stage: str, seconds: float) -> None:
        """Takes note of the seconds that a stage took."""
        if self._expected is not None:
            self._taken += seconds
            self._planned += self._expected[stage]

    def summary(self) -> str:
        """One line on the whole run, before it starts."""
        count = "1 stage" if len(self._stages) == 1 else f"{len(self._stages)} stages"
        if self._expected is None or not self._stages:
            return f"{count} to run: {', '.join(self._stages) or 'none'}"
        times = ", ".join(f"{stage} {duration(seconds)}" for stage, seconds in self._expected.items())
        return f"{count} to run, about {duration(sum(self._expected.values()))} in all: {times}"

    def _pace(self) -> float:
        return self._taken / self._planned if self._planned else 1.0


def time_left(seconds: float, after: float | None) -> str:
    """What is left of a stage, in seconds, and of the whole run if ``after``, the seconds behind it, are known."""
    text = f"time left {duration(seconds)}"
    return text if after is None else f"{text}, of the whole run {duration(seconds + after)}"
