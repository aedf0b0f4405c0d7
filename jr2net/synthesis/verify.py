"""Verifies a finished dataset: every file that it lists is there, undamaged, readable and holds the planned pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from jr2net.config import SynthesisConfig
from jr2net.data.pairs import DESCRIPTION, make_pair_id, read_pairs
from jr2net.images.arrays import decode_image
from jr2net.storage import StorageError, iter_files, join, read_bytes
from jr2net.storage.parquet import ShardError
from jr2net.synthesis.card import CARD
from jr2net.synthesis.dataset import MANIFESTS, PAIRS, SOURCES, manifest_name, read_manifests, shard_name
from jr2net.synthesis.plan import shard_count, shard_range

Description = Mapping[str, Any]


def shards_planned(description: Description) -> int:
    """How many shards the dataset was planned to have; those all of whose pairs were rejected have no file."""
    return shard_count(_planned(description), description.get("grown_from", ()))


def _planned(description: Description) -> SynthesisConfig:
    return SynthesisConfig(pairs=description["planned"], pairs_per_shard=description["pairs_per_shard"])


def check_objects(folder: str, description: Description) -> list[str]:
    """Missing, stray and truncated files, found by one listing of the folder; an empty list if there are none."""
    indices = range(shards_planned(description))
    wanted = {manifest_name(index) for index in indices} | set(description["shards"])
    wanted |= {SOURCES, CARD, DESCRIPTION}
    sizes = {name: shard["bytes"] for name, shard in description["shards"].items()}
    problems = []
    for name, size in iter_files(folder):
        if name in wanted:
            wanted.discard(name)
            if sizes.get(name, size) != size:
                problems.append(f"{name}: {size} bytes, {sizes[name]} expected")
        elif name.startswith((f"{PAIRS}/", f"{MANIFESTS}/")):
            problems.append(f"{name}: belongs to no shard of this dataset")
    return problems + [f"{name}: is missing" for name in sorted(wanted)]


def check_counts(description: Description) -> list[str]:
    """Problems of the description itself: every planned pair must be kept or rejected, and counted once."""
    kept = sum(shard["pairs"] for shard in description["shards"].values())
    rejected = sum(description["rejected"].values())
    problems = []
    if kept != description["pairs"] or kept + rejected != description["planned"]:
        problems.append(
            f"{DESCRIPTION}: {description['pairs']} pairs and {rejected} rejected of {description['planned']} planned, "
            f"but its shards hold {kept}"
        )
    for name, counts in description["histograms"]["counts"].items():
        if sum(counts) != kept:
            problems.append(f"{DESCRIPTION}: the histogram of {name} counts {sum(counts)} pairs, {kept} expected")
    return problems


def check_card(folder: str, description: Description) -> list[str]:
    """Whether the dataset card is the one that was written with the dataset."""
    expected = description.get("card", {}).get("sha256", "")
    try:
        found = hashlib.sha256(read_bytes(join(folder, CARD))).hexdigest()
    except StorageError as error:
        return [str(error)]
    return [] if found == expected else [f"{CARD}: its checksum is {found[:12]}…, {expected[:12]}… expected"]


def check_shard(folder: str, index: int, description: Description) -> list[str]:
    """Problems of one shard, every image of which is read and decoded."""
    name = shard_name(index)
    numbers = range(*shard_range(_planned(description), index, description.get("grown_from", ())))
    listed = description["shards"].get(name)
    try:
        manifest = next(iter(read_manifests(folder, [index])))
        if listed is None:
            return [] if manifest["pairs"] == 0 else [f"{name}: {manifest['pairs']} pairs that {DESCRIPTION} lacks"]
        content = hashlib.sha256(read_bytes(join(folder, name))).hexdigest()
        if not content == listed["sha256"] == manifest["sha256"]:
            return [f"{name}: its checksum is {content[:12]}…, {listed['sha256'][:12]}… expected"]
        pairs = list(read_pairs(join(folder, name)))
    except (StorageError, ShardError) as error:
        return [str(error)]
    problems = []
    ids = [pair.pair_id for pair in pairs]
    expected = {make_pair_id(description["seed"], n, *description["digests"].values()) for n in numbers}
    if len(ids) != listed["pairs"] or len(ids) + sum(manifest["rejected"].values()) != len(numbers):
        problems.append(f"{name}: {len(ids)} pairs, {listed['pairs']} expected of {len(numbers)} planned")
    if len(set(ids)) != len(ids) or not set(ids) <= expected:
        problems.append(f"{name}: its pair_ids are not those of pairs {numbers.start} to {numbers.stop - 1}")
    for pair in pairs:
        if decode_image(pair.image) is None:
            problems.append(f"{name}: pair {pair.pair_id}: image cannot be decoded")
        if not (np.isfinite(pair.expression).all() and 0 <= pair.expression.min() <= pair.expression.max() <= 1):
            problems.append(f"{name}: pair {pair.pair_id}: expression outside [0, 1]")
    return problems
