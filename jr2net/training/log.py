"""Training log: one JSON line per step, in JSON Lines files named after their first step.

A resumed run repeats the steps after the last checkpoint and overwrites their files.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jr2net import storage

Record = dict[str, Any]
"""Keys: ``step``, ``losses`` by name, ``learning_rate``, ``images_per_second`` and ``seconds`` by phase; at some steps
also ``validation``, losses by name, and ``warning``."""

_READERS = 16


def scalars(record: Record) -> dict[str, float]:
    """The numbers of a record by the names that TensorBoard and Ray show: ``loss/landmark``, ``seconds/data``, …"""
    groups = {"loss": record["losses"], "validation": record.get("validation", {}), "seconds": record["seconds"]}
    named = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
    return named | {name: record[name] for name in ("learning_rate", "images_per_second")}


def write_log(folder: str, records: list[Record]) -> None:
    """Writes consecutive records to ``log/`` of a stage's folder or URI."""
    if records:
        lines = "".join(json.dumps(record) + "\n" for record in records)
        storage.write_bytes(storage.join(folder, "log", f"{records[0]['step']:08d}.jsonl"), lines.encode())


def read_log(folder: str) -> list[Record]:
    """All records of a stage sorted by step, each step once; empty if it was never trained.

    A long training has thousands of files, so that several are read at a time: remote storage has a high latency.
    """
    uri = storage.join(folder, "log")
    records: dict[int, Record] = {}
    addresses = [storage.join(uri, name) for name in storage.list_files(uri, ".jsonl")]
    with ThreadPoolExecutor(_READERS) as pool:
        for content in pool.map(storage.read_bytes, addresses):
            records |= {record["step"]: record for record in map(json.loads, content.decode().splitlines())}
    return [records[step] for step in sorted(records)]
