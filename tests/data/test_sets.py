"""Who is trained, validated and tested on; people whose clips share an id are told apart."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from blob_clips import make_row

from jr2net.config import Config, load, shipped_config
from jr2net.data import sets
from jr2net.data.clips import ClipLoader, ClipSource
from jr2net.data.evaluation_frames import same_identity_pairs
from jr2net.data.mattes import matte_shard, read_matte_group, write_mattes
from jr2net.data.shards import write_clips
from jr2net.data.sources import ClipFrames
from jr2net.images.clip import ClipRow
from jr2net.settings import ConfigError
from jr2net.storage.parquet import ShardError


def config(*overrides: str) -> Config:
    return load(shipped_config("smoke"), list(overrides))


def namesake(number: int, identity: str, first: int, frames: int = 4) -> ClipRow:
    """A clip called ``00001`` whose frames are numbered from ``first`` on."""
    row = make_row(number, frames, identity=identity, mattes=True)
    return replace(row, clip_id="00001", frame=np.arange(first, first + frames, dtype=np.int32))


@pytest.fixture(scope="module")
def namesakes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two people with a clip ``00001`` each, one of them in two rows."""
    folder = tmp_path_factory.mktemp("namesakes")
    rows = [namesake(1, "ann", 0), namesake(2, "bob", 100), namesake(3, "ann", 4)]
    write_clips(str(folder / "clips.parquet"), rows)
    return str(folder)


def test_training_pairs_are_of_one_person(namesakes: str) -> None:
    loader = ClipLoader(ClipSource(namesakes), seed=0, batch_size=12, size=32)
    names = [name.split("/") for step in range(100) for name in loader.batch(step)["sample_id"]]
    drawn = {(int(source), int(driving)) for _, source, driving in names}
    assert all((source < 100) == (driving < 100) for source, driving in drawn)
    people = (range(8), range(100, 104))
    assert drawn == {(one, other) for person in people for one in person for other in person if one != other}


def test_evaluation_pairs_are_of_one_person(namesakes: str) -> None:
    source = ClipSource(namesakes)
    pairs = same_identity_pairs(source, 60, seed=0)
    people = Counter((source.rows[one.row].identity, source.rows[other.row].identity) for one, other in pairs)
    assert people == {("ann", "ann"): 30, ("bob", "bob"): 30}


def test_sources_of_synthesis_have_names_of_their_own(namesakes: str) -> None:
    frames = ClipFrames(ClipSource(namesakes), 32)
    names = [frames.name(number) for number in range(len(frames))]
    assert len(set(names)) == 12 and names[0] == "ann/00001/0" and names[4] == "bob/00001/100"


def test_mattes_are_joined_by_person(tmp_path: Path) -> None:
    """The clips of two people share id and frame numbers, and lie in another order than when mattes were made."""
    rows = [namesake(1, "ann", 0), namesake(2, "bob", 0)]
    for name, order in (("clips", rows), ("others", rows[::-1])):
        write_clips(str(tmp_path / name / "a.parquet"), [replace(row, matte=None) for row in order])
    write_clips(str(tmp_path / "own" / "a.parquet"), rows)
    made = matte_shard(str(tmp_path / "mattes"), "a.parquet")
    write_mattes(str(tmp_path / "own" / "a.parquet"), made, lambda row: [])
    clips = ClipSource(str(tmp_path / "clips"), mattes=str(tmp_path / "mattes"))
    assert [clips.read_mattes(row) for row in range(2)] == [row.matte for row in rows]
    others = ClipSource(str(tmp_path / "others"), mattes=str(tmp_path / "mattes"))
    with pytest.raises(ShardError, match="has no mattes of clip '00001'"):
        others.read_mattes(0)


