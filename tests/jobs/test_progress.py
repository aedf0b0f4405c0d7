"""Progress of a training: log, TensorBoard, times by phase, sample images, warnings."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jobs.progress import Progress
from jr2net.face.model import FaceModel
from jr2net.training import Training
from jr2net.training.log import read_log


@pytest.fixture
def training(toy_model: FaceModel, monkeypatch: pytest.MonkeyPatch) -> Training:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "training")
    import small_trainings as small

    small_training = small.training("recnet", toy_model, 2)
    small_training.batch = small.batch(toy_model, 2)  # type: ignore[attr-defined]
    return small_training


def run(training: Training, folder: Path, steps: int, rank: int = 0) -> Progress:
    progress = Progress("recnet", training, rank, str(folder))
    for _ in range(steps):
        training.phases.end("data")
        progress.log_step(training.step(training.batch))  # type: ignore[attr-defined]
    progress.save_images(training.batch)  # type: ignore[attr-defined]
    progress.log_validation({"landmark": 0.5})
    progress.write()
    progress.finish()
    progress.close()
    return progress


def test_every_step_is_in_the_log_and_on_tensorboard(training: Training, tmp_path: Path) -> None:
    progress = run(training, tmp_path, 3)
    records = read_log(str(tmp_path))
    assert [record["step"] for record in records] == [1, 2, 3]
    assert {"data", "forward", "render", "backward", "optimizer"} <= set(records[0]["seconds"])
    assert [record.get("validation") for record in records] == [None, None, {"landmark": 0.5}]
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss/photometric")] == [1, 2, 3]
    assert [(event.step, event.value) for event in events.Scalars("validation/landmark")] == [(3, 0.5)]
    assert {"seconds/render", "images_per_second", "learning_rate"} <= set(events.Tags()["scalars"])
    assert events.Tags()["images"] == ["pictures"]
    assert progress.metrics["step"] == 3 and progress.metrics["validation/landmark"] == 0.5
    assert progress.metrics["loss/photometric"] == records[-1]["losses"]["photometric"]
    assert (tmp_path / "pictures" / "00000003.jpg").stat().st_size > 0


def test_only_the_first_worker_writes(training: Training, tmp_path: Path) -> None:
    run(training, tmp_path, 2, rank=1)
    assert list(tmp_path.iterdir()) == []


def test_a_collapse_to_the_mean_face_is_reported(
    training: Training, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training.step_number = 500
    progress = Progress("recnet", training, 0, str(tmp_path))
    progress.log_step({"landmark": 1.0, "expression_deviation": 1e-6})
    progress.write()
    progress.close()
    assert "[recnet] warning: steps 500 to 500: expressions deviate by 1e-06" in capsys.readouterr().out
    assert "mean face" in read_log(str(tmp_path))[0]["warning"]
