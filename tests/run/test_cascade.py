"""The stages of the cascade: what their inputs depend on."""

from __future__ import annotations

from pathlib import Path

import pytest
from stages import SMOKE, finish, finish_all, run_at

from jr2net import storage
from jr2net.config import load
from jr2net.run import manifest
from jr2net.run.cascade import ABLATIONS, ALL_STAGES, REENACTORS, StageError, networks, roles, stages, upstream

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
    others = {*REENACTORS, "mattes", "films", *ABLATIONS, "pair_clips", "portraits", "detector"} | {
        stage for stage in ALL_STAGES if stage.endswith("_2")
    }
    assert set(ALL_STAGES) == set(planned) | others


@pytest.mark.parametrize("reenactor", REENACTORS)
def test_ablations_and_the_second_round_add_stages_and_change_none(tmp_path: Path, reenactor: str) -> None:
    both = ["ablations=[baseline, reccopynet, recdatanet]", "rounds=2"]
    run, more = run_at(tmp_path, f"reenactor={reenactor}"), run_at(tmp_path, f"reenactor={reenactor}", *both)
    finish_all(run)
    planned = stages(more.config)
    assert [stage for stage in planned if stage in stages(run.config)] == list(stages(run.config))
    second = [f"{reenactor}_2", "synthesis_2", "etnet_2", "recaugnet_2"]
    assert set(planned) - set(stages(run.config)) == {*ABLATIONS, "pair_clips", *second}
    for position, stage in enumerate(planned):
        assert set(upstream(more.config, stage)) <= set(planned[:position])
    for stage in stages(run.config)[:-1]:  # all but evaluation
        assert manifest.is_done(more.folder(stage), more.inputs(stage))
    assert set(networks(more.config)) == set(networks(run.config)) | {*ABLATIONS} | set(second) - {"synthesis_2"}


def test_pairs_as_clips_are_made_for_whom_they_are_trained_on() -> None:
    assert "pair_clips" not in stages(load(SMOKE, ["ablations=[reccopynet]"]))
    assert "pair_clips" in stages(load(SMOKE, ["ablations=[baseline]"]))


def test_films_are_a_stage_of_runs_whose_etnet_learns_from_them(tmp_path: Path) -> None:
    run, more = run_at(tmp_path), run_at(tmp_path, "etnet.films=0.5")
    finish_all(run)
    assert set(stages(more.config)) == {*stages(run.config), "films"} and "films" not in networks(more.config)
    for stage in ("prepare", "recnet", "dcnet", "synthesis"):
        assert manifest.is_done(more.folder(stage), more.inputs(stage))
    assert upstream(more.config, "etnet") == ("recnet", "synthesis", "films")
    assert upstream(load(SMOKE, ["etnet.films=1"]), "etnet") == ("recnet", "films")
    assert roles(load(SMOKE, ["etnet.films=1", "rounds=2"]), "etnet_2") == {"recnet": "recnet", "films": "films"}
    other = run_at(tmp_path, "etnet.films=0.5", "films.frames=1")
    assert other.settings("films") != more.settings("films") and other.settings("etnet") == more.settings("etnet")


def test_a_detector_is_trained_from_portraits_alone(tmp_path: Path) -> None:
    run, more = run_at(tmp_path), run_at(tmp_path, "detector.train=true")
    finish_all(run)
    assert set(stages(more.config)) == {*stages(run.config), "portraits", "detector"}
    assert upstream(more.config, "detector") == ("portraits",) and upstream(more.config, "portraits") == ()
    assert "detector" in networks(more.config) and "portraits" not in networks(more.config)
    assert all(manifest.is_done(more.folder(stage), more.inputs(stage)) for stage in stages(run.config)[:-1])


def test_recaugnet_takes_the_part_of_recnet_in_the_second_round() -> None:
    config = load(SMOKE, ["rounds=2"])
    assert roles(config, "dcnet_2") == {"prepare": "prepare", "recnet": "recaugnet"}
    assert roles(config, "synthesis_2") == {"prepare": "prepare", "recnet": "recaugnet", "dcnet": "dcnet_2"}
    assert roles(config, "etnet_2") == {"recnet": "recnet", "synthesis": "synthesis_2"}
    assert roles(config, "recaugnet_2") == {"prepare": "prepare", "recnet": "recnet", "etnet": "etnet_2"}
    flow3d = load(SMOKE, ["rounds=2", "reenactor=flow3d"])
    assert roles(flow3d, "flow3d_2") == {"prepare": "prepare", "mattes": "mattes", "recnet": "recaugnet"}
    assert all(roles(config, stage) == {name: name for name in upstream(config, stage)} for stage in STAGES)


ADDED = ("reccopynet", "pair_clips", "recdatanet", "baseline", "dcnet_2", "synthesis_2", "etnet_2", "recaugnet_2")


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("recnet.optimizer.steps=9", {"recdatanet", "baseline"}),
        ("recaugnet.optimizer.steps=9", {"reccopynet", "recaugnet_2"}),
        ("reccopynet.optimizer={steps: 9, batch_size: 4, learning_rate: 1.0e-4}", {"reccopynet"}),
        ("recaugnet.train_etnet=true", {"recaugnet_2"}),
        ("recdatanet.pair_share=0.6", {"recdatanet"}),
        ("baseline.expression=1", {"baseline"}),
        ("dcnet.width=16", {"dcnet_2"}),
        ("synthesis.pairs=17", {"synthesis_2"}),
        ("etnet.jitter=0", {"etnet_2"}),
        ("data.studio.detector_shrink=0", {"pair_clips"}),
    ],
)
def test_a_setting_changes_the_added_stages_that_it_decides(tmp_path: Path, override: str, changed: set[str]) -> None:
    both = ["ablations=[baseline, reccopynet, recdatanet]", "rounds=2"]
    run, other = run_at(tmp_path, *both), run_at(tmp_path, *both, override)
    assert {stage for stage in ADDED if run.settings(stage) != other.settings(stage)} == changed


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
