"""The log of a training: every step once, read from its files together."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from jr2net import storage
from jr2net.training.log import Record, read_log, write_log


def records(first: int, last: int, loss: float) -> list[Record]:
    return [{"step": step, "losses": {"total": loss}, "seconds": {}} for step in range(first, last)]


def test_steps_that_are_repeated_count_once(tmp_path: Path) -> None:
    write_log(str(tmp_path), records(1, 6, 1.0))
    write_log(str(tmp_path), records(4, 9, 2.0))  # resumed from step 3
    found = read_log(str(tmp_path))
    assert [record["step"] for record in found] == list(range(1, 9))
    assert [record["losses"]["total"] for record in found] == [1.0] * 3 + [2.0] * 5


def test_files_are_read_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, the 3,000 of a long training would take minutes on S3."""
    for first in range(0, 80, 10):
        write_log(str(tmp_path), records(first, first + 10, 1.0))
    together, read = threading.Barrier(8, timeout=60), storage.read_bytes

    def wait_for_others(uri: str) -> bytes:
        together.wait()
        return read(uri)

    monkeypatch.setattr(storage, "read_bytes", wait_for_others)
    assert [record["step"] for record in read_log(str(tmp_path))] == list(range(80))


def test_a_stage_that_was_never_trained_has_none(tmp_path: Path) -> None:
    assert read_log(str(tmp_path / "recnet")) == []
