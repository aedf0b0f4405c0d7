"""A matrix of two variants and two seeds: what they share is made once, and a kill at any moment changes nothing.

Stages are stubs that write a file, so that many moments can be tried.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobs import ablate as job
from jobs.command_line import main
from jr2net import storage
from jr2net.config import load
from jr2net.run import matrix
from jr2net.run.cascade import Run, StageError, stages
from jr2net.storage.elsewhere import ELSEWHERE

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.yaml"
MATRIX = ["matrix.variants={full: {}, Ours-L: {dcnet.conditions: no_light}}", "matrix.seeds=[0, 1]"]
SHARED = {"prepare", "recnet"}


class Killed(BaseException):
    """The end of the process, as far as a test can have it."""


class Stages:
    """Stubs of all stages. made: (storage, stage) in order; kill_at: the number of the stage that is not completed."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.kill_at: int | None = None
        self.failing: set[str] = set()

    def functions(self, names: tuple[str, ...]) -> dict[str, Callable[[Run], list[str]]]:
        return {name: lambda run, name=name: self._make(run, name) for name in names}

    def _make(self, run: Run, stage: str) -> list[str]:
        folder = run.folder(stage)
        if self.kill_at is not None and len(self.made) == self.kill_at:
            storage.write_bytes(storage.join(folder, "half"), b"")
            raise Killed
        if folder.removeprefix(run.config.storage.rpartition("/")[0]) in self.failing or stage in self.failing:
            raise StageError(f"{stage} cannot be made")
        self.made.append(f"{Path(folder).parents[1].name}/{Path(folder).parent.name}/{stage}")
        content = json.dumps([stage, run.digests(stage), run.settings(stage)["settings"]], sort_keys=True)
        if stage == "evaluation":
            storage.write_bytes(storage.join(folder, "report.json"), json.dumps(report(run)).encode())
            return ["report.json"]
        storage.write_bytes(storage.join(folder, "output"), content.encode())
        return ["output"]


def report(run: Run) -> dict:
    """Figures that are a function of what was made."""
    digests = run.digests("evaluation")

    def figure(stage: str, metric: str) -> float:
        return 1 + int(digests[stage][:6], 16) / 16**6 + len(metric) / 10

    reconstruction = ("rmse_mm", "expression_rmse_mm")
    reenactment = {"WarpOnly": "recnet", "DCNet": "dcnet"}
    methods = {"MeanFace": "prepare", "RecNet": "recnet", "RecAugNet": "recaugnet"}
    return {
        "ground": "studio",
        "reconstruction": {
            name: {method: {m: figure(stage, m) for m in reconstruction} for method, stage in methods.items()}
            for name in ("natural", "large")
        },
        "reenactment": {"same_identity": {name: {"l1": figure(stage, "l1")} for name, stage in reenactment.items()}},
        "digests": digests,
    }


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Stages:
    stubs = Stages()
    monkeypatch.setattr(job, "STAGE_FUNCTIONS", stubs.functions(stages(load(SMOKE, ["rounds=2"]))))
    monkeypatch.setattr(matrix, "load_face_model", lambda face: SimpleNamespace(digest="f" * 64))
    return stubs


def ablate(folder: Path, *overrides: str, **options: object) -> None:
    run = Run(load(SMOKE, [f"storage={folder}", *MATRIX, *overrides]))
    given = {"only": [], "seed": [], "table": False, "redo": [], "relative_to": None} | options
    job.ablate(run, argparse.Namespace(**given))


def tables(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (folder / "tables").glob("*.md")}


