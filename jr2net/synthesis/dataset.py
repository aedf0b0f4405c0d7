"""A dataset of pairs in a storage: every shard is written once, with a manifest, and ``dataset.json`` last of all.

    sources.json                         what the pairs are made from, written before the first of them
    pairs/3f/pairs-000123.parquet        a shard; subfolders spread the keys over S3's partitions
    _manifests/3f/pairs-000123.json      its checksum, counts and rejects; written when the shard is finished
    index.arrow                          how many pairs each shard has, for training
    _validation/pairs.parquet            pairs of people that are held back, if ``data.validation`` is set
    README.md                            the dataset card; its header tells Hugging Face ``datasets`` what is data
    dataset.json                         the dataset is complete: counts, digests, histograms, licences

Every file has the same bytes whichever worker writes it. A shard without a manifest, left by a killed worker, is made
again and compared. ``pairs`` holds Parquet files alone, and Parquet readers skip folders that begin with an underscore.
A dataset that grows keeps its shards; only ``dataset.json``, the card and the index, which are made from them, are
replaced.
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
from jr2net.data.pair_index import INDEX, PairIndex
from jr2net.data.pairs import (
    COLUMNS,
    DESCRIPTION,
    PAIRS_PER_GROUP,
    VALIDATION_SHARD,
    Pair,
    encode_pair_shard,
    read_description,
)
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.storage import exists, iter_files, join, put_once_or_same, read_bytes, write_bytes
from jr2net.storage.parquet import ShardError
from jr2net.synthesis.card import CARD, encode_card
from jr2net.synthesis.gates import COLUMNS as SCORES
from jr2net.synthesis.maker import ShardResult
from jr2net.synthesis.plan import shard_count, shard_range

SOURCES = "sources.json"
PAIRS, MANIFESTS = "pairs", "_manifests"
BINS = 10
"""Number of bins of the histogram of each coefficient, of equal width over [0, 1]."""

LOCATIONS = {"sources", "captures", "driving", "reader"}
"""Settings that are paths: a dataset's bytes must not depend on where its inputs lie."""

PLACEMENT = {"batch_size"}
"""Settings that do not decide what the pairs are."""

_NUMBER = re.compile(r"pairs-(\d+)\.(?:parquet|json)$")
_READERS = 32


def shard_name(index: int) -> str:
    """Relative path of a shard."""
    return f"{PAIRS}/{_spread(index)}/pairs-{index:06d}.parquet"


def manifest_name(index: int) -> str:
    """Relative path of a shard's manifest."""
    return f"{MANIFESTS}/{_spread(index)}/pairs-{index:06d}.json"


def write_shard(folder: str, index: int, result: ShardResult) -> dict[str, Any]:
    """Writes a shard, then its manifest, each once; returns the manifest. A shard without pairs has a manifest only.

    Raises StorageError where the storage fails, or holds a different shard of the same number.
    """
    content = encode_pair_shard(shard_name(index), result.pairs) if result.pairs else b""
    manifest = {
        "shard": shard_name(index),
        "planned": result.planned,
        "pairs": len(result.pairs),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "rejected": _counts(result.rejected),
        "quarantined": dict(sorted(result.quarantined.items())),
        "licenses": _counts(result.licenses),
        "histograms": histograms(result.pairs).tolist(),
    }
    if content:
        put_once_or_same(join(folder, shard_name(index)), content)
    put_once_or_same(join(folder, manifest_name(index)), _compact(manifest))
    return manifest


def write_validation(folder: str, result: ShardResult) -> None:
    """Writes the shard of pairs to validate on, once. Raises ShardError where the gates rejected all of them."""
    if not result.pairs:
        reasons = ", ".join(f"{count} {reason}" for reason, count in _counts(result.rejected).items())
        raise ShardError(
            f"{folder}: none of {result.planned} pairs to validate on is left ({reasons}); lower the gates"
        )
    put_once_or_same(join(folder, VALIDATION_SHARD), encode_pair_shard(VALIDATION_SHARD, result.pairs))


def missing_shards(folder: str, settings: SynthesisConfig, grown_from: Sequence[int] = ()) -> np.ndarray:
    """Numbers of the unfinished shards, ascending. Costs one listing, and one byte of memory per shard."""
    finished = np.zeros(shard_count(settings, grown_from), bool)
    for name, _ in iter_files(join(folder, MANIFESTS)):
        if (found := _NUMBER.search(name)) is not None and int(found[1]) < len(finished):
            finished[int(found[1])] = True
    return np.flatnonzero(~finished)


