"""What a synthesis tells while it runs, and how long each phase took when it is done."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping

from jr2net import storage
from jr2net.run.environment import duration

INTERVAL = 10.0  # seconds between two lines
THROUGHPUT = "throughput.json"
"""Beside the dataset: how fast it was made. It differs between runs, and no reader of the dataset needs it."""


class SynthesisProgress:
    """wanted: pairs that this attempt has to make, of all ``pairs`` of the dataset."""

    def __init__(self, folder: str, pairs: int, wanted: int) -> None:
        self.folder, self.wanted = folder, wanted
        self.planned = self.kept = 0
        self.rejected: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self._start = self._shown = time.monotonic()
        if wanted < pairs:
            print(f"[synthesis] goes on: {pairs - wanted} of {pairs} pairs are there", flush=True)

    def add(self, planned: int, kept: int, rejected: Mapping[str, int], seconds: Mapping[str, float]) -> None:
        """A shard is there."""
        self.planned += planned
        self.kept += kept
        self.rejected.update(rejected)
        self.seconds.update(seconds)  # type: ignore[arg-type]  # a Counter adds floats as well
        now = time.monotonic()
        if now - self._shown > INTERVAL or self.planned == self.wanted:
            self._shown = now
            pace = self.planned / (now - self._start)
            rejects = ", ".join(f"{count} {reason}" for reason, count in self.rejected.most_common()) or "none"
            print(
                f"[synthesis] {self.planned} of {self.wanted} pairs, {pace:.1f} pairs/s, rejected: {rejects}, "
                f"time left {duration((self.wanted - self.planned) / pace)}",
                flush=True,
            )

    def finish(self) -> None:
        """Keeps the figures of the last attempt that made something."""
        place = storage.join(self.folder, THROUGHPUT)
        throughput = {
            "pairs": self.kept,
            "seconds": time.monotonic() - self._start,
            "phases": {phase: round(seconds, 3) for phase, seconds in self.seconds.most_common()},
        }
        if self.planned or not storage.exists(place):
            storage.write_bytes(place, json.dumps(throughput).encode())
