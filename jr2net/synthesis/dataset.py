"""A dataset of pairs in a storage: every shard is written once, and ``dataset.json`` last of all.

    sources.json                         what the pairs are made from, written before the first of them
    people.json                          of other clips than the training clips: whom they show (``people.py``)
    pairs/3f/pairs-000123.9c56….parquet  a shard (``synthesis/shards.py``)
    _manifests/3f/pairs-000123.json      its name, checksum, counts and rejects; written when the shard is finished
    index.arrow                          name, pairs and checksum of every shard, for training and verification
    _validation/pairs.parquet            pairs of people that are held back, if ``data.validation`` is set
    README.md                            the dataset card; its header tells Hugging Face ``datasets`` what is data
    dataset.json                         the dataset is complete: counts, digests, histograms, licences

On one kind of machine every file has the same bytes whichever worker writes it. ``pairs`` holds Parquet files alone,
and Parquet readers skip folders that begin with an underscore. A dataset that grows keeps its shards; only
``dataset.json``, the card and the index, which are made from them, are replaced. What is in memory does not grow with
the number of shards, but for a few bytes of each.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jr2net.config import SynthesisConfig
from jr2net.data.pair_index import INDEX, IndexWriter
from jr2net.data.pairs import (
    COLUMNS,
    DESCRIPTION,
    PAIRS_PER_GROUP,
    VALIDATION_SHARD,
    encode_pair_shard,
    read_description,
    read_pairs,
)
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.storage import StorageError, exists, join, put_once, read_bytes, write_bytes
from jr2net.storage import sha256 as stored_sha256
from jr2net.storage.parquet import ShardError
from jr2net.synthesis.card import CARD, encode_card
from jr2net.synthesis.gates import COLUMNS as SCORES
from jr2net.synthesis.maker import ShardResult
from jr2net.synthesis.plan import shard_count, shard_range
from jr2net.synthesis.shards import BINS, check_pairs, counts, read_manifests, remove_attempts

SOURCES = "sources.json"
QUARANTINED = 1000
"""Most sources and pairs set aside that ``dataset.json`` lists with their reasons; manifests have all of them."""

LOCATIONS = {"sources", "captures", "driving", "reader"}
"""Settings that are paths: a dataset's bytes must not depend on where its inputs lie."""

PLACEMENT = {"batch_size"}
"""Settings that do not decide what the pairs are."""


