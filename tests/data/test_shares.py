"""Sets of clips in given proportions: how often each is repeated, and that the order of samples is what it was."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from blob_clips import make_row

from jr2net.data.clips import ClipLoader, ClipSource
from jr2net.data.index import index_shards, join_sets
from jr2net.data.runs import ClipRuns
from jr2net.data.shards import list_shards, write_clips
from jr2net.data.shares import copies_for, repeated_runs


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, float]:
    """30 frames of five people with half of the samples, and 6 frames of two people with the other half."""
    people = [make_row(number, 6) for number in range(5)]
    write_clips(str(tmp_path / "large" / "a.parquet"), people[:3])
    write_clips(str(tmp_path / "large" / "b.parquet"), people[3:])
    write_clips(str(tmp_path / "small" / "a.parquet"), [make_row(number, 3) for number in (20, 21)])
    return {str(tmp_path / "large"): 1.0, str(tmp_path / "small"): 1.0}


@pytest.fixture
def source(sets: dict[str, float], tmp_path: Path) -> ClipSource:
    join_sets([index_shards(list_shards(uri)) for uri in sets]).write(str(tmp_path / "both.arrow"))
    return ClipSource(list(sets), index=str(tmp_path / "both.arrow"), weights=sets)


@pytest.mark.parametrize(
    ("frames", "weights", "copies"),
    [([100, 100], [1, 1], [1, 1]), ([30, 6], [1, 1], [1, 5]), ([100, 100], [1, 3], [1, 3]), ([60, 40], [1, 1], [2, 3])],
)
def test_copies_of_known_proportions(frames: list[int], weights: list[float], copies: list[int]) -> None:
    assert copies_for(frames, weights) == copies


def test_copies_come_close_to_any_proportions() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        frames, weights = rng.integers(50, 5000, 4), rng.uniform(0.1, 1, 4)
        samples = np.array(copies_for(frames.tolist(), weights.tolist())) * frames
        assert samples / samples.sum() == pytest.approx(weights / weights.sum(), rel=0.05)


def test_the_index_of_sets_has_the_rows_of_each(source: ClipSource, sets: dict[str, float]) -> None:
    assert source.frame_count == 36 and len(source.identities) == 7
    separate = [entry for uri in sets for entry in ClipSource(uri).rows]
    assert list(source.rows) == separate
    again = pickle.loads(pickle.dumps(source))
    assert list(again.rows) == separate and again.weights == sets


def epoch(source: ClipSource, world: int = 1, batch: int = 6, steps: int = 10, **settings: int) -> list[list[str]]:
    """The samples of the first steps, those of all workers together."""
    loaders = [
        ClipLoader(source, seed=3, batch_size=batch, size=32, rank=rank, world=world, **settings)
        for rank in range(world)
    ]
    return [[name for loader in loaders for name in loader.batch(step)["sample_id"]] for step in range(steps)]


@pytest.mark.parametrize("settings", [{}, {"shuffle_bytes": 1, "run_bytes": 1}])
def test_an_epoch_has_every_frame_as_often_as_the_weights_ask_for(source: ClipSource, settings: dict) -> None:
    batch = 6 if not settings else 1  # with lanes of a window each, epochs of different lanes do not end together
    names = [name for step in epoch(source, batch=batch, steps=60 // batch, **settings) for name in step]
    counts = Counter(name.rpartition("/")[0] for name in names)
    small = {f"{entry.clip_id}/" for entry in source.rows if entry.frames == 3}
    repeated = {count for name, count in counts.items() if any(name.startswith(clip) for clip in small)}
    once = {count for name, count in counts.items() if not any(name.startswith(clip) for clip in small)}
    assert len(counts) == 36 and repeated == {5} and once == {1}


@pytest.mark.parametrize("settings", [{}, {"shuffle_bytes": 2000, "run_bytes": 1}])
def test_the_samples_do_not_depend_on_the_number_of_workers(source: ClipSource, settings: dict) -> None:
    assert epoch(source, **settings) == epoch(source, world=2, **settings) == epoch(source, world=3, **settings)


def test_copies_of_a_frame_are_augmented_anew(source: ClipSource) -> None:
    loader = ClipLoader(source, seed=0, batch_size=60, size=32, jitter=0.2)
    batch = loader.batch(0)
    by_frame: dict[str, list[int]] = {}
    for position, name in enumerate(batch["sample_id"]):
        by_frame.setdefault(name.rpartition("/")[0], []).append(position)
    copies = next(positions for positions in by_frame.values() if len(positions) == 5)
    assert len({batch["source_image"][position].numpy().tobytes() for position in copies}) == 5


def test_equal_shares_of_one_set_are_the_set(clip_folder: Path) -> None:
    plain = ClipSource(str(clip_folder))
    weighted = ClipSource(str(clip_folder), weights={str(clip_folder): 2.5})
    assert epoch(weighted) == epoch(plain)


def test_a_set_whose_people_are_all_left_out_has_no_share(source: ClipSource) -> None:
    people = [entry.identity for entry in source.rows if entry.frames == 3]
    rest = source.without(people)
    assert rest.weights is not None
    assert len(repeated_runs(rest.rows, ClipRuns(rest.rows), rest.weights)) == len(ClipRuns(rest.rows))


def test_an_identity_of_two_sets_is_one(sets: dict[str, float], tmp_path: Path) -> None:
    write_clips(str(tmp_path / "third.parquet"), [make_row(0, 2)])
    index = join_sets([index_shards(list_shards(uri)) for uri in [*sets, str(tmp_path / "third.parquet")]])
    assert len(index.identities) == 7 and index.frames.sum() == 38
