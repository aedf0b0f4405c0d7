"""A dataset of pairs in a storage: every shard once, with a manifest beside it, and ``dataset.json`` last of all.

    sources.json                         what the pairs are made from, fixed before the first of them
    pairs/3f/pairs-000123.parquet        a shard; folders spread the keys over S3's partitions
    manifests/3f/pairs-000123.json       its checksum, counts, rejects; it stands when the shard is finished
    dataset.json                         everything is there: counts, digests, histograms, licences

All of it is the same bytes whoever makes it. What a killed worker leaves, a shard without its manifest, is made again
and found to be the same.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from jr2net.config import SynthesisConfig
from jr2net.data.pairs import COLUMNS, DESCRIPTION, Pair, encode_pair_shard
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.storage import iter_files, join, put_once_or_same, read_bytes
from jr2net.storage.parquet import ShardError
from jr2net.synthesis.gates import COLUMNS as SCORES
from jr2net.synthesis.maker import ShardResult
from jr2net.synthesis.plan import shard_count, shard_range

SOURCES = "sources.json"
PAIRS, MANIFESTS = "pairs", "manifests"
BINS = 10
"""Of each shape's histogram, equally wide over [0, 1]."""

_NUMBER = re.compile(r"pairs-(\d+)\.(?:parquet|json)$")
_READERS = 32


def shard_name(index: int) -> str:
    """Relative path of a shard."""
    return f"{PAIRS}/{_spread(index)}/pairs-{index:06d}.parquet"


def manifest_name(index: int) -> str:
    """Relative path of a shard's manifest."""
    return f"{MANIFESTS}/{_spread(index)}/pairs-{index:06d}.json"


def write_shard(folder: str, index: int, made: ShardResult) -> dict[str, Any]:
    """Writes a shard, then its manifest, each once; returns the manifest. A shard without pairs is a manifest alone.

    Raises StorageError where the storage fails, or holds another shard of this number.
    """
    content = encode_pair_shard(shard_name(index), made.pairs) if made.pairs else b""
    manifest = {
        "shard": shard_name(index),
        "planned": made.planned,
        "pairs": len(made.pairs),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "rejected": _counts(made.rejected),
        "quarantined": dict(sorted(made.quarantined.items())),
        "licenses": _counts(made.licenses),
        "histograms": histograms(made.pairs).tolist(),
    }
    if content:
        put_once_or_same(join(folder, shard_name(index)), content)
    put_once_or_same(join(folder, manifest_name(index)), _compact(manifest))
    return manifest


def missing_shards(folder: str, settings: SynthesisConfig) -> np.ndarray:
    """Numbers of the shards that are not finished, ascending: one listing, one byte a shard."""
    there = np.zeros(shard_count(settings), bool)
    for name, _ in iter_files(join(folder, MANIFESTS)):
        if (found := _NUMBER.search(name)) is not None and int(found[1]) < len(there):
            there[int(found[1])] = True
    return np.flatnonzero(~there)


def read_manifests(folder: str, indices: Iterable[int]) -> Iterator[dict[str, Any]]:
    """The manifests of some shards in order, read many at a time, since a distant storage answers slowly."""

    def read(index: int) -> dict[str, Any]:
        uri = join(folder, manifest_name(index))
        try:
            return json.loads(read_bytes(uri))
        except ValueError as error:
            raise ShardError(f"{uri}: not JSON ({error}); remove it to have its shard made again") from None

    with ThreadPoolExecutor(_READERS) as pool:
        waiting = list(indices)
        for first in range(0, len(waiting), 1024):  # a bounded part of them is in memory
            yield from pool.map(read, waiting[first : first + 1024])


def describe(folder: str, settings: SynthesisConfig, seed: int, digests: Mapping[str, str]) -> dict[str, Any]:
    """What ``dataset.json`` says of a dataset all of whose shards are finished."""
    shards: dict[str, dict[str, Any]] = {}
    rejected: Counter[str] = Counter()
    licenses: Counter[str] = Counter()
    quarantined: dict[str, str] = {}
    counts = np.zeros((len(ARKIT_NAMES), BINS), np.int64)
    for manifest in read_manifests(folder, range(shard_count(settings))):
        if manifest["pairs"]:
            shards[manifest["shard"]] = {name: manifest[name] for name in ("pairs", "bytes", "sha256")}
        rejected.update(manifest["rejected"])
        licenses.update(manifest["licenses"])
        quarantined |= manifest["quarantined"]
        counts += np.array(manifest["histograms"])
    return {
        "expression": list(ARKIT_NAMES),
        "columns": [*COLUMNS, *SCORES],
        "planned": settings.pairs,
        "pairs": sum(shard["pairs"] for shard in shards.values()),
        "pairs_per_shard": settings.pairs_per_shard,
        "rejected": _counts(rejected),
        "quarantined": dict(sorted(quarantined.items())),
        "licenses": _counts(licenses),
        "sources": json.loads(read_bytes(join(folder, SOURCES))),
        "digests": dict(digests),
        "seed": seed,
        "histograms": {
            "edges": [edge / BINS for edge in range(BINS + 1)],
            "counts": {name: row.tolist() for name, row in zip(ARKIT_NAMES, counts, strict=True)},
        },
        "shards": shards,
    }


def finish(folder: str, settings: SynthesisConfig, seed: int, digests: Mapping[str, str]) -> dict[str, Any]:
    """Writes ``dataset.json``, which says that the dataset is complete, and returns it."""
    description = describe(folder, settings, seed, digests)
    put_once_or_same(join(folder, DESCRIPTION), (json.dumps(description, indent=1) + "\n").encode())
    return description


def histograms(pairs: Sequence[Pair]) -> np.ndarray:
    """(51, BINS) int64: how many pairs have each shape how strongly; 1.0 falls into the last bin."""
    counts = np.zeros((len(ARKIT_NAMES), BINS), np.int64)
    if pairs:
        bins = np.minimum((np.stack([pair.expression for pair in pairs]) * BINS).astype(int), BINS - 1)
        np.add.at(counts, (np.arange(len(ARKIT_NAMES)), bins), 1)
    return counts


def planned_in(settings: SynthesisConfig, indices: Iterable[int]) -> int:
    """How many pairs these shards are planned to hold."""
    return sum(last - first for first, last in (shard_range(settings, index) for index in indices))


def _spread(index: int) -> str:
    return hashlib.sha256(str(index).encode()).hexdigest()[:2]


def _counts(counter: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in sorted(counter.items()) if count}


def _compact(content: Any) -> bytes:
    return (json.dumps(content, separators=(",", ":"), sort_keys=True) + "\n").encode()
