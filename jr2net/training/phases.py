"""Time per phase of a training step."""

from __future__ import annotations

import time


class Phases:
    """A stopwatch whose phases add up to the total time.

    Phases: ``data`` (waiting for the batch), ``forward`` (networks and losses), ``render``, ``backward`` (including the
    gradient all-reduce), ``optimizer`` and ``report`` (log and checkpoint). GPU work is asynchronous and counts in the
    phase that waits for it.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._mark = time.monotonic()

    def end(self, phase: str) -> None:
        """Adds the time since the last call to ``phase``."""
        now = time.monotonic()
        self._seconds[phase] = self._seconds.get(phase, 0.0) + now - self._mark
        self._mark = now

    def take(self) -> dict[str, float]:
        """Returns the seconds per phase since the last ``take`` and resets them."""
        seconds, self._seconds = self._seconds, {}
        return {phase: round(value, 6) for phase, value in seconds.items()}
