"""The stages of the cascade: what their inputs depend on."""

from __future__ import annotations

from pathlib import Path

import pytest
from stages import SMOKE, finish, run_at

from jr2net import storage
from jr2net.config import load
from jr2net.run import manifest
from jr2net.run.cascade import ALL_STAGES, REENACTORS, StageError, networks, stages, upstream

STAGES = ("prepare", "recnet", "dcnet", "synthesis", "etnet", "recaugnet", "evaluation")  # with DCNet, the default


@pytest.mark.parametrize("reenactor", REENACTORS)
def test_stages_run_after_their_dependencies(reenactor: str) -> None:
    config = load(SMOKE, [f"reenactor={reenactor}"])
    planned = stages(config)
    own = {"dcnet": ("dcnet",), "flow3d": ("mattes", "flow3d")}[reenactor]
    assert set(planned) == {*STAGES} - {"dcnet"} | {*own}
    assert networks(config) == ("recnet", reenactor, "etnet", "recaugnet")
    for position, stage in enumerate(planned):
        assert set(upstream(config, stage)) <= set(planned[:position])
    assert all(upstream(config, other) == upstream(load(SMOKE), other) for other in REENACTORS)
    assert set(ALL_STAGES) == set(planned) | {*REENACTORS, "mattes"}


def test_another_reenactor_trains_nothing_again(tmp_path: Path) -> None:
    """Both reenactors stay; synthesis and what follows are made again."""
    run = run_at(tmp_path)
    for stage in STAGES:
        finish(run, stage)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    other = run_at(tmp_path, "reenactor=flow3d")
    for stage in ("prepare", "recnet", "dcnet"):
        assert manifest.is_done(other.folder(stage), other.inputs(stage))
    finish(other, "mattes")
    assert not manifest.is_done(other.folder("flow3d"), other.inputs("flow3d"))
    finish(other, "flow3d")
    assert set(other.folders("synthesis")) == {"prepare", "recnet", "flow3d"}
    assert not manifest.is_done(other.folder("synthesis"), other.inputs("synthesis"))
    assert all(path.read_bytes() == content for path, content in before.items())
    assert manifest.is_done(run.folder("synthesis"), run.inputs("synthesis"))  # as long as it has not been made again


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("recnet.optimizer.steps=9", {"recnet"}),
        ("recnet.loss.landmark=1", {"recnet", "recaugnet"}),
        ("synthesis.pairs=17", {"synthesis"}),
        ("synthesis.batch_size=4", set()),
        ("dcnet.width=16", {"dcnet"}),
        ("flow3d.depth=4", set()),
        ("reenactor=flow3d", {"synthesis", "evaluation"}),
        ("data.studio.people=13", {"prepare"}),
        ("evaluation.turned=true", {"prepare", "evaluation"}),
        ("seed=1", set(STAGES)),
        ("face.focal_ratio=4", set(STAGES)),
        ("scaling.workers=1", set()),
        ("storage=elsewhere", set()),
    ],
)
def test_a_setting_changes_the_inputs_of_its_stages_only(tmp_path: Path, override: str, changed: set[str]) -> None:
    run = run_at(tmp_path)
    for stage in (*STAGES[:3], "mattes", "flow3d", *STAGES[3:]):
        finish(run, stage)
    other = run_at(tmp_path, override)
    other.folder = run.folder  # type: ignore[method-assign]
    assert {stage for stage in STAGES if other.inputs(stage) != run.inputs(stage)} == changed


def test_another_face_model_changes_the_inputs(tmp_path: Path) -> None:
    run, other = run_at(tmp_path), run_at(tmp_path, face="another")
    finish(run, "prepare")
    assert run.inputs("recnet") != other.inputs("recnet")


def test_clips_are_identified_by_name_and_size_not_by_path(tmp_path: Path) -> None:
    for folder in ("here", "there"):
        storage.write_bytes(f"{tmp_path}/{folder}/clips.parquet", b"12345")
    here, there = (run_at(tmp_path / "run", f"data.clips={tmp_path}/{folder}") for folder in ("here", "there"))
    assert here.inputs("prepare") == there.inputs("prepare")
    storage.write_bytes(f"{tmp_path}/there/clips.parquet", b"123456")
    assert here.inputs("prepare") != there.inputs("prepare")


def test_inputs_of_a_stage_need_finished_dependencies(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"prepare: prepare has not finished; run it first"):
        run_at(tmp_path).inputs("recnet")
