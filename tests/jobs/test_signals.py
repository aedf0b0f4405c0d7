"""Ctrl-C ends jobs and the server with the shell's status and without a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
from jobs.signals import stop_quietly
stop_quietly()
try:
    print("ready", flush=True)
    signal.pause()
finally:
    signal.raise_signal(signal.SIGINT)  # a second Ctrl-C does not interrupt the clean-up
    print("cleaned up", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_process_quietly(number: signal.Signals) -> None:
    program = "import signal" + PROGRAM.replace("SIGINT", number.name)
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=-1, stderr=-1, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.communicate(timeout=60) == ("cleaned up\n", "")
    assert process.returncode == 128 + number
