"""What a cascade that is started again has left, and what its forecast learns from; no stage is really run."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from tiny_run import SMOKE, make_upstream

from jobs import cascade
from jr2net.config import load
from jr2net.run import manifest
from jr2net.run.cascade import Run

AFTER_DCNET = ["synthesis", "etnet", "recaugnet", "evaluation"]


def test_finished_stages_are_not_left(tmp_path: Path) -> None:
    config = make_upstream(str(tmp_path))
    assert cascade.stages_left(Run(config)) == AFTER_DCNET


def test_a_stage_that_is_to_go_on_is_left_with_all_that_uses_it(tmp_path: Path) -> None:
    make_upstream(str(tmp_path))
    steps = load(SMOKE, []).dcnet.optimizer.steps
    longer = load(SMOKE, [f"storage={tmp_path}", "recnet.backbone.layers=10", f"dcnet.optimizer.steps={steps + 4}"])
    assert cascade.stages_left(Run(longer)) == ["dcnet", *AFTER_DCNET]


def test_the_forecast_learns_from_whole_stages_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    minutes = ", ".join(f"{stage}: 1" for stage in AFTER_DCNET)
    run = Run(make_upstream(str(tmp_path), f"scaling.expected_minutes={{{minutes}}}"))
    manifest.begin(run.folder("synthesis"), run.inputs("synthesis"))  # by an attempt that was killed
    after: dict[str, float | None] = {}

    def run_stage(run: Run, stage: str, function: object) -> float | None:
        if stage not in AFTER_DCNET:
            return None
        after[stage] = run.seconds_after
        return 120.0 if stage == "etnet" else 1.0

    monkeypatch.setattr(cascade, "run_stage", run_stage)
    cascade.cascade(run, argparse.Namespace(check="sample"))
    assert after == {"synthesis": 180, "etnet": 120, "recaugnet": 120, "evaluation": 0}
    assert "4 stages to run, about 4 min 0 s in all" in capsys.readouterr().out
