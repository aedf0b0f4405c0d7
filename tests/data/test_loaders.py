"""Loaders of clips and pairs over data that is larger than the shuffle buffer: lanes, runs, resume, threads."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from blob_clips import blob_centre, make_row
from test_clips import same
from test_pairs import make_pair, write_pairs

from jr2net.data import pair_index, pairs, runs, shards
from jr2net.data.clips import ClipLoader, ClipSource
from jr2net.data.loader import LaneLoader
from jr2net.data.mattes import matte_shard, write_mattes
from jr2net.data.pairs import PairLoader, PairSource
from jr2net.data.shards import list_shards, write_clips
from jr2net.data.transfer import Transfer
from jr2net.face.landmarks import KEYPOINTS
from jr2net.storage.parquet import ShardError

SMALL = 20_000
"""Bytes of the shuffle buffer; all shards have several times as many."""

GROUP = 1000
"""Bytes of images in a row group."""


def draw_keypoints(*seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, (KEYPOINTS, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Clips and pairs in small row groups: ``clips`` with mattes, ``plain`` without, ``pairs``."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "ROW_GROUP_BYTES", GROUP)
        patch.setattr(pairs, "PAIRS_PER_GROUP", 8)
        for number in range(4):
            rows = [make_row(40 * number + n, 2 + n % 5, mattes=True, identity=f"person-{n % 7}") for n in range(40)]
            write_clips(str(folder / "clips" / f"{number}.parquet"), rows)
            write_clips(str(folder / "plain" / f"{number}.parquet"), [replace(row, matte=None) for row in rows])
            labelled = [replace(make_pair(100 * number + n), keypoints=draw_keypoints(number, n)) for n in range(70)]
            write_pairs(str(folder / "pairs" / f"{number}.parquet"), labelled)
    yield folder


@pytest.fixture(autouse=True)
def runs_of_one_row_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although the footers of such small shards are as long as the rest of them."""
    monkeypatch.setattr(runs, "FOOTERS", 0)


@pytest.fixture(params=["clips", "pairs"])
def loader(request: pytest.FixtureRequest, folder: Path) -> Callable[..., LaneLoader]:
    """A loader of clips or of pairs, by its settings."""

    def make(**settings) -> LaneLoader:
        settings = {"seed": 5, "batch_size": 6, "size": 32, "shuffle_bytes": SMALL, **settings}
        if request.param == "clips":
            return ClipLoader(ClipSource(str(folder / "plain")), run_bytes=1, **settings)
        source = PairSource(str(folder / "pairs"))
        source.index = pair_index.PairIndex(source.index.table, run_bytes=1)
        return PairLoader(source, **settings)

    return make


def names(batch: dict) -> list[str]:
    return batch["sample_id"] if "sample_id" in batch else batch["pair_id"]


def test_every_place_has_a_lane(loader) -> None:
    lanes = loader().lanes
    assert lanes.count == 6 and not lanes.in_one_window


@pytest.mark.parametrize("world", [2, 3, 6])
def test_batches_do_not_depend_on_the_number_of_workers(loader, world: int) -> None:
    whole = loader()
    parts = [loader(rank=rank, world=world) for rank in range(world)]
    for step in (0, 1, 30):
        batch, shares = whole.batch(step), [part.batch(step) for part in parts]
        assert [name for share in shares for name in names(share)] == names(batch)
        for key, value in batch.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(torch.cat([share[key] for share in shares]), value), key


def test_a_stream_that_was_killed_continues_with_the_next_batch(loader) -> None:
    stream = iter(loader())
    batches = [next(stream) for _ in range(25)]
    stream.close()
    for start, threads in ((1, 1), (13, 3)):
        resumed = iter(loader(start_step=start, threads=threads))
        assert all(same(next(resumed), batches[step]) for step in range(start, 25))
        resumed.close()
    assert not any(thread.name.startswith("prefetch") for thread in threading.enumerate())


def test_a_loader_may_be_iterated_again(loader) -> None:
    loading = loader()
    for _ in range(2):
        stream = iter(loading)
        names_of_first = [names(next(stream)) for _ in range(3)]
        stream.close()
        assert names_of_first == [names(loading.batch(step)) for step in range(3)]


