"""A test set that shows people of the training set fails the run; the report counts who is left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jr2net.config import Config, load, shipped_config
from jr2net.data import sets
from jr2net.data.clips import ClipSource
from jr2net.data.shards import write_clips
from jr2net.evaluation.people import LeakError, count_people
from jr2net.images.arrays import encode_jpeg
from jr2net.images.clip import ClipRow


def write_people(uri: Path, numbers: range) -> None:
    image = encode_jpeg(np.zeros((16, 16, 3), np.uint8))
    rows = [
        ClipRow("00001", f"id{number}", 25.0, np.zeros(1, np.int32), (image,), np.zeros((1, 68, 2), np.float32))
        for number in numbers
    ]
    write_clips(str(uri / "clips.parquet"), rows)


def count(config: Config, prepare: Path) -> dict:
    training, tests = sets.training_clips(config, str(prepare)), sets.test_clips(config, str(prepare))
    return count_people(config, str(prepare), training, tests)


@pytest.fixture
def given(tmp_path: Path) -> Config:
    """30 people to train on, 12 of whom are in the test clips of 15."""
    write_people(tmp_path / "clips", range(30))
    write_people(tmp_path / "tests", range(18, 33))
    clips = [f"data.clips={tmp_path}/clips", f"data.test_clips={tmp_path}/tests", "data.validation=6"]
    return load(shipped_config("smoke"), clips)


def test_people_are_counted(given: Config, tmp_path: Path) -> None:
    (tmp_path / sets.LEFT_OUT).write_text(json.dumps(sets.shared_identities(given, str(tmp_path))))
    identities = {"training": 15, "left_out": 12, "validation": 3, "held_out": 15}
    assert count(given, tmp_path) == {"identities": identities, "leaks": 0}


def test_a_leak_is_an_error(given: Config, tmp_path: Path) -> None:
    (tmp_path / sets.LEFT_OUT).write_text(json.dumps(["id18"]))  # not all of them
    with pytest.raises(LeakError, match="held_out: 11 of 15 identities are in the training set"):
        count(given, tmp_path)


def test_people_who_are_held_back_are_not_tested_on(given: Config, tmp_path: Path) -> None:
    (tmp_path / sets.LEFT_OUT).write_text(json.dumps(sets.shared_identities(given, str(tmp_path))))
    training, held_back = (choose(given, str(tmp_path)) for choose in (sets.training_clips, sets.validation_clips))
    assert isinstance(held_back, ClipSource)
    with pytest.raises(LeakError, match="test set photographs: 3 of 3"):
        count_people(given, str(tmp_path), training, {"photographs": held_back})
