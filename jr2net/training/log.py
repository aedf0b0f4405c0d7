"""The log of a training: one JSON line per step, in one file per stretch between two savings of the state.

A run that goes on from a saving writes the files of the steps it repeats again.
"""

from __future__ import annotations

import json
from typing import Any

from jr2net import storage

Record = dict[str, Any]
"""``step``, ``losses`` by name, ``learning_rate``, ``images_per_second`` and ``seconds`` by phase."""


def write_log(folder: str, records: list[Record]) -> None:
    """Stores consecutive records under ``log/`` of a stage's folder (or URI)."""
    if records:
        lines = "".join(json.dumps(record) + "\n" for record in records)
        storage.write_bytes(storage.join(folder, "log", f"{records[0]['step']:08d}.jsonl"), lines.encode())


def read_log(folder: str) -> list[Record]:
    """All records of a stage in the order of their steps, each step once; none if it never trained."""
    place = storage.join(folder, "log")
    records: dict[int, Record] = {}
    for name in storage.list_files(place, ".jsonl"):
        lines = storage.read_bytes(storage.join(place, name)).decode().splitlines()
        records |= {record["step"]: record for record in map(json.loads, lines)}
    return [records[step] for step in sorted(records)]
