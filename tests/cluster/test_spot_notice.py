"""A notice of AWS reaches Ray once, and without one nothing happens. Stand-ins of curl and ray record their calls."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "cluster" / "spot_notice.sh"
CURL = """#!/bin/sh
case "$*" in
*api/token*) echo token ;;
*"token: token"*) echo look >> "$CALLS"; [ "$(wc -l < "$CALLS")" -ge 3 ] ;;
esac
"""
RAY = """#!/bin/sh
echo "$@" >> "$CALLS"
"""


def test_a_notice_drains_the_node(tmp_path: Path) -> None:
    for name, content in {"curl": CURL, "ray": RAY}.items():
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    calls = tmp_path / "calls"
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "CALLS": str(calls), "RAY_HEAD_IP": "head"}
    subprocess.run(["sh", SCRIPT], env=environment | {"SPOT_NOTICE_EVERY_S": "0"}, check=True, timeout=60)
    *looks, command = calls.read_text().splitlines()
    assert looks == ["look"] * 3
    assert command.startswith("drain-node --address=head:6379 --reason=DRAIN_NODE_REASON_PREEMPTION")
    assert command.endswith("--deadline-remaining-seconds=110")
