"""Gauges that Prometheus sees for as long as what they tell of lasts.

A process reports a gauge to its machine's agent only if it was set since the last report (every 10 s:
``metrics_report_interval_ms``), and the agent forgets what is two reports old. So a gauge that is set once is gone
after half a minute, and one of something that hangs is gone just when it matters.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from ray.util.metrics import Gauge

INTERVAL_S = 4.0
"""Seconds between two times that every gauge is set; several to each of Ray's reports."""


class LastingGauges:
    """Keeps the newest value of gauges and sets it again and again, from one thread, until ``close``."""

    def __init__(self) -> None:
        self._values: dict[tuple[Gauge, tuple[tuple[str, str], ...]], float] = {}
        self._lock = threading.Lock()  # so that the thread sets no value that has just been replaced
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._set_again, name="gauges", daemon=True)
        self._thread.start()

    def set(self, gauge: Gauge, value: float, tags: Mapping[str, str] | None = None) -> None:
        """tags: besides the gauge's default ones."""
        given = tuple((tags or {}).items())
        with self._lock:
            self._values[gauge, given] = value
            gauge.set(value, dict(given))

    def close(self) -> None:
        """From now on Prometheus loses sight of them."""
        self._closed.set()
        self._thread.join()

    def _set_again(self) -> None:
        while not self._closed.wait(INTERVAL_S):
            with self._lock:
                for (gauge, tags), value in self._values.items():
                    gauge.set(value, dict(tags))