def test_matte_shards_of_version_0_1_are_read(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    rows = [namesake(1, "ann", 0)]
    write_clips(str(tmp_path / "a.parquet"), rows)
    write_mattes(str(tmp_path / "a.parquet"), str(tmp_path / "m.parquet"), lambda row: [])
    pq.write_table(pq.read_table(tmp_path / "m.parquet").drop_columns(["identity"]), tmp_path / "old.parquet")
    (mattes,) = read_matte_group(str(tmp_path / "old.parquet"), 0)
    assert mattes.matte == rows[0].matte and mattes.belong_to("ann", "00001", (0, 1, 2, 3))


def test_clips_of_one_frame_make_no_pairs(tmp_path: Path) -> None:
    """A clip is counted over all of its rows, and for itself where another person's has the same id."""
    alone, first, second = namesake(1, "ann", 0, 1), namesake(2, "bob", 0, 1), namesake(3, "bob", 1, 1)
    write_clips(str(tmp_path / "clips.parquet"), [alone, first, make_row(4, 3, mattes=True), second])
    source = ClipSource(str(tmp_path))
    paired = source.with_pairs()
    assert [row.identity for row in paired.rows] == ["bob", "person-4", "bob"]
    batch = ClipLoader(paired, seed=0, batch_size=50, size=32, paired_augmentation=True).batch(0)
    assert all(name.split("/")[1] != name.split("/")[2] for name in batch["sample_id"])
    assert list(source.with_pairs().with_pairs().rows) == list(paired.rows)
    write_clips(str(tmp_path / "alone.parquet"), [alone])
    with pytest.raises(ShardError, match="no clip has two frames, which the training of a reenactor needs"):
        ClipSource(str(tmp_path / "alone.parquet")).with_pairs()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``clips``: 40 people; ``tests``: six of these and two others."""
    folder = tmp_path_factory.mktemp("people")
    write_clips(str(folder / "clips" / "a.parquet"), [make_row(number, 2) for number in range(40)])
    write_clips(str(folder / "tests" / "a.parquet"), [make_row(number, 2) for number in (3, 5, 8, 13, 21, 34, 50, 51)])
    return folder


def with_tests(clips: Path, *overrides: str) -> Config:
    return config(f"data.clips={clips}/clips", f"data.test_clips={clips}/tests", *overrides)


def test_people_of_the_test_clips_are_left_out_of_training(clips: Path, tmp_path: Path) -> None:
    given = with_tests(clips)
    shared = sets.shared_identities(given, str(tmp_path))
    assert shared == sorted(f"person-{number}" for number in (3, 5, 8, 13, 21, 34))
    (tmp_path / sets.LEFT_OUT).write_text(json.dumps(shared))
    training, tests = sets.training_clips(given, str(tmp_path)), sets.test_clips(given, str(tmp_path))
    assert len(training.identities) == 34 and len(tests["held_out"].identities) == 8
    assert not set(training.identities) & set(tests["held_out"].identities)
    assert sets.shared_identities(config(), str(tmp_path)) == []


def test_data_prepared_without_leaving_them_out_is_refused(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"left_out\.json is missing, and 6 identities .* --redo prepare"):
        sets.training_clips(with_tests(clips), str(tmp_path))
    disjoint = config(f"data.clips={clips}/clips", f"data.test_clips={tmp_path}/tests")
    write_clips(str(tmp_path / "tests" / "a.parquet"), [make_row(50, 2)])
    assert len(sets.training_clips(disjoint, str(tmp_path)).identities) == 40


def test_tests_that_show_everybody_are_an_error(clips: Path, tmp_path: Path) -> None:
    given = config(f"data.clips={clips}/clips", f"data.test_clips={clips}/clips")
    (tmp_path / sets.LEFT_OUT).write_text(json.dumps(sets.shared_identities(given, str(tmp_path))))
    with pytest.raises(ShardError, match="every identity is in the test clips too"):
        sets.training_clips(given, str(tmp_path))


@pytest.mark.parametrize("tested", [False, True])
def test_validation_holds_back_training_identities(clips: Path, tmp_path: Path, tested: bool) -> None:
    def of(*overrides: str) -> Config:
        return with_tests(clips, *overrides) if tested else config(f"data.clips={clips}/clips", *overrides)

    (tmp_path / sets.LEFT_OUT).write_text(json.dumps(sets.shared_identities(of(), str(tmp_path))))
    everybody = set(sets.training_clips(of(), str(tmp_path)).identities)
    given = of("data.validation=5")
    training, validation = sets.training_clips(given, str(tmp_path)), sets.validation_clips(given, str(tmp_path))
    held_back = set(validation.identities)
    assert set(training.identities) == everybody - held_back and len(held_back) == round(len(everybody) / 5)
    tests = sets.test_clips(given, str(tmp_path))["held_out"]
    assert held_back < everybody and not held_back & set(tests.identities)
    assert sets.validation_clips(given, str(tmp_path)).identities == validation.identities
    assert sets.test_clips(of(), str(tmp_path))["held_out"].identities == tests.identities


def test_best_weights_need_a_validation_split() -> None:
    with pytest.raises(ConfigError, match=r"scaling\.best = 'landmark' is measured on people .* set data\.validation"):
        config("scaling.best=landmark")
    assert config("scaling.best=landmark", "data.validation=20").data.validation == 20
