"""Progress of films, on standard error."""

from __future__ import annotations

import sys
import time

_PROGRESS_S = 5.0
"""Seconds between lines of progress where it is not shown on a terminal."""


class Progress:
    """Frames done, their rate and the time left: on one line of a terminal, else a line now and then."""

    def __init__(self, count: int) -> None:
        self.count, self.start, self.shown_at = count, time.monotonic(), 0.0
        self.terminal = sys.stderr.isatty()

    def show(self, done: int) -> None:
        seconds = time.monotonic() - self.start
        if not self.terminal and seconds < self.shown_at + _PROGRESS_S:
            return
        self.shown_at = seconds
        rate = done / max(seconds, 1e-6)
        left = f" of {self.count}, {max(0, self.count - done) / rate:.0f} s left" if self.count else ""
        line = f"{done} frames{left}, {rate:.1f} frames/s"
        print(f"\r{line} " if self.terminal else line, end="" if self.terminal else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.terminal:
            print(file=sys.stderr)
