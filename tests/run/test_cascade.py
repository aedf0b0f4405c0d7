"""The stages of the cascade: what their inputs depend on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from jr2net import storage
from jr2net.config import load
from jr2net.run import manifest
from jr2net.run.cascade import STAGES, UPSTREAM, Run, StageError

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.yaml"


def run_at(folder: Path, *overrides: str, face: str = "digest of a face model") -> Run:
    """A run with a stub face model that has a digest only."""
    run = Run(load(SMOKE, [f"storage={folder}", *overrides]))
    run.__dict__["model"] = SimpleNamespace(digest=face)
    return run


def finish(run: Run, stage: str) -> None:
    """Finishes a stage with one output file."""
    manifest.begin(run.folder(stage), run.inputs(stage))
    storage.write_bytes(storage.join(run.folder(stage), "output"), stage.encode())
    manifest.finish(run.folder(stage), run.inputs(stage), ["output"], 1.0)


def test_stages_run_after_their_dependencies() -> None:
    for position, stage in enumerate(STAGES):
        assert set(UPSTREAM[stage]) <= set(STAGES[:position])


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("recnet.optimizer.steps=9", {"recnet", "recaugnet"}),
        ("dcnet.width=16", {"dcnet"}),
        ("data.studio.people=13", {"prepare"}),
        ("data.mattes=always", {"prepare"}),
        ("data.mattes=never", set()),
        ("evaluation.turned=true", {"prepare", "evaluation"}),
        ("seed=1", set(STAGES)),
        ("face.focal_ratio=4", set(STAGES)),
        ("scaling.workers=1", set()),
        ("storage=elsewhere", set()),
    ],
)
def test_a_setting_changes_the_inputs_of_its_stages_only(tmp_path: Path, override: str, changed: set[str]) -> None:
    run = run_at(tmp_path)
    for stage in STAGES:
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
