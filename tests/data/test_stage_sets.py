"""The sets that each network is trained on, by its section of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from blob_clips import make_row

from jobs.command_line import resolve_paths
from jr2net.config import Config, load
from jr2net.data import sets
from jr2net.data.index import ClipIndex, index_shards, join_sets
from jr2net.data.shards import list_shards, write_clips
from jr2net.evaluation.people import count_people
from jr2net.run.inputs import differences, record
from jr2net.settings import ConfigError

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.yaml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_clips(str(tmp_path / "faces" / "a.parquet"), [make_row(number, 2) for number in range(6)])
    write_clips(str(tmp_path / "films" / "a.parquet"), [make_row(number, 3) for number in range(4, 10)])
    write_clips(str(tmp_path / "tests" / "a.parquet"), [make_row(number, 2) for number in (5, 9)])
    return tmp_path


def config(folder: Path, *overrides: str) -> Config:
    named = f"recnet.clips=[{{uri: {folder}/faces, weight: 3}}, {{uri: {folder}/films}}]"
    given = [f"data.clips={folder}/films", f"data.test_clips={folder}/tests", named]
    return load(SMOKE, [f"storage={folder}/run", *given, *overrides])


def prepared(made: Config, folder: Path) -> str:
    """What ``prepare`` writes of the sets."""
    target = str(folder / "prepare")
    given = {"clips": made.data.clips, "test_clips": made.data.test_clips} | sets.stage_sets(made, "recnet")
    for name, uri in given.items():
        index_shards(list_shards(str(uri))).write(f"{target}/{sets.index_name(name)}")
    parts = [ClipIndex.open(f"{target}/{sets.index_name(name)}", "") for name in sets.stage_sets(made, "recnet")]
    join_sets(parts).write(f"{target}/{sets.index_name('recnet')}")
    (folder / "prepare/left_out.json").write_text('["person-5", "person-9"]')
    return target


def test_a_network_has_its_sets_without_the_people_of_the_tests(folder: Path) -> None:
    made = config(folder)
    prepare = prepared(made, folder)
    trained = sets.stage_clips(made, prepare, "recnet")
    assert trained.weights == {f"{folder}/faces": 3.0, f"{folder}/films": 1.0}
    assert trained.identities == [f"person-{number}" for number in (0, 1, 2, 3, 4, 6, 7, 8)]
    others = sets.stage_clips(made, prepare, "dcnet")
    assert others.weights is None and others.identities == [f"person-{number}" for number in (4, 6, 7, 8)]
    people = count_people(made, prepare, others, sets.test_clips(made, prepare))
    assert people["identities"]["training"] == 8 and people["leaks"] == 0


def test_sets_and_weights_decide_and_where_they_lie_does_not(folder: Path) -> None:
    before = record(config(folder), "recnet", "x") | {"upstream": {}}
    moved = folder / "moved"
    moved.mkdir()
    (folder / "faces").rename(moved / "faces")
    (folder / "films").rename(moved / "films")
    (folder / "tests").rename(moved / "tests")
    assert differences(before, record(config(moved), "recnet", "x") | {"upstream": {}}) == []
    other = config(moved, f"recnet.clips=[{{uri: {moved}/faces}}, {{uri: {moved}/films}}]")
    (found,) = differences(before, record(other, "recnet", "x") | {"upstream": {}})
    assert found.field == "recnet.clips"


def test_relative_sets_are_made_absolute(folder: Path) -> None:
    made = config(folder, "recnet.clips=[{uri: faces}, {uri: 's3://bucket/films'}]")
    resolved = resolve_paths(made, str(folder))
    assert resolved.recnet.clips is not None
    assert [part.uri for part in resolved.recnet.clips] == [f"{folder}/faces", "s3://bucket/films"]


def test_sets_need_the_clips_of_the_run(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"recnet\.clips: the run needs data\.clips too"):
        load(SMOKE, ["recnet.clips=[{uri: /a}]"])
    with pytest.raises(ConfigError, match=r"recnet\.clips: give at least one set, and each once"):
        config(folder, "recnet.clips=[{uri: /a}, {uri: /a}]")
