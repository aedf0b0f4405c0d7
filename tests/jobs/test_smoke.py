"""The whole cascade on a real Ray cluster, submitted as users do: report, manifests, one-line errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from jr2net.data.pairs import PairSource, read_description
from jr2net.report.result import missing
from jr2net.run.manifest import read_manifest
from jr2net.training.log import read_log

STAGES = ("prepare", "recnet", "dcnet", "synthesis", "etnet", "recaugnet", "evaluation")


@pytest.fixture(scope="module")
def finished(submit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage of a finished smoke cascade."""
    storage = tmp_path_factory.mktemp("runs") / "smoke"
    status, log = submit("jobs/cascade.py", f"storage={storage}")
    assert status == 0, log
    return storage


def test_the_cascade_writes_a_complete_report(finished: Path) -> None:
    report = json.loads((finished / "evaluation" / "report.json").read_text())
    assert missing(report) == []
    assert report["synthesis"]["pairs"] == 16
    assert report["leaks"] == 0
    assert report["identities"] == {"training": 12, "left_out": 0, "natural": 4, "large": 4}
    assert "<svg" in (finished / "evaluation" / "report.html").read_text()


def test_every_stage_has_a_manifest_of_its_outputs(finished: Path) -> None:
    for stage in STAGES:
        manifest = read_manifest(str(finished / stage))
        assert manifest is not None
        assert all((finished / stage / name).is_file() for name in manifest.outputs)


def test_the_dataset_is_complete(finished: Path) -> None:
    assert read_description(str(finished / "synthesis"))["pairs"] == 16
    assert len(PairSource(str(finished / "synthesis"))) == 16


def test_every_step_is_logged_once(finished: Path) -> None:
    records = read_log(str(finished / "recnet"))
    assert [record["step"] for record in records] == list(range(1, 9))
    assert {"data", "forward", "backward", "optimizer"} <= set(records[0]["seconds"])


def test_finished_stages_are_skipped(finished: Path, submit) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    status, log = submit("jobs/cascade.py", f"storage={finished}", "scaling.workers=1")
    assert status == 0, log
    assert log.count("already done") == len(STAGES)
    assert before == {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}


def test_evaluation_does_not_depend_on_the_number_of_workers(finished: Path, submit, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    command = ("jobs/evaluate.py", f"storage={tmp_path}/run", "scaling.workers=1", "--redo", "evaluation")
    status, log = submit(*command)
    assert status == 0, log
    reports = [json.loads((run / "evaluation" / "report.json").read_text()) for run in (finished, tmp_path / "run")]
    for section in ("reconstruction", "landmarks", "expression", "reenactment", "identities", "machine", "digests"):
        assert reports[0][section] == reports[1][section]

    (tmp_path / "run" / "dcnet" / "model.safetensors").write_bytes(b"damaged")
    status, log = submit(*command)
    errors = [line for line in log.splitlines() if line.startswith("error: ")]
    assert status != 0 and errors, log
    assert "dcnet/model.safetensors: checksum does not match" in errors[0]


FLOW3D = ("reenactor=flow3d", "flow3d.optimizer={steps: 4, batch_size: 4, learning_rate: 4.0e-4}")


def test_flow3d_needs_mattes_and_no_other_stage_again(finished: Path, submit) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    status, log = submit("jobs/train.py", "flow3d", f"storage={finished}", *FLOW3D)
    assert status != 0 and "mattes has not finished; run it first" in log
    for command in (["jobs/mattes.py"], ["jobs/train.py", "flow3d"]):
        status, log = submit(*command, f"storage={finished}", *FLOW3D)
        assert status == 0, log
    assert json.loads((finished / "flow3d" / "model.json").read_text())["kind"] == "flow3d"
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.drill
def test_the_cascade_with_flow3d(submit, tmp_path: Path) -> None:
    status, log = submit("jobs/cascade.py", f"storage={tmp_path}", *FLOW3D)
    assert status == 0, log
    assert missing(json.loads((tmp_path / "evaluation" / "report.json").read_text())) == []


def test_nan_in_training_is_one_error(finished: Path, submit, tmp_path: Path) -> None:
    shutil.copytree(finished / "prepare", tmp_path / "prepare")
    settings = ["recnet.optimizer.learning_rate=1e30"]
    status, log = submit("jobs/train.py", "recnet", f"storage={tmp_path}", *settings)
    assert status != 0
    errors = [line for line in log.splitlines() if line.startswith("error: ")]
    assert errors, log
    assert "NaN or infinite on samples" in errors[0]
    assert "lower the learning rate" in errors[0]
    assert (tmp_path / "prepare" / "manifest.json").exists()
    assert not (tmp_path / "recnet" / "manifest.json").exists()


def test_a_damaged_shard_is_one_error(finished: Path, submit, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    shutil.copytree(finished / "prepare" / "train", clips)
    shard = sorted(clips.glob("*.parquet"))[0]
    shard.write_bytes(shard.read_bytes()[:-1000])
    status, log = submit("jobs/prepare.py", f"storage={tmp_path}/run", f"data.clips={clips}")
    assert status != 0
    errors = [line for line in log.splitlines() if line.startswith("error: ")]
    assert errors, log
    assert str(shard) in errors[0]
    assert "write it again" in errors[0]
