"""The sources of a shard lie in few row groups; every source is used once in a pass, and small sets as ever."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from darkening_maker import SIZE, MakeMaker

from jr2net.data import shards as clip_shards
from jr2net.data.clips import ClipSource
from jr2net.data.shards import read_clips, write_clips
from jr2net.data.source_list import list_sources
from jr2net.data.sources import ClipFrames, open_sources
from jr2net.data.stream import epoch_order
from jr2net.storage.open_shards import OpenShards
from jr2net.synthesis import source_order
from jr2net.synthesis.plan import FIRST_PASSES, MAX_PAIRS_PER_SOURCE
from jr2net.synthesis.source_order import SourceOrder

MIB = 1 << 20
GROUPS, FRAMES = 3000, 40
LARGE = SourceOrder(np.arange(GROUPS + 1) * FRAMES, np.full(GROUPS, MIB))
"""3 GB of clips in row groups of 1 MiB."""


def whole(order: SourceOrder, *key: int) -> np.ndarray:
    """All of a pass."""
    numbers = order(*key)
    return np.array([numbers(position) for position in range(len(order))])


def groups_read(order: np.ndarray, sources: int) -> np.ndarray:
    """How many row groups each of the shards of a pass reads, if a shard has so many sources."""
    groups = order[: len(order) // sources * sources].reshape(-1, sources) // FRAMES
    return np.array([len(np.unique(shard)) for shard in groups])


@pytest.mark.parametrize("share", [*sorted({*FIRST_PASSES, MAX_PAIRS_PER_SOURCE})])
def test_the_sources_of_a_shard_come_from_few_row_groups(share: int) -> None:
    sources = -(-500 // share)
    near, far = groups_read(whole(LARGE, 0, 7), sources), groups_read(epoch_order(len(LARGE), 0, 7), sources)
    visits = -(-sources // 32) + 1  # the first and the last may be shared with other shards
    assert near.max() <= 9 * visits  # 8 MiB and a part of a group
    assert near.mean() <= 0.5 * far.mean() and near.mean() / sources < 0.55  # MiB a picture


def test_every_pass_uses_every_source_once() -> None:
    first, second = whole(LARGE, 0, 0), whole(LARGE, 0, 1)
    assert (np.sort(first) == np.arange(len(LARGE))).all() and (np.sort(second) == np.arange(len(LARGE))).all()
    assert (first != second).any() and (whole(LARGE, 1, 0) != first).any()
    again = SourceOrder(LARGE.starts, LARGE.sizes)
    assert (whole(again, 0, 0) == first).all()


def test_a_part_of_a_pass_is_spread_over_all_windows() -> None:
    used = whole(LARGE, 3, 0)[:12_000] // FRAMES  # a tenth of the sources
    assert len(np.unique(used)) > 0.9 * GROUPS
    assert max(Counter(used.tolist()).values()) <= 20


def test_irregular_groups_are_used_once_too() -> None:
    rng = np.random.default_rng(0)
    frames, sizes = rng.integers(1, 90, 500), rng.integers(1, 40 * MIB, 500)
    order = SourceOrder(np.append(0, np.cumsum(frames)), sizes)
    assert (np.sort(whole(order, 5, 2)) == np.arange(frames.sum())).all()


def test_a_source_costs_no_memory() -> None:
    """Two million sources of 15 kB; an array of their numbers would take 16 MB, and VoxCeleb2's 100 times as much."""
    tracemalloc.start()
    try:
        order = SourceOrder(np.arange(0, 2_000_001, 100), np.full(20_000, 100 * 15_000))
        used = [order(0, epoch)(position) for epoch in range(3) for position in range(0, len(order), 9973)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len({*used}) > 590 and min(used) >= 0 and max(used) < len(order)
    assert peak < 6e6


def test_the_order_of_many_sources_is_pinned() -> None:
    """A dataset that was begun with an earlier version goes on with the same sources."""
    passes = [LARGE(4, epoch) for epoch in range(2)]
    assert [numbers(position) for numbers in passes for position in (0, 1, 40_000, 119_999)] == [
        78686, 90182, 93432, 74824,
        116309, 84150, 81021, 44880,
    ]  # fmt: skip


def test_what_fits_in_memory_is_used_in_the_order_of_earlier_versions() -> None:
    order = SourceOrder(np.array([0, 10, 30]), np.array([100 * MIB, 100 * MIB]))
    for seed, epoch in ((0, 0), (3, 9)):
        assert (whole(order, seed, epoch) == epoch_order(30, seed, epoch)).all()


@pytest.fixture
def many_groups(clips: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClipFrames:
    """Sixty people of twenty frames in a row group each, visited 20 frames of 4 people at a time."""
    row = next(iter(read_clips(clips)))
    frames = {"frame": np.arange(20, dtype=np.int32), "images": row.images * 10, "landmarks": np.zeros((20, 68, 2))}
    monkeypatch.setattr(clip_shards, "ROW_GROUP_BYTES", 1)
    for shard in range(3):
        people = [replace(row, identity=f"{shard}-{person}", **frames) for person in range(20)]
        write_clips(f"{tmp_path}/many/{shard}.parquet", people)
    size = int(ClipSource(f"{tmp_path}/many").rows.group_bytes[0])
    monkeypatch.setattr(source_order, "KEPT_BYTES", 20 * size)
    monkeypatch.setattr(source_order, "WINDOW_BYTES", 4 * size)
    monkeypatch.setattr(source_order, "BYTES_PER_SOURCE", size // 5)
    monkeypatch.setattr("jr2net.data.sources.KEPT_BYTES", 40 * row.encoded_bytes)  # four groups
    return ClipFrames(ClipSource(f"{tmp_path}/many"), SIZE)


@pytest.mark.parametrize("reenact", [False, True])
def test_a_shard_reads_few_row_groups(
    many_groups: ClipFrames, reenact: bool, make_maker: MakeMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty pictures in any order would be in thirty groups."""
    read, reads = OpenShards.read, []
    monkeypatch.setattr(OpenShards, "read", lambda self, *given: reads.append(given) or read(self, *given))
    driving = ClipFrames(many_groups.clips, SIZE) if reenact else None
    maker = make_maker(sources=many_groups, driving=driving, pairs=1200, pairs_per_shard=40, pairs_per_source=1)
    for index in range(6):
        reads.clear()
        assert len(maker.shard(index).pairs) == 40
        assert len(set(reads)) <= 12 + 12 * reenact and len(reads) <= 20 + 40 * reenact


def test_photos_have_no_groups(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"photo")
    photos = open_sources(str(tmp_path), list_sources(str(tmp_path)), SIZE)
    order = SourceOrder.of(photos)
    assert order.in_one_window and sorted(whole(order, 0, 0)) == [0, 1]
