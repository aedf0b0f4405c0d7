"""The log of a training: one JSON line per step, in one file per stretch between two savings of the state.

A line has ``step``, the losses by name, ``learning_rate``, ``images_per_second`` and ``<phase>_seconds``. A run that
goes on from a saving writes the files of the steps it repeats again.
"""

from __future__ import annotations

import json
from typing import Any

from jr2net import storage

Record = dict[str, Any]


def write_log(folder: str, records: list[Record]) -> None:
    """Stores consecutive records under ``log/`` of a stage's folder (or URI)."""
    if records:
        lines = "".join(json.dumps(record) + "\n" for record in records)
        storage.write_bytes(storage.join(folder, "log", f"{records[0]['step']:08d}.jsonl"), lines.encode())


def read_log(folder: str) -> str:
    """All lines of a stage's log in the order of their steps; empty if it never trained."""
    place = storage.join(folder, "log")
    return "".join(
        storage.read_bytes(storage.join(place, name)).decode() for name in storage.list_files(place, ".jsonl")
    )
