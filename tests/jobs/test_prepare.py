"""The parts of the stage ``prepare`` that need no cluster."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_run import SMOKE, make_upstream, noise_clips

from jobs import cascade, prepare
from jobs.prepare import clip_sets, leave_out
from jr2net.config import load
from jr2net.data.checks import check_shard
from jr2net.data.index import ClipIndex, join_indices
from jr2net.data.sets import LEFT_OUT, index_name
from jr2net.data.shards import find_shards, write_clips
from jr2net.run.cascade import Run, StageError


def test_people_of_the_test_clips_are_reported_and_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people = noise_clips(0, 32)
    write_clips(str(tmp_path / "clips" / "a.parquet"), people[:8])
    write_clips(str(tmp_path / "tests" / "a.parquet"), people[5:])
    given = [f"data.clips={tmp_path}/clips", f"data.test_clips={tmp_path}/tests"]
    run = Run(load(SMOKE, [f"storage={tmp_path}/run", *given]))
    assert leave_out(run) == [LEFT_OUT]
    assert "[prepare] 3 identities are in the test clips too: they are left out of training" in capsys.readouterr().out
    written = json.loads((tmp_path / "run" / "prepare" / LEFT_OUT).read_text())
    assert written == ["person-0-5", "person-0-6", "person-0-7"]


@pytest.mark.parametrize("given", [[], ["data.clips={}/clips"], ["data.test_clips={}/tests"]])
def test_otherwise_nothing_is_written(tmp_path: Path, given: list[str]) -> None:
    run = Run(load(SMOKE, [f"storage={tmp_path}/run", *(setting.format(tmp_path) for setting in given)]))
    assert leave_out(run) == [] and not (tmp_path / "run").exists()


def test_the_sets_of_a_run(tmp_path: Path) -> None:
    def sets(*overrides: str) -> dict[str, str]:
        return clip_sets(Run(load(SMOKE, [f"storage={tmp_path}", *overrides])))

    filmed = {kind: f"{tmp_path}/prepare/{kind}" for kind in ("train", "natural", "large")}
    assert sets() == filmed and sets("data.test_clips=/t") == filmed | {"test_clips": "/t"}
    assert sets("data.clips=/c", "data.test_clips=/t") == {"clips": "/c", "test_clips": "/t"}


def test_shards_that_are_checked_again_must_be_those_of_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check_clips(run: Run, uri: str, every_image: bool) -> tuple[dict, ClipIndex]:
        assert every_image
        found = [check_shard(shard, version, f"{tmp_path}/checks", True) for shard, version in find_shards(uri).items()]
        return {}, join_indices([Path(shard).name for shard in find_shards(uri)], found, uri)

    monkeypatch.setattr(prepare, "check_clips", check_clips)
    people, clips = noise_clips(0, 32), tmp_path / "clips"
    for name in "abc":
        write_clips(str(clips / f"{name}.parquet"), people[:4])
    run = Run(load(SMOKE, [f"storage={tmp_path}/run", f"data.clips={clips}"]))
    check_clips(run, str(clips), True)[1].write(f"{run.folder('prepare')}/{index_name('clips')}")
    prepare.check_again(run)
    (clips / "a.parquet").unlink()
    write_clips(str(clips / "b.parquet"), people[:5])
    write_clips(str(clips / "d.parquet"), people[:4])
    with pytest.raises(StageError, match=r"changed .* \(3\): a.parquet, b.parquet, d.parquet; .*--redo prepare"):
        prepare.check_again(run)


@pytest.mark.parametrize("check", ["sample", "all"])
@pytest.mark.parametrize("job", [prepare.work, cascade.cascade])
def test_a_finished_stage_is_checked_again_where_all_images_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: Callable, check: str
) -> None:
    run, checked = Run(make_upstream(str(tmp_path))), []
    for module in (prepare, cascade):
        monkeypatch.setattr(module, "run_stage", lambda run, stage, function: None)
        monkeypatch.setattr(module, "check_again", checked.append)
    job(run, argparse.Namespace(check=check))
    assert checked == ([run] if check == "all" else [])
