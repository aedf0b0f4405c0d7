"""The index of pair shards, and the runs in which they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_pairs import make_pair, write_pairs

from jr2net.data.lanes import Lanes
from jr2net.data.pair_index import INDEX, PairIndex, index_pair_shards
from jr2net.data.pairs import COLUMNS, PAIRS_PER_GROUP, PairLoader, PairSource
from jr2net.storage.parquet import ShardError


def index(pairs: list[int], sizes: list[int], run_bytes: int) -> PairIndex:
    return PairIndex(
        PairIndex.of([f"{n}" for n in range(len(pairs))], pairs, sizes, [10] * len(pairs)).table, "p", run_bytes
    )


def test_runs_are_whole_row_groups_of_one_shard() -> None:
    runs = index([95, 30, 4], [950, 300, 40], run_bytes=300)
    assert (len(runs), runs.samples, runs.bytes) == (5, 129, 1290)
    assert [runs.place(run) for run in range(5)] == [
        ("p/0", 0, 3), ("p/0", 3, 6), ("p/0", 6, 10), ("p/1", 0, None), ("p/2", 0, None),
    ]  # fmt: skip
    assert runs.spans(np.arange(5)).tolist() == [[0, 30], [30, 60], [60, 95], [95, 125], [125, 129]]
    assert [runs.find(pair) for pair in (0, 29, 30, 94, 95, 128)] == [(0, 0), (0, 29), (1, 0), (2, 34), (3, 0), (4, 3)]
    with pytest.raises(IndexError):
        runs.find(129)
    assert len(index([95], [950], run_bytes=1)) == 10  # no run is shorter than a row group


def test_a_dataset_with_an_index_opens_no_shard(tmp_path: Path) -> None:
    sizes = []
    for number in range(2):
        write_pairs(str(tmp_path / "pairs" / f"{number}.parquet"), [make_pair(100 * number + n) for n in range(70)])
        sizes.append((tmp_path / "pairs" / f"{number}.parquet").stat().st_size)
    opened = index_pair_shards([str(tmp_path / "pairs" / f"{number}.parquet") for number in range(2)], COLUMNS)
    names = ["pairs/0.parquet", "pairs/1.parquet"]
    written = PairIndex.of(names, [70, 70], sizes, [PAIRS_PER_GROUP] * 2)
    assert written.table.drop_columns(["shard"]).equals(opened.table.drop_columns(["shard"]))
    before = [PairSource(str(tmp_path)).read(number).pair_id for number in range(140)]
    written.write(str(tmp_path / INDEX))
    source = PairSource(str(tmp_path))
    assert [source.read(number).pair_id for number in range(140)] == before
    (tmp_path / "pairs" / "0.parquet").unlink()
    assert len(PairSource(str(tmp_path))) == 140


def test_shards_with_irregular_row_groups_are_read_whole(tmp_path: Path) -> None:
    write_pairs(path := str(tmp_path / "pairs.parquet"), [make_pair(n) for n in range(70)])
    table = pq.read_table(path)
    with pq.ParquetWriter(path, table.schema) as writer:
        for first, length in ((0, 20), (20, 33), (53, 17)):
            writer.write_table(table.slice(first, length))
    source = PairSource(path)
    assert len(source) == 70 and len(source.index) == 1
    assert [source.read(n).pair_id for n in range(70)] == table["pair_id"].to_pylist()


def test_damaged_indices_raise(tmp_path: Path) -> None:
    write_pairs(str(tmp_path / "pairs.parquet"), [make_pair(0)])
    (tmp_path / INDEX).write_bytes(b"ARROW1")
    with pytest.raises(ShardError, match=r"index\.arrow: is damaged .*remove it"):
        PairSource(str(tmp_path))
    with pa.ipc.new_file(str(tmp_path / INDEX), pa.schema({"other": pa.int32()})):
        pass
    with pytest.raises(ShardError, match=r"index\.arrow: is not an index of pair shards"):
        PairSource(str(tmp_path))


def test_shards_that_changed_after_they_were_indexed_raise(tmp_path: Path) -> None:
    write_pairs(str(tmp_path / "pairs.parquet"), [make_pair(n) for n in range(70)])
    PairIndex.of(["pairs.parquet"], [1000], [16 << 20], [PAIRS_PER_GROUP]).write(str(tmp_path / INDEX))
    with pytest.raises(ShardError, match=r"pairs\.parquet: has 2 row groups, where groups .*; it was changed after"):
        PairLoader(str(tmp_path), seed=0, batch_size=64, size=32).batch(0)


def test_a_billion_pairs_have_a_small_index(tmp_path: Path) -> None:
    shards, per_shard = 500_000, 2000
    names = [f"pairs/{number % 256:02x}/pairs-{number:06d}.parquet" for number in range(shards)]
    PairIndex.of(names, [per_shard] * shards, [per_shard * 15_000] * shards, [64] * shards).write(str(tmp_path / INDEX))
    assert (tmp_path / INDEX).stat().st_size < 50e6
    opened = PairIndex.open(str(tmp_path / INDEX), "s3://bucket/pairs")
    assert opened.samples == 10**9 and len(opened) == shards * 14
    arrays = [value for value in vars(opened).values() if isinstance(value, np.ndarray)]
    assert sum(array.nbytes for array in arrays) < 50e6
    lanes = Lanes(opened, batch_size=128, seed=0, rank=63, world=64)
    assert lanes.count == 128 and len(lanes.step(100_000)) == 2
    window = lanes.windows()[0]
    assert sum(last - first for first, last in opened.spans(window.runs)) == len(window.samples) > 300
