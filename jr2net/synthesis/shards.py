"""The shards of a dataset: each is committed once, by its manifest, whoever makes it.

    pairs/3f/pairs-000123.9c56….parquet  an attempt at a shard, by the beginning of its SHA-256
    _manifests/3f/pairs-000123.json      names the attempt that is the shard; put once, after the attempt

Machines of different kinds round differently: their attempts at a shard have other bytes, and so other names. The first
manifest decides, and who comes later keeps that shard and removes the own attempt. What a killed worker leaves behind
is no shard, and is removed when the dataset is finished. Subfolders spread the keys over S3's partitions.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import Any

import numpy as np

from jr2net.config import SynthesisConfig
from jr2net.data.pairs import Pair, encode_pair_shard, read_pairs
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.images.arrays import decode_image
from jr2net.storage import StorageError, exists, iter_files, join, put_once, put_once_or_same, read_bytes, remove
from jr2net.storage.parquet import ShardError
from jr2net.synthesis.maker import ShardResult
from jr2net.synthesis.plan import shard_count

PAIRS, MANIFESTS = "pairs", "_manifests"
BINS = 10
"""Number of bins of the histogram of each coefficient, of equal width over [0, 1]."""

_NUMBER = re.compile(r"pairs-(\d+)(?:\.[0-9a-f]{16})?\.(?:parquet|json)$")
_ATTEMPT = re.compile(r"pairs-(\d+)\.[0-9a-f]{16}\.parquet$")
_READERS = 32
_READ_TOGETHER = 256
"""Manifests that are in memory at one time."""


def shard_label(index: int) -> str:
    """What messages call a shard, whichever attempt it is."""
    return f"pairs-{index:06d}"


def shard_name(index: int, sha256: str) -> str:
    """Relative path of an attempt at a shard, by the SHA-256 of its content in hex."""
    return f"{PAIRS}/{_spread(index)}/{shard_label(index)}.{sha256[:16]}.parquet"


def manifest_name(index: int) -> str:
    """Relative path of a shard's manifest."""
    return f"{MANIFESTS}/{_spread(index)}/{shard_label(index)}.json"


def shard_number(name: str) -> int | None:
    """The number in the name of a shard or a manifest; None: it is another file."""
    found = _NUMBER.search(name)
    return None if found is None else int(found[1])


def write_shard(folder: str, index: int, result: ShardResult) -> dict[str, Any]:
    """Writes an attempt and its manifest; returns the manifest of the shard, which may be another's attempt.

    A shard without pairs has a manifest only. Raises StorageError where the storage fails, or holds a shard of this
    number that does not verify.
    """
    label = shard_label(index)
    content = encode_pair_shard(label, result.pairs) if result.pairs else b""
    sha256 = hashlib.sha256(content).hexdigest()
    manifest = {
        "shard": shard_name(index, sha256) if content else None,
        "planned": result.planned,
        "pairs": len(result.pairs),
        "bytes": len(content),
        "sha256": sha256,
        "rejected": counts(result.rejected),
        "quarantined": dict(sorted(result.quarantined.items())),
        "licenses": counts(result.licenses),
        "histograms": histograms(result.pairs).tolist(),
    }
    if content:
        put_once_or_same(join(folder, shard_name(index, sha256)), content)
    if put_once(join(folder, manifest_name(index)), _compact(manifest)):
        return manifest
    committed = read_manifest(folder, index)
    if committed == manifest:
        return committed
    if problems := check_content(folder, committed, result.pair_ids):
        raise StorageError(
            f"{join(folder, manifest_name(index))}: the shard that it names does not verify ({problems[0]}); remove "
            "both to have it made again"
        )
    if content and committed["shard"] != manifest["shard"]:
        with suppress(StorageError):  # else it is removed when the dataset is finished
            remove(join(folder, shard_name(index, sha256)))
    return committed


def finished_shard(folder: str, index: int) -> dict[str, Any] | None:
    """The manifest of a shard; None: it has to be made."""
    return read_manifest(folder, index) if exists(join(folder, manifest_name(index))) else None


def missing_shards(folder: str, settings: SynthesisConfig, grown_from: Sequence[int] = ()) -> np.ndarray:
    """Numbers of the unfinished shards, ascending. Costs one listing, and one byte of memory per shard."""
    finished = np.zeros(shard_count(settings, grown_from), bool)
    for name, _ in iter_files(join(folder, MANIFESTS)):
        if (number := shard_number(name)) is not None and number < len(finished):
            finished[number] = True
    return np.flatnonzero(~finished)


