"""Quiet ends: Ctrl-C and SIGTERM exit without a traceback, and clean-ups run undisturbed."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn


def stop_quietly() -> None:
    """From now on SIGINT and SIGTERM end the process by SystemExit. To be called before slow imports."""
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """Ends the process with the shell's status for the signal; further ones do not interrupt the clean-up."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)
