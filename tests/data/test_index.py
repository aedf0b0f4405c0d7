"""The index of clip shards, and the runs in which they are read."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from blob_clips import make_row

from jr2net.data.clips import ClipLoader, ClipSource
from jr2net.data.index import SCHEMA, ClipIndex, index_shard, index_shards, join_indices
from jr2net.data.runs import FOOTERS, ClipRuns
from jr2net.data.shards import list_shards, write_clips
from jr2net.images.clip import ClipRow
from jr2net.storage import StorageError, write_bytes
from jr2net.storage.parquet import ShardError


def heavy(number: int, size: int, clip: int | None = None) -> ClipRow:
    """A row of one frame of ``size`` bytes: rows of at least 1 MiB are row groups of their own."""
    row = replace(make_row(number, 1), images=(bytes(size),))
    return row if clip is None else replace(row, clip_id="clip", identity=f"person-{clip}")


def grouped(rows: Sequence[tuple[int, int, int, int]], footer: int = 0) -> ClipIndex:
    """An index without shards. rows: (shard, group, clip, bytes of the group)."""
    shard, group, clip, size = (np.array(column, np.int32) for column in zip(*rows))
    names = pa.array([str(number) for number in range(max(clip.max(), shard.max()) + 1)], pa.large_string())
    columns = {
        "shard": pa.DictionaryArray.from_arrays(pa.array(shard), names),
        "group": group,
        "position": np.zeros(len(rows), np.int32),
        "group_bytes": size.astype(np.int64),
        "footer_bytes": np.full(len(rows), footer, np.int32),
        "identity": pa.DictionaryArray.from_arrays(pa.array(clip), names),
        "clip": pa.DictionaryArray.from_arrays(pa.array(clip), names),
        "first": np.zeros(len(rows), np.int32),
        "frames": np.ones(len(rows), np.int32),
    }
    return ClipIndex(pa.table(columns, SCHEMA), "clips")


def runs_of(index: ClipIndex, run_bytes: int) -> list[list[int]]:
    runs = ClipRuns(index, run_bytes)
    return [list(range(first, last)) for first, last in runs.groups.tolist()]


def test_an_index_file_has_what_its_shards_have(clip_folder: Path, tmp_path: Path) -> None:
    folder = str(clip_folder)
    shards = list_shards(folder)
    whole = index_shards(shards)
    names = [Path(shard).name for shard in shards]
    join_indices(names, [index_shard(shard) for shard in shards], folder).write(str(tmp_path / "clips.arrow"))
    opened = ClipIndex.open(str(tmp_path / "clips.arrow"), folder)
    assert list(opened) == list(whole) and len(opened) == 8
    assert opened[6].shard == shards[1] and (opened[6].clip_id, opened[6].first, opened[6].frames) == ("clip-6", 10, 4)
    assert opened.starts.tolist() == np.cumsum([0, 1, 2, 3, 4, 1, 3, 4, 3]).tolist()
    assert opened.identities == whole.identities == [f"person-{n}" for n in range(7)]
    assert [entry.clip_id for entry in opened[2:4]] == ["clip-2", "clip-3"]
    with pytest.raises(IndexError):
        opened[8]
    moved = ClipIndex.open(str(tmp_path / "clips.arrow"), "s3://bucket/clips")
    assert moved[0].shard == "s3://bucket/clips/clips-00000.parquet"
    assert (tmp_path / "clips.arrow").read_bytes() == opened.encode()


def test_a_source_with_an_index_opens_no_shard(clip_folder: Path, tmp_path: Path) -> None:
    uri, shards = str(tmp_path / "clips.arrow"), list_shards(str(clip_folder))
    join_indices([Path(shard).name for shard in shards], [index_shard(shard) for shard in shards]).write(uri)
    assert ClipSource(str(tmp_path / "gone"), index=uri).frame_count == 21
    one, other = ClipSource(str(clip_folder), index=uri), ClipSource(str(clip_folder))
    for row in range(len(one)):
        assert np.array_equal(one.load_frame(row, 0)[0], other.load_frame(row, 0)[0])
    assert [entry.clip_id for entry in one.split(3)[1].rows] == [entry.clip_id for entry in other.split(3)[1].rows]


def test_a_set_may_be_one_file(clip_folder: Path, tmp_path: Path) -> None:
    shard = list_shards(str(clip_folder))[0]
    join_indices([""], [index_shard(shard)]).write(str(tmp_path / "clips.arrow"))
    assert ClipSource(shard, index=str(tmp_path / "clips.arrow")).rows[1].shard == shard


def test_selections_keep_the_order_of_rows(clip_folder: Path, tmp_path: Path) -> None:
    whole = index_shards(list_shards(str(clip_folder)))
    some = whole.of({"person-1", "person-4", "person-9"})
    assert [(row.clip_id, row.identity) for row in some] == [
        ("clip-1", "person-1"), ("clip-4", "person-4"), ("clip-7", "person-1"),
    ]  # fmt: skip
    assert some.starts.tolist() == [0, 2, 3, 6] and some.identities == ["person-1", "person-4"]
    assert [row.clip_id for row in some.only(some.frames > 1)] == ["clip-1", "clip-7"]
    assert not len(whole.of(set())) and not whole.of(set()).identities
    some.write(uri := str(tmp_path / "clips.arrow"))
    for index in (some, ClipIndex.open(uri, "").of({"person-1", "person-4"})):
        assert list(pickle.loads(pickle.dumps(index))) == list(index)


def test_a_clip_is_known_by_identity_and_clip_id(tmp_path: Path) -> None:
    rows = [replace(make_row(number, 2, identity=f"person-{number % 3}"), clip_id="00001") for number in range(6)]
    write_clips(str(tmp_path / "clips.parquet"), rows)
    index = index_shards([str(tmp_path / "clips.parquet")])
    assert len(set(index.clip.tolist())) == 3
    assert index.rows_of_clip(int(index.clip[1])).tolist() == [1, 4]
    assert {row.clip_id for row in index} == {"00001"}


def test_missing_and_damaged_indices_raise(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"gone\.arrow: cannot be read: no such file"):
        ClipIndex.open(str(tmp_path / "gone.arrow"), "")
    (tmp_path / "damaged.arrow").write_bytes(b"ARROW1\0\0")
    with pytest.raises(ShardError, match=r"damaged\.arrow: is damaged .*run the stage `prepare` again"):
        ClipIndex.open(str(tmp_path / "damaged.arrow"), "")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, pa.schema({"other": pa.int32()})):
        pass
    write_bytes(str(tmp_path / "other.arrow"), sink.getvalue().to_pybytes())
    with pytest.raises(ShardError, match=r"other\.arrow: is not an index of clip shards"):
        ClipIndex.open(str(tmp_path / "other.arrow"), "")


def test_a_set_without_rows_has_an_index(clip_folder: Path, tmp_path: Path) -> None:
    shard = tmp_path / "empty.parquet"
    pq.write_table(pq.read_table(list_shards(str(clip_folder))[0]).slice(0, 0), shard)
    index_shards([str(shard)]).write(str(tmp_path / "clips.arrow"))
    for index in (index_shards([str(shard)]), ClipIndex.open(str(tmp_path / "clips.arrow"), "")):
        assert len(index) == 0 and index.identities == [] and list(index) == [] and len(ClipRuns(index)) == 0
    with pytest.raises(ShardError, match="no rows to train on"):
        ClipLoader(ClipSource(str(shard)), seed=0, batch_size=1, size=32)


def test_runs_are_neighbouring_row_groups_of_one_shard() -> None:
    rows = [(shard, group, 10 * shard + group, 40) for shard in range(2) for group in range(7)]
    assert runs_of(grouped(rows), 100) == [[0, 1, 2], [3, 4], [5, 6]] * 2
    assert runs_of(grouped(rows), 1) == [[group] for _, group, _, _ in rows]
    assert runs_of(grouped(rows), 1000) == [list(range(7))] * 2
    runs = ClipRuns(grouped(rows), 100)
    assert (runs.samples, runs.bytes, len(runs)) == (14, 14 * 40, 6)
    assert runs.spans(np.array([0, 4])).tolist() == [[0, 3], [10, 12]]
    assert runs.spans(np.array(5)).tolist() == [12, 14]
    assert runs.find(10) == (4, 0) and runs.run_rows(3).tolist() == [7, 8, 9]
    assert runs.of_rows(np.array([0, 6, 13])).tolist() == [0, 2, 5]


def test_row_groups_that_nobody_wants_are_not_read() -> None:
    rows = [(0, group, group, 40) for group in range(9)]
    some = grouped(rows).only(np.array([1, 1, 0, 1, 1, 1, 1, 0, 1], bool))
    assert runs_of(some, 100) == [[0, 1], [3, 4, 5], [6], [8]]


def test_runs_keep_clips_whole_up_to_a_limit() -> None:
    rows = [(0, group, max(0, group - 4), 40) for group in range(8)]
    assert runs_of(grouped(rows), 100) == [[0, 1, 2, 3, 4], [5, 6, 7]]
    one_clip = [(0, group, 0, 40) for group in range(60)]
    assert max(map(len, runs_of(grouped(one_clip), 100))) == 20


def test_runs_are_long_beside_the_footer() -> None:
    rows = [(0, group, group, 40) for group in range(40)]
    assert min(map(len, runs_of(grouped(rows, footer=20), 1))) >= FOOTERS * 20 // 40


def test_runs_follow_the_row_groups_of_shards(tmp_path: Path) -> None:
    size = 1 << 20
    write_clips(str(tmp_path / "a.parquet"), [heavy(n, size, n // 2) for n in range(6)])
    write_clips(str(tmp_path / "b.parquet"), [heavy(n, size // 4) for n in range(9)])
    index = index_shards(list_shards(str(tmp_path)))
    assert runs_of(index, size) == [[0, 1], [2, 3], [4, 5], [0], [1], [2]]
    assert ClipRuns(index).bytes > 8 * size


def test_the_index_of_voxceleb2_takes_few_bytes_a_frame(tmp_path: Path) -> None:
    """1.09 million clips of 195 frames, each a row group of 2.9 MB, by 6,112 people; in 10,900 shards."""
    clips, per_shard = 1_090_000, 100
    number = np.arange(clips)
    table = pa.table(
        {
            "group": (number % per_shard).astype(np.int32),
            "position": np.zeros(clips, np.int32),
            "group_bytes": np.full(clips, 2_925_000),
            "footer_bytes": np.full(clips, 80_000, np.int32),
            "identity": pa.array([f"id{n % 6112:05d}" for n in range(clips)], pa.large_string()),
            "clip_id": pa.array([f"{n:011x}/{n % 500:05d}" for n in range(clips)], pa.large_string()),
            "first": np.zeros(clips, np.int32),
            "frames": np.full(clips, 195, np.int32),
        }
    )
    names = [f"shard-{n:05d}.parquet" for n in range(clips // per_shard)]
    parts = [table.slice(first, per_shard) for first in range(0, clips, per_shard)]
    join_indices(names, parts).write(uri := str(tmp_path / "clips.arrow"))
    index = ClipIndex.open(uri, "s3://bucket/clips")
    assert int(index.starts[-1]) == 212_550_000
    assert (tmp_path / "clips.arrow").stat().st_size < 8 * 212_550_000 / 10
    runs = ClipRuns(index)
    assert runs.bytes == clips * 2_925_000 and 0.6 < len(runs) / clips <= 1