def write_validation(folder: str, result: ShardResult) -> None:
    """Writes the shard of pairs to validate on, once; one that is there is kept, whoever made it.

    Raises ShardError where the gates rejected all of them, StorageError where the one that is there has others.
    """
    if not result.pairs:
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts(result.rejected).items())
        raise ShardError(
            f"{folder}: none of {result.planned} pairs to validate on is left ({reasons}); lower the gates"
        )
    uri = join(folder, VALIDATION_SHARD)
    if put_once(uri, encode_pair_shard(VALIDATION_SHARD, result.pairs)):
        return
    if problems := check_pairs(uri, list(read_pairs(uri)), result.pair_ids):
        raise StorageError(f"{problems[0]}; remove the file to have it made again")


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
    smaller dataset are replaced. Attempts at shards that came to nothing are removed. Raises StorageError where the
    folder holds another dataset.
    """
    with tempfile.TemporaryDirectory(prefix="jr2net-") as temporary:
        index = Path(temporary, INDEX)
        shards = range(shard_count(settings, grown_from))
        found = summarize(folder, shards, index)
        description = {
            "expression": list(ARKIT_NAMES),
            "columns": [*COLUMNS, *SCORES],
            "planned": settings.pairs,
            "pairs": found.pairs,
            "pairs_per_shard": settings.pairs_per_shard,
            **({"grown_from": list(grown_from)} if grown_from else {}),
            "image_size": image_size,
            "shards": found.shards,
            "bytes": found.bytes,
            "rejected": counts(found.rejected),
            "quarantined": found.quarantined,
            "licenses": counts(found.licenses),
            "sources": json.loads(read_bytes(join(folder, SOURCES))),
            "digests": dict(digests),
            "seed": seed,
            "settings": settings.model_dump(mode="json", exclude=LOCATIONS | PLACEMENT),
            "histograms": {
                "edges": [edge / BINS for edge in range(BINS + 1)],
                "counts": {name: row.tolist() for name, row in zip(ARKIT_NAMES, found.histograms, strict=True)},
            },
            "index": {"name": INDEX, "sha256": stored_sha256(str(index))},
        }
        card = encode_card(description)
        description["card"] = {"name": CARD, "sha256": hashlib.sha256(card).hexdigest()}
        replace = _may_replace(folder, description)
        with index.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            _write(join(folder, INDEX), content, description["index"]["sha256"], replace)
    _write(join(folder, CARD), card, description["card"]["sha256"], replace)
    encoded = (json.dumps(description, indent=1) + "\n").encode()
    _write(join(folder, DESCRIPTION), encoded, hashlib.sha256(encoded).hexdigest(), replace)
    remove_attempts(folder, found.is_shard)
    return description


class Summary:
    """What the manifests of a dataset add up to."""

    def __init__(self, planned_shards: int) -> None:
        self.shards = self.pairs = self.bytes = 0
        self.rejected: Counter[str] = Counter()
        self.licenses: Counter[str] = Counter()
        self.histograms = np.zeros((len(ARKIT_NAMES), BINS), np.int64)
        self._quarantined: dict[str, str] = {}
        self._names = np.zeros(planned_shards, "S8")  # the beginnings of checksums, as in the names of attempts

    @property
    def quarantined(self) -> dict[str, str]:
        """The first ``QUARANTINED`` by name."""
        return dict(sorted(self._quarantined.items())[:QUARANTINED])

    def add(self, index: int, manifest: Mapping[str, Any]) -> None:
        if manifest["pairs"]:
            self.shards += 1
            self.pairs += manifest["pairs"]
            self.bytes += manifest["bytes"]
            self._names[index] = bytes.fromhex(manifest["sha256"])[:8]
        self.rejected.update(manifest["rejected"])
        self.licenses.update(manifest["licenses"])
        self.histograms += np.array(manifest["histograms"])
        self._quarantined |= manifest["quarantined"]
        if len(self._quarantined) > 2 * QUARANTINED:
            self._quarantined = self.quarantined

    def is_shard(self, index: int, name: str) -> bool:
        """Whether an attempt is the shard of that number; of a number beyond the dataset it may be one to come."""
        if index >= len(self._names):
            return True
        return name.split(".")[-2] == self._names[index].ljust(8, b"\0").hex()


def summarize(folder: str, shards: range, index: Path) -> Summary:
    """Adds up the manifests of finished shards and writes the index to the local file ``index``."""
    summary = Summary(len(shards))
    with IndexWriter(index) as writer:
        for number, manifest in zip(shards, read_manifests(folder, shards), strict=True):
            summary.add(number, manifest)
            if pairs := manifest["pairs"]:
                sha256 = bytes.fromhex(manifest["sha256"])
                writer.add(manifest["shard"], manifest["bytes"], pairs, min(pairs, PAIRS_PER_GROUP), sha256)
    return summary


def planned_in(settings: SynthesisConfig, indices: Iterable[int], grown_from: Sequence[int] = ()) -> int:
    """How many pairs these shards will hold if none is rejected."""
    return sum(last - first for first, last in (shard_range(settings, int(index), grown_from) for index in indices))


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


def _write(uri: str, content: Any, sha256: str, replace: bool) -> None:
    """Writes a file; unless it may be replaced, one that exists has to be the same."""
    if not replace and exists(uri):
        if stored_sha256(uri) != sha256:
            raise StorageError(f"{uri}: exists with other content, of another dataset; choose another storage")
        return
    write_bytes(uri, content)
