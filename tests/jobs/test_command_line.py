"""The command line of the jobs: errors are one message and an exit status, before anything is started or written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jobs import command_line
from jobs.command_line import main, resolve_paths
from jobs.stage import run_stage
from jr2net.config import load
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.model import FaceModel
from jr2net.face.model_file import write_model_file
from jr2net.settings import ConfigError

SMOKE = str(Path(__file__).parents[2] / "configs" / "smoke.yaml")


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "connect", lambda: None)


def run(*arguments: str) -> int:
    return main("a job", lambda run, options: None, arguments)


def test_a_valid_command_line_succeeds(tmp_path: Path) -> None:
    assert run("--config", SMOKE, f"storage={tmp_path}/run", "recnet.optimizer.steps=3") == 0


def test_the_resolved_configuration_is_printed_and_loads_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--config", SMOKE, "recnet.optimizer.steps=3", "--print-config", "--relative-to", str(tmp_path)) == 0
    printed = tmp_path / "printed.yaml"
    printed.write_text(capsys.readouterr().out)
    config = load(printed)
    assert config.recnet.optimizer.steps == 3
    assert config.storage == f"{tmp_path}/runs/smoke"
    assert not Path(config.storage).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recnet.optimiser.steps=3"], "unknown key 'recnet.optimiser'; did you mean 'optimizer'?"),
        (["recnet.optimizer.steps=0"], "recnet.optimizer.steps = 0"),
        (["recnet.optimizer.steps"], "write key.sub=value"),
    ],
)
def test_an_invalid_setting_is_one_error(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--config", SMOKE, *arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert "Traceback" not in error


def test_missing_pretrained_files_are_one_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paper = SMOKE.replace("smoke.yaml", "paper.yaml")
    assert run("--config", paper, f"storage={tmp_path}/run") == 1
    error = capsys.readouterr().err
    fields = ("recnet.backbone.weights", "recnet.embedder", "dcnet.vgg19", "etnet.backbone.weights")
    assert all(f"  {field}: not set" in error for field in fields)
    assert "Traceback" not in error and not (tmp_path / "run").exists()
    assert run("--config", paper, f"storage={tmp_path}/run", "--print-config") == 0
    assert run("--config", paper, f"storage={tmp_path}/run", "require_pretrained=false") == 0
    judge = f"evaluation.inception={tmp_path}/fid.pth"
    assert run("--config", SMOKE, f"storage={tmp_path}/run", judge) == 1
    assert f"  evaluation.inception: no file {tmp_path}/fid.pth" in capsys.readouterr().err


def test_an_unusable_storage_is_one_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run("--config", SMOKE, f"storage={tmp_path}/file") == 1
    assert f"{tmp_path}/file/" in capsys.readouterr().err


def test_relative_paths_start_at_the_given_folder(tmp_path: Path) -> None:
    overrides = ["data.clips=clips", "data.test_clips=s3://bucket/clips", "synthesis.sources=file:///photos"]
    config = resolve_paths(load(SMOKE, overrides), str(tmp_path))
    assert config.storage == f"{tmp_path}/runs/smoke"
    assert config.data.clips == f"{tmp_path}/clips"
    assert config.data.test_clips == "s3://bucket/clips" and config.synthesis.sources == "file:///photos"
    assert config.face.model == "procedural"


def test_a_submitted_job_rejects_relative_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(ConfigError, match=r"storage = 'runs/smoke' is a relative path.*--relative-to FOLDER"):
        resolve_paths(load(SMOKE), None)


def test_only_redo_deletes_a_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def prepare(*arguments: str) -> int:
        given = ["--config", SMOKE, f"storage={tmp_path}/run", *arguments]
        return main("a job", lambda run, options: run_stage(run, "prepare", lambda run: []), given)

    written = tmp_path / "run" / "prepare" / "manifest.json"
    assert prepare() == 0
    before = written.read_bytes()
    assert prepare("data.studio.people=13") == 1
    error = capsys.readouterr().err
    assert "  data.studio.people: 12 -> 13\n" in error and "--redo prepare" in error and "Traceback" not in error
    assert prepare("--redo", "recnet") == 0  # there is none
    assert written.read_bytes() == before
    assert prepare("data.studio.people=13", "--redo", "prepare") == 0
    assert f"[redo] deletes {tmp_path}/run/prepare: 2 files, " in capsys.readouterr().out
    assert written.read_bytes() != before


def test_a_face_model_of_another_basis_is_one_error_and_keeps_the_run(
    tmp_path: Path, toy_model: FaceModel, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file whose shapes are not ARKit's, given to a run whose first stage has finished."""
    good, wrong, storage = tmp_path / "good.npz", tmp_path / "wrong.npz", tmp_path / "run"
    write_model_file(toy_model, good)
    with np.load(good) as arrays:
        np.savez(wrong, **dict(arrays) | {"expression_names": np.array([*ARKIT_NAMES[:-1], "tongueOut"])})

    def prepare(model: Path) -> int:
        arguments = ["--config", SMOKE, f"storage={storage}", f"face.model={model}"]
        return main("a job", lambda run, options: run_stage(run, "prepare", lambda run: []), arguments)

    assert prepare(good) == 0
    written = {path: path.read_bytes() for path in storage.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert prepare(wrong) == 1
    error = capsys.readouterr().err
    assert f"{wrong}: " in error and "unknown: tongueOut" in error and "Traceback" not in error
    assert written == {path: path.read_bytes() for path in storage.rglob("*") if path.is_file()}