def test_what_variants_share_is_made_once(made: Stages, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ablate(tmp_path)
    out = capsys.readouterr().out
    assert "[ablate] 4 runs have 28 stages, 24 of them different; 24 to make" in out
    assert "[ablate] 1 of 24, full, seed 0: prepare" in out and "[ablate] 24 of 24, Ours-L, seed 1: evaluation" in out
    assert len(made.made) == len(set(made.made)) == 24
    for seed in (0, 1):
        assert {f"full/seed-{seed}/{stage}" for stage in stages(load(SMOKE))} <= set(made.made)
        shared = {path.parent.name for path in (tmp_path / "Ours-L" / f"seed-{seed}").rglob(ELSEWHERE)}
        assert shared == SHARED
    ablate(tmp_path)
    assert len(made.made) == 24, "all is done"


def test_a_kill_in_the_middle_of_a_stage_changes_nothing(made: Stages, tmp_path: Path) -> None:
    ablate(tmp_path / "undisturbed")
    (expected,) = tables(tmp_path / "undisturbed").values()
    for moment in (0, 1, 6, 7, 12, 23):
        made.made, made.kill_at, folder = [], moment, tmp_path / str(moment)
        with pytest.raises(Killed):
            ablate(folder)
        assert len(made.made) == moment
        made.kill_at = None
        ablate(folder)
        assert len(made.made) == len(set(made.made)) == 24
        assert list(tables(folder).values()) == [expected]


def test_a_run_of_the_matrix_is_a_run_like_any_other(made: Stages, tmp_path: Path) -> None:
    ablate(tmp_path)
    config = load(SMOKE, [f"storage={tmp_path}/Ours-L/seed-1", "seed=1", "dcnet.conditions=no_light"])
    run = Run(config)
    run.__dict__["model"] = SimpleNamespace(digest="f" * 64)
    count = len(made.made)
    for stage in stages(config):
        assert job.run_stage(run, stage, job.STAGE_FUNCTIONS[stage]) is None
    assert len(made.made) == count


def test_only_some_runs_and_then_the_others(made: Stages, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ablate(tmp_path, only=["Ours-L"], seed=[1])
    assert len(made.made) == 7 and "1 of 1 runs" in capsys.readouterr().out
    ablate(tmp_path)
    assert len(made.made) == len(set(made.made)) == 24
    assert (tmp_path / "full" / "seed-1" / "recnet" / ELSEWHERE).exists(), "made by the one that came first"


def test_a_variant_that_is_added_trains_nothing_again(made: Stages, tmp_path: Path) -> None:
    ablate(tmp_path)
    ablate(tmp_path, "matrix.variants={last: {recaugnet.train_etnet: true}}")
    assert len(made.made) == 24 + 2 * 2, "RecAugNet and the evaluation"
    ablate(tmp_path, "matrix.variants={round-2: {rounds: 2}}")
    assert len(made.made) == 28 + 2 * 5, "the stages of the second round, and the evaluation"


def test_a_variant_that_fails_does_not_stop_the_others(
    made: Stages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made.failing = {"/seed-0/dcnet"}
    with pytest.raises(StageError) as caught:
        ablate(tmp_path)
    message = str(caught.value)
    assert message.startswith("2 of 4 runs have failed:\n  full, seed 0: dcnet cannot be made\n  Ours-L, seed 0:")
    assert "2 of 4 runs: variants full, Ours-L; seeds 1." in capsys.readouterr().out
    assert len(made.made) == 2 + 12
    made.failing = set()
    ablate(tmp_path)
    assert len(made.made) == len(set(made.made)) == 24


def test_what_has_failed_is_not_tried_by_everybody_who_shares_it(made: Stages, tmp_path: Path) -> None:
    made.failing, calls = {"recnet"}, []
    function = job.STAGE_FUNCTIONS["recnet"]
    job.STAGE_FUNCTIONS["recnet"] = lambda run: (calls.append(run.config.seed), function(run))[1]
    with pytest.raises(StageError, match="4 of 4 runs have failed"):
        ablate(tmp_path)
    assert calls == [0, 1]


def test_tables_of_what_has_finished(made: Stages, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ablate(tmp_path, table=True)
    assert "None of 4 runs has been evaluated." in capsys.readouterr().out
    made.kill_at = 8
    with pytest.raises(Killed):
        ablate(tmp_path)
    made.kill_at = None
    ablate(tmp_path, table=True)
    assert "1 of 4 runs: variants full; seeds 0." in capsys.readouterr().out
    assert len(made.made) == 8


def test_runs_with_other_settings_are_not_in_the_tables(
    made: Stages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ablate(tmp_path)
    capsys.readouterr()
    ablate(tmp_path, "matrix.variants={full: {}, Ours-L: {dcnet.conditions: rendered}}", table=True)
    out = capsys.readouterr().out
    assert "2 of 4 runs: variants full; seeds 0, 1." in out
    assert "Left out, as not all has finished with these settings: Ours-L, seed 0; Ours-L, seed 1." in out
    assert "| RecAugNet | Ours-L" not in out


def test_a_redo_reaches_every_run(made: Stages, tmp_path: Path) -> None:
    ablate(tmp_path)
    ablate(tmp_path, redo=["evaluation"])
    assert len(made.made) == 24 + 4
    ablate(tmp_path, redo=["recnet"])
    assert len(made.made) == 28 + 24 - 2, "all but prepare"


def test_a_redo_reaches_what_was_made_from_a_stage_of_another_run(made: Stages, tmp_path: Path) -> None:
    variants = "matrix.variants={full: {}, no-jitter: {etnet.jitter: 0}}"
    ablate(tmp_path, variants)
    count = len(made.made)
    ablate(tmp_path, variants, redo=["prepare"])
    assert len(made.made) == 2 * count


def test_a_variant_that_cannot_be_run_is_one_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.command_line.connect", lambda: None)
    arguments = ["--config", str(SMOKE), f"storage={tmp_path}", "matrix.variants={a: {dcnet.widht: 1}}"]
    assert main(None, lambda run, options: job.members(run.config), arguments) == 1
    assert "error: matrix.variants.a: unknown key 'dcnet.widht'; did you mean 'width'?" in capsys.readouterr().err
