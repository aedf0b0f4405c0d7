"""Progress of a running synthesis, and its throughput and time by phase at the end."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping

from jr2net import storage
from jr2net.run.forecast import time_left

INTERVAL = 10.0  # seconds between two lines of progress
THROUGHPUT = "throughput.json"
"""File with the throughput of the run; it is not part of the dataset, since it differs between runs."""


class SynthesisProgress:
    """Counts the pairs made and prints progress.

    pairs: of the whole dataset; missing: those that this attempt has to make; after: seconds that the stages behind
    synthesis will take, if known.
    """

    def __init__(self, folder: str, pairs: int, missing: int, after: float | None = None) -> None:
        self.folder, self.missing, self.after = folder, missing, after
        self.planned = self.kept = 0
        self.rejected: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self._start = self._printed = time.monotonic()
        if missing < pairs:
            print(f"[synthesis] resumes: {pairs - missing} of {pairs} pairs exist", flush=True)

    def add(self, planned: int, kept: int, rejected: Mapping[str, int], seconds: Mapping[str, float]) -> None:
        """Counts a finished shard; ``planned`` and ``kept`` are numbers of pairs."""
        self.planned += planned
        self.kept += kept
        self.rejected.update(rejected)
        self.seconds.update(seconds)  # type: ignore[arg-type]  # a Counter adds floats as well
        now = time.monotonic()
        if now - self._printed > INTERVAL or self.planned == self.missing:
            self._printed = now
            pairs_per_second = self.planned / (now - self._start)
            rejects = ", ".join(f"{count} {reason}" for reason, count in self.rejected.most_common()) or "none"
            left = time_left((self.missing - self.planned) / pairs_per_second, self.after)
            print(
                f"[synthesis] {self.planned} of {self.missing} pairs, {pairs_per_second:.1f} pairs/s, "
                f"rejected: {rejects}, {left}",
                flush=True,
            )

    def finish(self) -> None:
        """Writes the throughput, unless this attempt made nothing and an earlier one has written it."""
        uri = storage.join(self.folder, THROUGHPUT)
        throughput = {
            "pairs": self.kept,
            "seconds": time.monotonic() - self._start,
            "phases": {phase: round(seconds, 3) for phase, seconds in self.seconds.most_common()},
        }
        if self.planned or not storage.exists(uri):
            storage.write_bytes(uri, json.dumps(throughput).encode())
