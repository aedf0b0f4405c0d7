"""Row groups of many shards: few requests, handles that serve several threads, errors that name the shard."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faulty_s3 import faulty_s3

from jr2net.storage import write_bytes
from jr2net.storage.open_shards import OpenShards
from jr2net.storage.parquet import PARQUET_OPTIONS, ShardError

GROUPS, ROWS = 12, 5


def content(seed: int = 0, size: int = 20_000) -> bytes:
    rng = np.random.default_rng(seed)
    table = pa.table(
        {
            "number": np.arange(GROUPS * ROWS),
            "image": [rng.bytes(size) for _ in range(GROUPS * ROWS)],
            "score": rng.random(GROUPS * ROWS),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=ROWS, **PARQUET_OPTIONS)
    return sink.getvalue().to_pybytes()


def test_row_groups_are_read_with_their_positions(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(content())
    shards = OpenShards(["number"], lambda name: name == "score")
    table, starts = shards.read(str(tmp_path / "a.parquet"), 2, 5)
    assert table["number"].to_pylist() == list(range(10, 25)) and starts.tolist() == [0, 5, 10]
    assert table.column_names == ["number", "score"]
    table, starts = shards.read(str(tmp_path / "a.parquet"), 0)
    assert len(table) == GROUPS * ROWS and len(starts) == GROUPS


def test_threads_share_handles(tmp_path: Path) -> None:
    """Also when shards are closed, because too many are open, while others read them."""
    for number in range(4):
        (tmp_path / f"{number}.parquet").write_bytes(content(number))
    shards = OpenShards(["number", "image"], limit=2)
    wanted = {number: pq.read_table(tmp_path / f"{number}.parquet")["image"].to_pylist() for number in range(4)}

    def read(task: int) -> bool:
        number, group = task % 4, task % GROUPS
        table, _ = shards.read(str(tmp_path / f"{number}.parquet"), group, group + 1)
        return table["image"].to_pylist() == wanted[number][group * ROWS : (group + 1) * ROWS]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(400)))


def test_neighbours_are_one_request(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with faulty_s3(s3_server, rate=0.0) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        write_bytes("s3://bucket/shards/a.parquet", content())
        shards = OpenShards(["number", "image"])
        proxy.requests.clear()
        shards.read("s3://bucket/shards/a.parquet", 0, 1)
        assert proxy.requests == {"HEAD": 1, "GET": 2}  # size, footer, row group
        proxy.requests.clear()
        proxy.sent.clear()
        shards.read("s3://bucket/shards/a.parquet", 3, 9)
        assert proxy.requests == {"GET": 1}
        assert proxy.sent["GET"] < 1.02 * 6 * ROWS * 20_000


def test_wrong_and_damaged_shards_raise(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(content())
    with pytest.raises(ShardError, match=r"gone\.parquet: no such shard"):
        OpenShards(["number"]).read(str(tmp_path / "gone.parquet"), 0)
    with pytest.raises(ShardError, match=r"a\.parquet: column 'frame' is missing"):
        OpenShards(["number", "frame"]).read(str(path), 0)
    with pytest.raises(ShardError, match=r"a\.parquet: has 12 row groups, where groups 11 to 12 are looked for"):
        OpenShards(["number"]).read(str(path), 11, 13)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(bytes(damaged))
    with pytest.raises(ShardError, match=r"a\.parquet: row groups 0 to 11 are damaged .*write the shard again"):
        OpenShards(["number", "image"]).read(str(path), 0)
