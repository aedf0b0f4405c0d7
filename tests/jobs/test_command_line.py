"""Every job's command line: errors are one plain message and a status; nothing has been started or written by then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jobs import command_line
from jobs.command_line import main, place
from jobs.stage import run_stage
from jr2net.config import ConfigError, load
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.model import FaceModel
from jr2net.face.model_file import write_model_file

SMOKE = str(Path(__file__).parents[2] / "configs" / "smoke.yaml")


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "connect", lambda: None)


def run(*arguments: str) -> int:
    return main("a job", lambda run, options: None, arguments)


def test_a_good_command_line_succeeds(tmp_path: Path) -> None:
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
def test_a_bad_setting_is_named(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--config", SMOKE, *arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert "Traceback" not in error


def test_a_storage_that_cannot_be_used_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run("--config", SMOKE, f"storage={tmp_path}/file") == 1
    assert f"{tmp_path}/file/" in capsys.readouterr().err


def test_relative_paths_begin_where_the_user_says(tmp_path: Path) -> None:
    config = place(load(SMOKE, ["data.clips=clips", "data.test_clips=s3://bucket/clips"]), str(tmp_path))
    assert config.storage == f"{tmp_path}/runs/smoke"
    assert config.data.clips == f"{tmp_path}/clips"
    assert config.data.test_clips == "s3://bucket/clips"
    assert config.face.model == "procedural"


def test_a_submitted_job_refuses_relative_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(ConfigError, match=r"storage = 'runs/smoke' is a relative path.*--relative-to FOLDER"):
        place(load(SMOKE), None)


def test_a_forced_stage_loses_what_it_had(tmp_path: Path) -> None:
    made = tmp_path / "run" / "recnet" / "manifest.json"
    made.parent.mkdir(parents=True)
    made.write_text("{}")
    assert run("--config", SMOKE, f"storage={tmp_path}/run", "--force", "dcnet") == 0
    assert made.exists()
    assert run("--config", SMOKE, f"storage={tmp_path}/run", "--force", "recnet") == 0
    assert not made.exists()


def test_a_face_model_of_another_basis_is_named_and_nothing_is_lost(
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
    made = {path: path.read_bytes() for path in storage.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert prepare(wrong) == 1
    error = capsys.readouterr().err
    assert f"{wrong}: " in error and "unknown: tongueOut" in error and "Traceback" not in error
    assert made == {path: path.read_bytes() for path in storage.rglob("*") if path.is_file()}