def test_every_epoch_has_every_sample_once(loader) -> None:
    stream = loader(size=32, jitter=0.0)
    samples = stream.lanes._lanes[0].runs.samples
    drawn = Counter((draw.epoch, draw.sample) for step in range(2 * samples // 6) for draw in stream.lanes.step(step))
    assert all(drawn[0, sample] == 1 for sample in range(samples))


def test_pairs_are_two_frames_of_one_clip(folder: Path) -> None:
    source = ClipSource(str(folder / "plain"))
    loader = ClipLoader(source, seed=1, batch_size=6, size=32, shuffle_bytes=SMALL, run_bytes=1)
    numbers = {row.clip_id: set(source.read(n).frame.tolist()) for n, row in enumerate(source.rows)}
    for step in range(40):
        for name in loader.batch(step)["sample_id"]:
            clip, one, other = name.split("/")
            assert one != other and {int(one), int(other)} <= numbers[clip]


def test_frames_outside_of_the_window_are_pairs_too(tmp_path: Path) -> None:
    """Clips of two frames, each in a shard of its own: as a rule the window has one of them."""
    for shard in range(2):
        rows = [make_row(number, 2, mattes=True) for number in range(30)]
        halves = [
            replace(
                row,
                frame=row.frame[shard : shard + 1],
                images=row.images[shard : shard + 1],
                landmarks=row.landmarks[shard : shard + 1],
                truth=None,
                matte=row.matte[shard : shard + 1] if row.matte else None,
            )
            for row in rows
        ]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shards, "ROW_GROUP_BYTES", 1)
            write_clips(str(tmp_path / f"{shard}.parquet"), halves)
    settings = {"seed": 0, "batch_size": 4, "size": 64, "shuffle_bytes": 5000, "run_bytes": 1, "mattes": True}
    loader = ClipLoader(ClipSource(str(tmp_path)).with_pairs(), **settings)
    outside = 0
    for step in range(30):
        draws, batch = loader.lanes.step(step), loader.batch(step)
        assert all(name.split("/")[1] != name.split("/")[2] for name in batch["sample_id"])
        outside += sum((draw.sample + 30) % 60 not in draw.window.samples for draw in draws)
        for image, matte in zip(batch["driving_image"], batch["driving_matte"]):
            assert blob_centre(matte[0].numpy()) == pytest.approx(blob_centre(image[0].numpy()), abs=0.1)
    assert outside > 50


def test_people_with_equal_clip_ids_are_not_mixed(tmp_path: Path) -> None:
    rows = [replace(make_row(n, 2), clip_id="00001", frame=np.arange(2 * n, 2 * n + 2)) for n in range(20)]
    write_clips(str(tmp_path / "clips.parquet"), rows)
    loader = ClipLoader(ClipSource(str(tmp_path)), seed=0, batch_size=16, size=32)
    for step in range(10):
        pairs = [name.split("/")[1:] for name in loader.batch(step)["sample_id"]]
        assert all(int(one) // 2 == int(other) // 2 and one != other for one, other in pairs)


def test_mattes_beside_the_clips_are_read_with_their_runs(folder: Path, tmp_path: Path) -> None:
    own = ClipSource(str(folder / "clips"))
    mattes = {(row.clip_id, tuple(row.frame)): row.matte for row in map(own.read, range(len(own)))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "ROW_GROUP_BYTES", GROUP)
        for shard in list_shards(str(folder / "plain")):
            write_mattes(shard, matte_shard(str(tmp_path), shard), lambda row: mattes[row.clip_id, tuple(row.frame)])
    beside = ClipSource(str(folder / "plain"), mattes=str(tmp_path))
    loader = ClipLoader(beside, seed=2, batch_size=6, size=64, shuffle_bytes=SMALL, run_bytes=1, mattes=True)
    for step in range(8):
        batch = loader.batch(step)
        for image, matte in zip(batch["driving_image"], batch["driving_matte"]):
            assert blob_centre(matte[0].numpy()) == pytest.approx(blob_centre(image[0].numpy()), abs=0.1)


def test_runs_are_read_once_and_ahead(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    reading = ClipLoader._read
    monkeypatch.setattr(ClipLoader, "_read", lambda self, run: (read.append(run), reading(self, run))[1])
    loader = ClipLoader(
        ClipSource(str(folder / "plain")), seed=1, batch_size=6, size=32, shuffle_bytes=SMALL, run_bytes=1
    )
    stream, steps = iter(loader), 4 * loader.runs.samples // 6
    for _ in range(steps):
        next(stream)
    stream.close()
    assert 4 * len(loader.runs) < len(read) < 5 * len(loader.runs)
    assert len(loader._reader._runs) < len(loader.runs) / 2


def test_a_data_set_in_one_window_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    reading = PairLoader._read
    monkeypatch.setattr(PairLoader, "_read", lambda self, run: (read.append(run), reading(self, run))[1])
    loader = PairLoader(str(folder / "pairs"), seed=1, batch_size=16, size=32)
    for step in range(100):
        loader.batch(step)
    assert sorted(read) == list(range(len(loader.source.index)))


def test_errors_of_reading_are_raised_at_their_turn(folder: Path, tmp_path: Path) -> None:
    write_pairs(str(tmp_path / "pairs.parquet"), [make_pair(n) for n in range(70)])
    loader = PairLoader(str(tmp_path), seed=0, batch_size=4, size=32)
    (tmp_path / "pairs.parquet").unlink()
    stream = iter(loader)
    with pytest.raises(ShardError, match=r"pairs\.parquet: no such shard"):
        next(stream)


def test_batches_are_copied_from_pinned_memory_on_a_stream_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CUDA device's calls are replaced; the order of what is asked of the two streams is what matters."""
    asked: list[str] = []
    copying, computing = Mock(name="copying"), Mock(name="computing")
    copying.record_event.side_effect = lambda: asked.append("record") or "event"
    computing.wait_event.side_effect = lambda event: asked.append(f"wait for the {event}")

    @contextmanager
    def on(stream: Mock) -> Iterator[None]:
        assert stream is copying
        asked.append("begin")
        yield
        asked.append("end")

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: copying)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: computing)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda value: asked.append("pin") or value)
    to = lambda value, device, non_blocking: asked.append(f"copy to {device}, {non_blocking}") or value  # noqa: E731
    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda value, stream: asked.append("in use"))
    transfer = Transfer("cuda:0")
    copied = transfer.begin({"image": torch.rand(2, 3), "pair_id": ["a", "b"]})
    assert asked == ["begin", "pin", "copy to cuda:0, True", "record", "end"]
    transfer.finish(copied)
    assert asked[5:] == ["wait for the event", "in use"]


def test_without_a_gpu_batches_stay_as_they_are() -> None:
    batch = {"image": torch.rand(2, 3), "pair_id": ["a", "b"]}
    transfer = Transfer("cpu")
    assert transfer.finish(transfer.begin(batch)) is batch
