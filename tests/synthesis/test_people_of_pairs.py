"""Nobody who is tested or validated on is shown by pairs, and where somebody is, the evaluation fails."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jobs.train import train
from jr2net.config import Config, load, shipped_config
from jr2net.data import sets
from jr2net.data.index import index_shards
from jr2net.data.shards import list_shards, write_clips
from jr2net.data.source_list import SourceList, list_sources
from jr2net.data.sources import open_sources
from jr2net.evaluation.people import count_people
from jr2net.images.arrays import encode_jpeg
from jr2net.images.clip import ClipRow
from jr2net.run.cascade import Run
from jr2net.storage.parquet import ShardError
from jr2net.synthesis.people import LeakError, shown_people, without_held_out, write_people

PEOPLE = 30


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A run whose pairs are made from all of its clips."""
    image = encode_jpeg(np.zeros((16, 16, 3), np.uint8))
    rows = [
        ClipRow("00001", f"id{number}", 25.0, np.zeros(1, np.int32), (image,), np.zeros((1, 68, 2), np.float32))
        for number in range(PEOPLE)
    ]
    write_clips(str(tmp_path / "clips" / "clips.parquet"), rows)
    index_shards(list_shards(f"{tmp_path}/clips")).write(f"{tmp_path}/prepare/{sets.index_name('clips')}")
    given = [f"data.clips={tmp_path}/clips", f"synthesis.sources={tmp_path}/clips", "data.validation=6"]
    return load(shipped_config("smoke"), [f"storage={tmp_path}", *given])


def sources_of(config: Config, folder: Path) -> SourceList:
    uri = str(config.synthesis.sources)
    return without_held_out(config, f"{folder}/prepare", uri, list_sources(uri, f"{folder}/checks"))


def count(config: Config, folder: Path) -> dict:
    prepare = f"{folder}/prepare"
    return count_people(config, prepare, sets.training_clips(config, prepare), sets.test_clips(config, prepare))


def write_dataset(folder: Path, listed: SourceList) -> str:
    """What a dataset says of its sources."""
    (folder / "synthesis").mkdir(exist_ok=True)
    (folder / "synthesis/sources.json").write_text(json.dumps(listed.tree))
    return f"{folder}/synthesis"


def test_people_of_the_tests_and_validation_are_no_sources(config: Config, tmp_path: Path) -> None:
    listed, prepare = sources_of(config, tmp_path), f"{tmp_path}/prepare"
    held_out = {name for clips in sets.test_clips(config, prepare).values() for name in clips.identities}
    held_out |= set(sets.validation_clips(config, prepare).identities)
    assert len(held_out) == 8 and set(listed.left_out) == held_out
    sources = open_sources(str(config.synthesis.sources), listed, 16)
    used = {sources.name(number).split("/")[0] for number in range(len(sources))}
    assert used == set(sets.training_clips(config, prepare).identities) and len(used) == PEOPLE - 8


def test_the_report_counts_them(config: Config, tmp_path: Path) -> None:
    listed = sources_of(config, tmp_path)
    folder = write_dataset(tmp_path, listed)
    write_people(folder, str(config.synthesis.sources), listed)
    assert len(shown_people(config, folder)) == PEOPLE - 8
    assert count(config, tmp_path)["leaks"] == 0


@pytest.mark.parametrize("stage", ["synthesis", "synthesis_2"])
def test_a_dataset_that_shows_somebody_is_a_leak(config: Config, tmp_path: Path, stage: str) -> None:
    listed = list_sources(str(config.synthesis.sources))
    folder = write_dataset(tmp_path, listed)
    write_people(folder, str(config.synthesis.sources), listed)
    Path(folder).rename(tmp_path / stage)
    with pytest.raises(LeakError, match=rf"pairs show 8 identities that are tested or validated on.*--redo {stage}"):
        count(config, tmp_path)
    config = load(shipped_config("smoke"), [f"storage={tmp_path}", f"data.clips={tmp_path}/clips"])
    assert count(config, tmp_path)["leaks"] == 0, "of another run, whose pairs show the people of the training"
    config = config.model_copy(
        update={"synthesis": config.synthesis.model_copy(update={"sources": f"{tmp_path}/clips"})}
    )
    with pytest.raises(LeakError, match=r"pairs show 4 identities"):
        count(config, tmp_path)


def test_datasets_of_older_code_are_looked_into(config: Config, tmp_path: Path) -> None:
    """They do not say who is in them."""
    write_dataset(tmp_path, list_sources(str(config.synthesis.sources)))
    with pytest.raises(LeakError, match="pairs show 8 identities"):
        count(config, tmp_path)
    write_dataset(tmp_path, sources_of(config, tmp_path))
    assert count(config, tmp_path)["leaks"] == 0


def test_nothing_is_trained_on_such_pairs(config: Config, tmp_path: Path) -> None:
    """The end of all trainings would be late to notice."""
    write_dataset(tmp_path, list_sources(str(config.synthesis.sources)))
    with pytest.raises(LeakError, match="--redo synthesis,"):
        train(Run(config), "etnet")
    (tmp_path / "synthesis").rename(tmp_path / "synthesis_2")
    with pytest.raises(LeakError, match="--redo synthesis_2,"):
        train(Run(config), "etnet_2")


def test_photos_show_nobody_who_is_known(config: Config, tmp_path: Path) -> None:
    folder = write_dataset(tmp_path, SourceList("photos", {"a.jpg": 1}))
    assert shown_people(config, folder) == []


def test_somebody_has_to_stay(config: Config, tmp_path: Path) -> None:
    held_out = sources_of(config, tmp_path).left_out
    rows = [
        ClipRow("1", name, 25.0, np.zeros(1, np.int32), (b"",), np.zeros((1, 68, 2), np.float32)) for name in held_out
    ]
    write_clips(f"{tmp_path}/others/a.parquet", rows)
    uri = f"{tmp_path}/others"
    with pytest.raises(ShardError, match="every identity is"):
        without_held_out(config, f"{tmp_path}/prepare", uri, list_sources(uri))
