"""Verifies a finished dataset: every file that it lists is there, undamaged, readable and holds the planned pairs.

What is in memory does not grow with the number of shards, but for the few bytes of each that ``Listing`` has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from jr2net.config import SynthesisConfig
from jr2net.data.pair_index import INDEX, SCHEMA, open_table
from jr2net.data.pairs import DESCRIPTION, make_pair_id
from jr2net.storage import StorageError, iter_files, join, sha256
from jr2net.storage.parquet import ShardError
from jr2net.synthesis.card import CARD
from jr2net.synthesis.dataset import SOURCES
from jr2net.synthesis.plan import shard_count, shard_range
from jr2net.synthesis.shards import MANIFESTS, PAIRS, check_content, manifest_name, read_manifest, shard_number

Description = Mapping[str, Any]

_ROWS = 4096


@dataclass(frozen=True)
class Shard:
    """A shard as the dataset lists it. name: relative path; None: all of its pairs were rejected."""

    index: int
    name: str | None
    bytes: int
    pairs: int
    sha256: str


class Listing:
    """The shards that a dataset lists in its index, which stays in a file. Earlier versions listed them in
    ``dataset.json``.

    Raises StorageError or ShardError where the index is missing or damaged.
    """

    def __init__(self, folder: str, description: Description) -> None:
        former = description["shards"]
        self.table = _former_table(former) if isinstance(former, Mapping) else open_table(join(folder, INDEX))
        self.planned = shard_count(_planned(description), description.get("grown_from", ()))
        self._rows = np.full(self.planned, -1, np.int32)
        self.strangers = 0
        """Rows that are of none of the planned shards, or of one that another row is of."""
        for first in range(0, self.table.num_rows, _ROWS):
            for row, name in enumerate(self.table["shard"].slice(first, _ROWS).to_pylist(), first):
                number = shard_number(name)
                if number is None or number >= self.planned or self._rows[number] >= 0:
                    self.strangers += 1
                else:
                    self._rows[number] = row

    def __len__(self) -> int:
        """Number of shards with pairs."""
        return self.table.num_rows

    def __getitem__(self, index: int) -> Shard:
        """The shard of a number below ``planned``."""
        row = int(self._rows[index])
        if row < 0:
            return Shard(index, None, 0, 0, "")
        name, size, pairs, digest = (self.table[c][row].as_py() for c in ("shard", "bytes", "pairs", "sha256"))
        return Shard(index, name, size, pairs, (digest or b"").hex())

    def batches(self, size: int) -> Iterator[list[Shard]]:
        """All planned shards in order, some at a time."""
        for first in range(0, self.planned, size):
            yield [self[index] for index in range(first, min(first + size, self.planned))]

    def total(self, column: str) -> int:
        """Sum of ``pairs`` or ``bytes``."""
        return sum(int(np.sum(chunk.to_numpy(), dtype=np.int64)) for chunk in self.table[column].chunks)


def _former_table(shards: Mapping[str, Mapping[str, Any]]) -> pa.Table:
    columns: dict[str, list] = {"shard": list(shards)}
    columns |= {name: [shard[name] for shard in shards.values()] for name in ("bytes", "pairs")}
    columns["group_pairs"] = columns["pairs"]
    columns["sha256"] = [bytes.fromhex(shard["sha256"]) for shard in shards.values()]
    return pa.table(columns, SCHEMA)


def _planned(description: Description) -> SynthesisConfig:
    return SynthesisConfig(pairs=description["planned"], pairs_per_shard=description["pairs_per_shard"])


def check_objects(folder: str, description: Description, listing: Listing) -> Iterator[str]:
    """Missing, stray and truncated files, found by one listing of the folder."""
    found = {PAIRS: np.zeros(listing.planned, bool), MANIFESTS: np.zeros(listing.planned, bool)}
    others = {SOURCES, CARD, DESCRIPTION}
    for name, size in iter_files(folder):
        kind, number = name.split("/")[0], shard_number(name)
        if kind not in found:
            others.discard(name)
        elif number is None or number >= listing.planned:
            yield f"{name}: belongs to no shard of this dataset"
        else:
            shard = listing[number]
            if name != (shard.name if kind == PAIRS else manifest_name(number)):
                yield f"{name}: belongs to no shard of this dataset"
                continue
            found[kind][number] = True
            if kind == PAIRS and size != shard.bytes:
                yield f"{name}: {size} bytes, {shard.bytes} expected"
    for number in np.flatnonzero(~found[PAIRS]).tolist():
        if (missing := listing[number].name) is not None:
            yield f"{missing}: is missing"
    for number in np.flatnonzero(~found[MANIFESTS]).tolist():
        yield f"{manifest_name(number)}: is missing"
    for name in sorted(others):
        yield f"{name}: is missing"


def check_counts(description: Description, listing: Listing) -> list[str]:
    """Problems of the description itself: every planned pair must be kept or rejected, and counted once."""
    kept = listing.total("pairs")
    rejected = sum(description["rejected"].values())
    problems = []
    if kept != description["pairs"] or kept + rejected != description["planned"]:
        problems.append(
            f"{DESCRIPTION}: {description['pairs']} pairs and {rejected} rejected of {description['planned']} planned, "
            f"but its shards hold {kept}"
        )
    shards = description["shards"] if isinstance(description["shards"], int) else len(listing)
    if listing.strangers or shards != len(listing):
        problems.append(f"{INDEX}: lists {len(listing)} shards, {listing.strangers} of them none of the {shards}")
    for name, counts in description["histograms"]["counts"].items():
        if sum(counts) != kept:
            problems.append(f"{DESCRIPTION}: the histogram of {name} counts {sum(counts)} pairs, {kept} expected")
    return problems


def check_files(folder: str, description: Description) -> list[str]:
    """Whether the dataset card and the index are those that were written with the dataset."""
    problems = []
    for kind in ("card", "index"):
        if kind == "index" and kind not in description:
            continue  # of an earlier version
        entry = description.get(kind, {"name": CARD, "sha256": ""})
        name, expected = entry["name"], entry["sha256"]
        try:
            found = sha256(join(folder, name))
        except StorageError as error:
            problems.append(str(error))
            continue
        if found != expected:
            problems.append(f"{name}: its checksum is {found[:12]}…, {expected[:12]}… expected")
    return problems


def check_shard(folder: str, shard: Shard, description: Description) -> list[str]:
    """Problems of one shard, every image of which is read and decoded."""
    numbers = range(*shard_range(_planned(description), shard.index, description.get("grown_from", ())))
    try:
        manifest = read_manifest(folder, shard.index)
    except (StorageError, ShardError) as error:
        return [str(error)]
    if (manifest["shard"] if manifest["pairs"] else None) != shard.name:
        return [f"{manifest['shard']}: {manifest['pairs']} pairs, where {DESCRIPTION} lists {shard.name or 'none'}"]
    if shard.name is not None and manifest["sha256"] != shard.sha256:
        return [
            f"{shard.name}: the checksum of its manifest is {manifest['sha256'][:12]}…, {shard.sha256[:12]}… expected"
        ]
    digests = list(description["digests"].values())
    return check_content(folder, manifest, [make_pair_id(description["seed"], n, *digests) for n in numbers])
