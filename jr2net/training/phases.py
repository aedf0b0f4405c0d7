"""Where the time of a step goes."""

from __future__ import annotations

import time


class Phases:
    """A stopwatch: every moment belongs to one phase, so that the phases add up to the whole.

    ``data`` (waiting for the batch), ``forward`` (networks and losses), ``render``, ``backward`` (with the exchange of
    gradients), ``optimizer`` and ``report`` (log and state). On a GPU, work that is still under way counts where it is
    waited for.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._mark = time.monotonic()

    def end(self, phase: str) -> None:
        """What went by since the last call was ``phase``."""
        now = time.monotonic()
        self._seconds[phase] = self._seconds.get(phase, 0.0) + now - self._mark
        self._mark = now

    def take(self) -> dict[str, float]:
        """Seconds by phase since the last ``take``."""
        seconds, self._seconds = self._seconds, {}
        return {phase: round(value, 6) for phase, value in seconds.items()}