def read_manifest(folder: str, index: int) -> dict[str, Any]:
    """Raises StorageError where it is missing, ShardError where it is damaged."""
    uri = join(folder, manifest_name(index))
    try:
        return json.loads(read_bytes(uri))
    except ValueError as error:
        raise ShardError(f"{uri}: not JSON ({error}); remove it to have its shard made again") from None


def read_manifests(folder: str, indices: Iterable[int]) -> Iterator[dict[str, Any]]:
    """The manifests of some shards in order, read concurrently, because remote storage has high latency.

    Raises StorageError where one is missing, ShardError where one is damaged.
    """
    waiting = iter(indices)
    with ThreadPoolExecutor(_READERS) as pool:
        while together := list(islice(waiting, _READ_TOGETHER)):
            yield from pool.map(lambda index: read_manifest(folder, index), together)


def check_content(folder: str, manifest: Mapping[str, Any], pair_ids: Collection[str]) -> list[str]:
    """Problems of a shard, every image of which is read and decoded; an empty list if there are none.

    pair_ids: of the pairs that it was planned to have.
    """
    name, planned = manifest["shard"], len(pair_ids)
    if not manifest["pairs"]:
        rejected = sum(manifest["rejected"].values())
        return [] if rejected == planned else [f"{name}: {rejected} pairs rejected of {planned} planned"]
    try:
        sha256 = hashlib.sha256(read_bytes(join(folder, name))).hexdigest()
        if sha256 != manifest["sha256"]:
            return [f"{name}: its checksum is {sha256[:12]}…, {manifest['sha256'][:12]}… expected"]
        pairs = list(read_pairs(join(folder, name)))
    except (StorageError, ShardError) as error:
        return [str(error)]
    problems = check_pairs(name, pairs, pair_ids)
    if len(pairs) != manifest["pairs"] or len(pairs) + sum(manifest["rejected"].values()) != planned:
        problems.append(f"{name}: {len(pairs)} pairs, {manifest['pairs']} expected of {planned} planned")
    return problems


def check_pairs(name: str, pairs: Sequence[Pair], pair_ids: Collection[str]) -> list[str]:
    """Problems of the pairs of a shard; each has to be one of ``pair_ids``. name: what messages call the shard."""
    problems = []
    ids = [pair.pair_id for pair in pairs]
    if len(set(ids)) != len(ids) or not set(ids) <= set(pair_ids):
        problems.append(f"{name}: its pair_ids are not those of the pairs that it was planned to have")
    for pair in pairs:
        if decode_image(pair.image) is None:
            problems.append(f"{name}: pair {pair.pair_id}: image cannot be decoded")
        if not (np.isfinite(pair.expression).all() and 0 <= pair.expression.min() <= pair.expression.max() <= 1):
            problems.append(f"{name}: pair {pair.pair_id}: expression outside [0, 1]")
    return problems


def remove_attempts(folder: str, is_shard: Callable[[int, str], bool]) -> int:
    """Removes the attempts that no manifest names, once all shards are finished; returns their number.

    is_shard: from a number and a relative path to whether that is the shard of that number.
    """
    removed = 0
    for name, _ in iter_files(join(folder, PAIRS)):
        attempt = _ATTEMPT.search(name)
        if attempt is not None and not is_shard(int(attempt[1]), f"{PAIRS}/{name}"):
            with suppress(StorageError):  # another job may be doing the same
                remove(join(folder, PAIRS, name))
                removed += 1
    return removed


def histograms(pairs: Sequence[Pair]) -> np.ndarray:
    """(51, BINS) int64: a histogram of each coefficient over [0, 1]; 1.0 falls into the last bin."""
    found = np.zeros((len(ARKIT_NAMES), BINS), np.int64)
    if pairs:
        bins = np.minimum((np.stack([pair.expression for pair in pairs]) * BINS).astype(int), BINS - 1)
        np.add.at(found, (np.arange(len(ARKIT_NAMES)), bins), 1)
    return found


def counts(counter: Mapping[str, int]) -> dict[str, int]:
    """What was counted at all, by name."""
    return {name: count for name, count in sorted(counter.items()) if count}


def _spread(index: int) -> str:
    return hashlib.sha256(str(index).encode()).hexdigest()[:2]


def _compact(content: Any) -> bytes:
    return (json.dumps(content, separators=(",", ":"), sort_keys=True) + "\n").encode()
