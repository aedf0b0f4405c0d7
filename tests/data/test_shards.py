from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from blob_clips import make_row

from jr2net.data.index import index_shard, index_shards
from jr2net.data.shards import ROW_GROUP_BYTES, list_shards, read_clips, read_group, write_clips
from jr2net.images.clip import ClipTruth
from jr2net.storage import StorageError
from jr2net.storage.parquet import ShardError


def same(one, other) -> bool:
    return (
        (one.clip_id, one.identity, one.fps, one.images) == (other.clip_id, other.identity, other.fps, other.images)
        and np.array_equal(one.frame, other.frame)
        and np.array_equal(one.landmarks, other.landmarks, equal_nan=True)
    )


def test_rows_round_trip(tmp_path: Path) -> None:
    rows = [make_row(n, 1 + n, truth=True) for n in range(3)]
    rows[1].landmarks[0, 5] = np.nan
    path = str(tmp_path / "clips.parquet")
    assert write_clips(path, rows) == {"rows": 3, "frames": 6}
    back = list(read_clips(path))
    assert all(same(one, other) for one, other in zip(rows, back))
    for one, other in zip(rows, back):
        assert one.truth and other.truth
        for field in fields(ClipTruth):
            assert np.array_equal(getattr(one.truth, field.name), getattr(other.truth, field.name)), field.name


def test_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_clips(str(tmp_path / name), [make_row(1, 3), make_row(2, 2)])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_large_shards_have_row_groups_that_can_be_read_alone(tmp_path: Path) -> None:
    heavy = [replace(make_row(n, 1), images=(bytes(ROW_GROUP_BYTES // 2),)) for n in range(5)]
    path = str(tmp_path / "clips.parquet")
    write_clips(path, heavy)
    entries = index_shards([path])
    assert [(entry.group, entry.position) for entry in entries] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    assert all(read_group(path, e.group)[e.position].clip_id == e.clip_id for e in entries)


def test_shards_of_a_folder_are_sorted(clip_folder: Path) -> None:
    names = [Path(shard).name for shard in list_shards(str(clip_folder))]
    assert names == ["clips-00000.parquet", "clips-00001.parquet"]
    single = str(clip_folder / names[0])
    assert list_shards(single) == [single]


def test_missing_and_empty_folders_raise(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"nowhere: does not exist; give a folder"):
        list_shards(str(tmp_path / "nowhere"))
    with pytest.raises(ShardError, match=r"holds no \.parquet files"):
        list_shards(str(tmp_path))
    with pytest.raises(ShardError, match=r"gone\.parquet: no such shard"):
        index_shard(str(tmp_path / "gone.parquet"))


@pytest.mark.parametrize("keep", [0, 3, 200, -20])
def test_truncated_shards_raise(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "clips.parquet"
    write_clips(str(path), [make_row(1, 3)])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ShardError, match=r"clips\.parquet: not a readable Parquet file .*write it again"):
        index_shard(str(path))


def test_damaged_pages_raise(tmp_path: Path) -> None:
    path = tmp_path / "clips.parquet"
    write_clips(str(path), [make_row(1, 3)])
    content = bytearray(path.read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
    path.write_bytes(bytes(content))
    with pytest.raises(ShardError, match=r"clips\.parquet: row group 0 is damaged .*write the shard again"):
        list(read_clips(str(path)))


def test_a_flipped_bit_in_an_image_raises(tmp_path: Path) -> None:
    path, row = tmp_path / "clips.parquet", make_row(1, 3)
    write_clips(str(path), [row])
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ShardError, match=r"clips\.parquet: row group 0 is damaged"):
        list(read_clips(str(path)))


def test_rows_without_identity_raise(tmp_path: Path) -> None:
    path = str(tmp_path / "clips.parquet")
    write_clips(path, [make_row(1, 3), make_row(2, 1)])
    table = pq.read_table(path)
    column = pa.array(["person-1", None], pa.string())
    pq.write_table(table.set_column(table.column_names.index("identity"), "identity", column), path)
    with pytest.raises(ShardError, match=r"clips\.parquet: row 1 of group 0 has no frame, identity or clip_id"):
        index_shard(path)


def test_missing_columns_raise(tmp_path: Path) -> None:
    path = str(tmp_path / "other.parquet")
    pq.write_table(pa.table({"clip_id": ["a"], "identity": ["b"]}), path)
    with pytest.raises(ShardError, match=r"other\.parquet: column 'fps' is missing"):
        index_shard(path)


def test_wrong_number_of_landmarks_raises(tmp_path: Path) -> None:
    path = str(tmp_path / "clips.parquet")
    write_clips(path, [make_row(1, 3)])
    table = pq.read_table(path)
    short = pa.array([[[0.0] * 136] * 2], pa.list_(pa.list_(pa.float32())))
    pq.write_table(table.set_column(table.column_names.index("landmarks"), "landmarks", short), path)
    with pytest.raises(ShardError, match=r"'clip-1': landmarks has 272 values for 3 images, expected 3 × 68 × 2"):
        list(read_clips(path))


def test_inconsistent_rows_raise(tmp_path: Path) -> None:
    row = make_row(1, 3)
    with pytest.raises(ShardError, match="'clip-1': 2 images, 3 frame numbers"):
        replace(row, images=row.images[:2])
    with pytest.raises(ShardError, match="some rows have truth"):
        write_clips(str(tmp_path / "mixed.parquet"), [row, make_row(2, 2, truth=True)])
    with pytest.raises(ShardError, match="at least one row"):
        write_clips(str(tmp_path / "none.parquet"), [])
    assert not list(tmp_path.iterdir())


def test_unwritable_paths_raise(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((ShardError, StorageError), match="file/clips"):
        write_clips(str(tmp_path / "file" / "clips.parquet"), [make_row(1, 1)])


def test_real_clips_can_be_read(real_ground: Path) -> None:
    shards = list_shards(str(real_ground / "data" / "clips"))
    assert sum(entry.frames for entry in index_shards(shards)) == 3269
    row = next(read_clips(shards[-1]))
    assert row.landmarks.shape == (len(row), 68, 2) and row.truth is None and row.license
