"""What finishing and verifying a dataset keep in memory does not grow with the number of its shards.

The shards are pretended: their manifests are made when they are read.
"""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from darkening_maker import SETTINGS
from small_datasets import DIGESTS, SOURCES

from jr2net.data.pairs import read_description
from jr2net.storage import write_bytes
from jr2net.synthesis import dataset, shards, verify

PAIRS = 500
FEWEST, FEW, MANY = 20, 1_000, 5_000
BYTES_A_SHARD = 32
"""Held while a dataset is finished or verified: some arrays, and no text."""

BUFFERS = 1 << 20
"""Bytes of buffers that few shards do not fill: a part of the index is read and written at a time."""


def content_of(index: int) -> str:
    return sha256(f"content {index}".encode()).hexdigest()


def pretended_manifest(folder: str, index: int) -> dict[str, Any]:
    return {
        "shard": shards.shard_name(index, content_of(index)),
        "planned": PAIRS,
        "pairs": PAIRS - 2,
        "bytes": 1 << 20,
        "sha256": content_of(index),
        "rejected": {"identity": 2},
        "quarantined": {f"person {index}/clip/0": "image is not a square JPEG or PNG"},
        "licenses": {"CC0": PAIRS - 2},
        "histograms": [[PAIRS - 2, *[0] * (shards.BINS - 1)]] * 51,
    }


def peak_of(work: Callable[[], Any]) -> tuple[Any, int]:
    """The result of ``work``, and the most bytes that Python, numpy and Arrow held meanwhile."""
    arrow = pa.total_allocated_bytes()
    tracemalloc.start()
    result = work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return result, peak + pa.total_allocated_bytes() - arrow


def test_a_dataset_is_finished_and_verified_in_flat_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "read_manifest", pretended_manifest)
    peaks = {}
    for count in (FEWEST, FEW, MANY):  # the first pays for what is imported and cached
        folder = str(tmp_path / str(count))
        settings = SETTINGS.model_copy(update={"pairs": count * PAIRS, "pairs_per_shard": PAIRS})
        write_bytes(f"{folder}/{dataset.SOURCES}", json.dumps(SOURCES).encode())

        def listed(uri: str, count: int = count) -> Iterator[tuple[str, int]]:
            for index in reversed(range(count)):
                yield pretended_manifest("", index)["shard"], 1 << 20
                yield shards.manifest_name(index), 2000
            yield from ((name, 1) for name in ("README.md", "sources.json", "dataset.json"))

        def verified(folder: str = folder) -> list[str]:
            description = read_description(folder)
            listing = verify.Listing(folder, description)
            checked = 0
            for batch in listing.batches(16):
                checked += sum(shard.pairs for shard in batch)
            assert checked == description["pairs"]
            found = [*verify.check_objects(folder, description, listing), *verify.check_counts(description, listing)]
            return found + verify.check_files(folder, description)

        _, finishing = peak_of(lambda f=folder, s=settings: dataset.finish(f, s, 0, DIGESTS, 32))  # type: ignore[misc]
        monkeypatch.setattr(verify, "iter_files", listed)
        problems, verifying = peak_of(verified)
        assert problems == []
        peaks[count] = (finishing, verifying)
    for few, many, allowed in zip(peaks[FEW], peaks[MANY], (BYTES_A_SHARD, BYTES_A_SHARD), strict=True):
        assert many - few < allowed * (MANY - FEW) + BUFFERS, peaks
    sizes = [(tmp_path / str(count) / "dataset.json").stat().st_size for count in (FEW, MANY)]
    assert sizes[1] < sizes[0] + 5_000


def test_only_the_first_thousand_quarantined_are_listed(tmp_path: Path) -> None:
    summary = dataset.Summary(10_000)
    for index in np.random.default_rng(0).permutation(10_000).tolist():
        manifest = pretended_manifest("", index) | {"quarantined": {f"{index:06d}": "reason"}}
        summary.add(index, manifest)
    assert list(summary.quarantined) == [f"{index:06d}" for index in range(dataset.QUARANTINED)]
    assert (summary.shards, summary.pairs) == (10_000, 10_000 * (PAIRS - 2))