def read_manifests(folder: str, indices: Iterable[int]) -> Iterator[dict[str, Any]]:
    """The manifests of some shards in order, read concurrently, because remote storage has high latency.

    Raises StorageError where one is missing, ShardError where one is damaged.
    """

    def read(index: int) -> dict[str, Any]:
        uri = join(folder, manifest_name(index))
        try:
            return json.loads(read_bytes(uri))
        except ValueError as error:
            raise ShardError(f"{uri}: not JSON ({error}); remove it to have its shard made again") from None

    with ThreadPoolExecutor(_READERS) as pool:
        waiting = list(indices)
        for first in range(0, len(waiting), 1024):  # bounds how many are in memory
            yield from pool.map(read, waiting[first : first + 1024])


def describe(
    folder: str,
    settings: SynthesisConfig,
    seed: int,
    digests: Mapping[str, str],
    image_size: int,
    grown_from: Sequence[int] = (),
) -> dict[str, Any]:
    """The content of ``dataset.json``, but for the card's checksum, once all shards are finished."""
    shards: dict[str, dict[str, Any]] = {}
    rejected: Counter[str] = Counter()
    licenses: Counter[str] = Counter()
    quarantined: dict[str, str] = {}
    counts = np.zeros((len(ARKIT_NAMES), BINS), np.int64)
    for manifest in read_manifests(folder, range(shard_count(settings, grown_from))):
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
        **({"grown_from": list(grown_from)} if grown_from else {}),
        "image_size": image_size,
        "rejected": _counts(rejected),
        "quarantined": dict(sorted(quarantined.items())),
        "licenses": _counts(licenses),
        "sources": json.loads(read_bytes(join(folder, SOURCES))),
        "digests": dict(digests),
        "seed": seed,
        "settings": settings.model_dump(mode="json", exclude=LOCATIONS | PLACEMENT),
        "histograms": {
            "edges": [edge / BINS for edge in range(BINS + 1)],
            "counts": {name: row.tolist() for name, row in zip(ARKIT_NAMES, counts, strict=True)},
        },
        "shards": shards,
    }


def finish(
    folder: str,
    settings: SynthesisConfig,
    seed: int,
    digests: Mapping[str, str],
    image_size: int,
    grown_from: Sequence[int] = (),
) -> dict[str, Any]:
    """Writes the index and the card, then ``dataset.json``, which marks the dataset as complete; returns the latter.

    digests: of all that a pair depends on besides the seed and its number (``pair_digests``), by name. Those of a
    smaller dataset are replaced. Raises StorageError where the folder holds another one.
    """
    description = describe(folder, settings, seed, digests, image_size, grown_from)
    write = write_bytes if _may_replace(folder, description) else put_once_or_same
    write(join(folder, INDEX), index_of(description["shards"]).encode())
    card = encode_card(description)
    write(join(folder, CARD), card)
    description["card"] = {"name": CARD, "sha256": hashlib.sha256(card).hexdigest()}
    write(join(folder, DESCRIPTION), (json.dumps(description, indent=1) + "\n").encode())
    return description


def index_of(shards: Mapping[str, Mapping[str, Any]]) -> PairIndex:
    """The index of the shards of ``dataset.json``."""
    pairs = [shard["pairs"] for shard in shards.values()]
    sizes = [shard["bytes"] for shard in shards.values()]
    return PairIndex.of(list(shards), pairs, sizes, [min(count, PAIRS_PER_GROUP) for count in pairs])


def histograms(pairs: Sequence[Pair]) -> np.ndarray:
    """(51, BINS) int64: a histogram of each coefficient over [0, 1]; 1.0 falls into the last bin."""
    counts = np.zeros((len(ARKIT_NAMES), BINS), np.int64)
    if pairs:
        bins = np.minimum((np.stack([pair.expression for pair in pairs]) * BINS).astype(int), BINS - 1)
        np.add.at(counts, (np.arange(len(ARKIT_NAMES)), bins), 1)
    return counts


def planned_in(settings: SynthesisConfig, indices: Iterable[int], grown_from: Sequence[int] = ()) -> int:
    """How many pairs these shards will hold if none is rejected."""
    return sum(last - first for first, last in (shard_range(settings, index, grown_from) for index in indices))


def cuts(settings: SynthesisConfig, grown_from: Iterable[int]) -> tuple[int, ...]:
    """Those of the former sizes of a dataset that are not the end of a full shard, and so change how it is cut."""
    found: list[int] = []
    for size in grown_from:
        if (size - (found[-1] if found else 0)) % settings.pairs_per_shard:
            found.append(size)
    return tuple(found)


def _may_replace(folder: str, description: Mapping[str, Any]) -> bool:
    """Whether the folder has no description yet, or that of fewer pairs that were made from the same."""
    if not exists(join(folder, DESCRIPTION)):
        return True
    found = read_description(folder)
    return found["planned"] < description["planned"] and found["digests"] == description["digests"]


def _spread(index: int) -> str:
    return hashlib.sha256(str(index).encode()).hexdigest()[:2]


def _counts(counter: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in sorted(counter.items()) if count}


def _compact(content: Any) -> bytes:
    return (json.dumps(content, separators=(",", ":"), sort_keys=True) + "\n").encode()
