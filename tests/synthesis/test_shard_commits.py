"""A shard is committed once, whoever makes it; datasets of earlier versions stay readable."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from darkening_maker import SETTINGS, SIZE, MakeMaker
from small_datasets import DIGESTS, SOURCES, contents, problems, shard_path, write_dataset

from jr2net import storage
from jr2net.data.pair_index import INDEX, SCHEMA
from jr2net.data.pairs import PairSource
from jr2net.storage import StorageError
from jr2net.synthesis import dataset, shards
from jr2net.synthesis.maker import ShardResult


def rounded_otherwise(make_maker: MakeMaker, index: int) -> ShardResult:
    """An attempt of another kind of machine: the same pairs, pictures and scores a little different."""
    result = make_maker(jpeg_quality=94).shard(index)
    result.quarantined["a"] = "reason"
    return result


def test_the_first_manifest_decides_and_later_attempts_are_removed(make_maker: MakeMaker, tmp_path: Path) -> None:
    first = shards.write_shard(str(tmp_path), 1, make_maker().shard(1))
    before = contents(tmp_path)
    assert shards.write_shard(str(tmp_path), 1, rounded_otherwise(make_maker, 1)) == first
    assert contents(tmp_path) == before


def test_an_attempt_without_manifest_blocks_nobody(make_maker: MakeMaker, tmp_path: Path) -> None:
    """As a worker leaves it that is killed between the two writes; another kind of machine makes the shard again."""
    write_dataset(str(tmp_path / "other"), make_maker)
    orphan = shard_path(tmp_path / "other", 1).relative_to(tmp_path / "other").as_posix()
    folder = tmp_path / "run"
    storage.write_bytes(f"{folder}/{orphan}", (tmp_path / "other" / orphan).read_bytes())
    storage.write_bytes(f"{folder}/{orphan[:-24]}{16 * '0'}.parquet", b"damaged")
    committed = shards.write_shard(str(folder), 1, rounded_otherwise(make_maker, 1))
    assert committed["shard"] != orphan and len(list(folder.rglob("pairs-*.parquet"))) == 3
    for index in (0, 2):
        shards.write_shard(str(folder), index, make_maker().shard(index))
    storage.write_bytes(f"{folder}/{dataset.SOURCES}", json.dumps(SOURCES).encode())
    dataset.finish(str(folder), SETTINGS, 0, DIGESTS, SIZE)
    assert problems(folder) == []
    assert len(list(folder.rglob("pairs-*.parquet"))) == 3


def test_a_race_of_many_kinds_ends_with_one_shard(make_maker: MakeMaker, tmp_path: Path) -> None:
    tmp_path = tmp_path / "run"
    results = [make_maker(jpeg_quality=quality).shard(1) for quality in range(80, 96)]
    with ThreadPoolExecutor(16) as pool:
        manifests = list(pool.map(lambda result: shards.write_shard(str(tmp_path), 1, result), results))
    assert all(manifest == manifests[0] for manifest in manifests)
    assert sorted(contents(tmp_path)) == sorted([manifests[0]["shard"], shards.manifest_name(1)])
    assert shards.check_content(str(tmp_path), manifests[0], results[0].pair_ids) == []


def test_pairs_to_validate_on_of_another_kind_are_kept(make_maker: MakeMaker, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    dataset.write_validation(str(folder), make_maker().shard(1))
    before = contents(folder)
    dataset.write_validation(str(folder), rounded_otherwise(make_maker, 1))
    with pytest.raises(StorageError, match=r"pairs\.parquet: its pair_ids are not those .*remove the file"):
        dataset.write_validation(str(folder), make_maker(seed=1).shard(1))
    assert contents(folder) == before


def test_a_committed_shard_that_is_gone_is_an_error(make_maker: MakeMaker, tmp_path: Path) -> None:
    shards.write_shard(str(tmp_path), 1, make_maker().shard(1))
    shard_path(tmp_path, 1).unlink()
    with pytest.raises(StorageError, match=r"000001\.json: the shard that it names does not verify .*remove both"):
        shards.write_shard(str(tmp_path), 1, rounded_otherwise(make_maker, 1))


def as_earlier_version(folder: Path) -> None:
    """Rewrites a dataset as it was when shards had no checksum in their names and ``dataset.json`` listed them."""
    description, listed = json.loads((folder / "dataset.json").read_text()), {}
    for index in range(3):
        manifest = shards.read_manifest(str(folder), index)
        name = re.sub(r"\.[0-9a-f]{16}\.", ".", manifest["shard"])
        (folder / manifest["shard"]).rename(folder / name)
        (folder / shards.manifest_name(index)).write_text(json.dumps(manifest | {"shard": name}))
        listed[name] = {key: manifest[key] for key in ("pairs", "bytes", "sha256")}
    for name in ("bytes", "index"):
        del description[name]
    (folder / "dataset.json").write_text(json.dumps(description | {"shards": listed}))
    columns = [list(listed), *([shard[key] for shard in listed.values()] for key in ("bytes", "pairs", "pairs"))]
    schema = pa.schema(list(SCHEMA)[:4])
    with pa.ipc.new_file(str(folder / INDEX), schema) as writer:
        writer.write_table(pa.table(columns, schema=schema))


def test_datasets_of_earlier_versions_are_read_and_verified(make_maker: MakeMaker, tmp_path: Path) -> None:
    finished = tmp_path / "run"
    write_dataset(str(finished), make_maker)
    before = {pair.pair_id: pair.image for pair in map(PairSource(str(finished)).read, range(10))}
    as_earlier_version(finished)
    source = PairSource(str(finished))
    assert {pair.pair_id: pair.image for pair in map(source.read, range(10))} == before
    assert problems(finished) == []
    next(finished.rglob("pairs-000001.parquet")).unlink()
    assert problems(finished)[0].endswith(": is missing")
