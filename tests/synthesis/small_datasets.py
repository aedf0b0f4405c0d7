"""Datasets of ten pairs in three shards, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

from darkening_maker import SETTINGS, SIZE, MakeMaker

from jr2net import storage
from jr2net.data.pairs import read_description
from jr2net.synthesis import dataset, shards, verify

DIGESTS = {"recnet": "abc"}
SOURCES = {"kind": "clips", "files": {"clips.parquet": 9}, "damaged": {}, "captures": {"frames": {"take|1": 7}}}


def write_dataset(folder: str, make_maker: MakeMaker) -> None:
    storage.write_bytes(f"{folder}/{dataset.SOURCES}", json.dumps(SOURCES).encode())
    for index in (2, 0, 1):
        shards.write_shard(folder, index, make_maker().shard(index))
    dataset.finish(folder, SETTINGS, 0, DIGESTS, SIZE)


def problems(folder: Path | str) -> list[str]:
    description = read_description(str(folder))
    listing = verify.Listing(str(folder), description)
    found = [*verify.check_objects(str(folder), description, listing), *verify.check_counts(description, listing)]
    found += verify.check_files(str(folder), description)
    for batch in listing.batches(2):
        found += [problem for shard in batch for problem in verify.check_shard(str(folder), shard, description)]
    return found


def shard_path(folder: Path, index: int) -> Path:
    return folder / shards.read_manifest(str(folder), index)["shard"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
