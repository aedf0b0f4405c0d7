"""Checkpoints: atomic writes, retention, damaged files are skipped, unconfirmed states are not written."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_trainings as small
import torch

from jr2net import storage
from jr2net.face.model import FaceModel
from jr2net.training.state import StateWriter, newest_step, read_newest, read_state, saved_steps, unpack


def write(folder: Path, *steps: int, keep: int = 2) -> None:
    writer = StateWriter(str(folder), keep)
    for step in steps:
        writer.take(step, {"step": step, "weight": torch.full((3,), float(step))})
        writer.confirm()
    writer.finish()


def test_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    write(tmp_path, 5, 10, 15, 20)
    assert saved_steps(str(tmp_path / "state")) == [15, 20]
    assert newest_step(str(tmp_path)) == 20
    assert read_state(str(tmp_path), 20, "cpu")["weight"].tolist() == [20.0] * 3


def test_newest_step_without_checkpoints_is_none(tmp_path: Path) -> None:
    assert newest_step(str(tmp_path)) is None
    assert read_newest(str(tmp_path)) is None


def test_the_newest_step_is_known_without_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 5, 10)
    monkeypatch.setattr(storage, "read_bytes", lambda uri: pytest.fail(f"reads {uri}"))
    assert newest_step(str(tmp_path)) == 10


def test_a_last_state_is_written_at_once(tmp_path: Path) -> None:
    writer = StateWriter(str(tmp_path), 2)
    writer.take(5, {"step": 5})
    writer.confirm()
    writer.store(6, {"step": 6, "weight": torch.zeros(2)})
    assert saved_steps(str(tmp_path / "state")) == [5, 6]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_last_state_that_cannot_be_resumed_from_is_not_written(value: float, tmp_path: Path) -> None:
    writer = StateWriter(str(tmp_path), 2)
    writer.take(5, {"step": 5})
    writer.confirm()
    writer.store(6, {"networks": {"recnet": {"weight": torch.tensor([0.0, value])}}})
    assert newest_step(str(tmp_path)) == 5


@pytest.mark.parametrize("damage", [lambda b: b[:-7], lambda b: b[:200] + b"x" + b[201:], lambda b: b""])
def test_damaged_checkpoint_is_skipped(tmp_path: Path, damage) -> None:
    write(tmp_path, 5, 10)
    newest = tmp_path / "state" / "00000010.pt"
    newest.write_bytes(damage(newest.read_bytes()))
    content = read_newest(str(tmp_path))
    assert content is not None and unpack(content, "cpu")["step"] == 5
    with pytest.raises(storage.StorageError, match=r"00000010\.pt: checkpoint is damaged"):
        read_state(str(tmp_path), 10, "cpu")


def test_state_is_written_after_confirm(tmp_path: Path) -> None:
    writer = StateWriter(str(tmp_path), 2)
    writer.take(5, {"step": 5})
    writer.finish()
    assert newest_step(str(tmp_path)) is None
    writer.confirm()
    writer.finish()
    assert newest_step(str(tmp_path)) == 5


def test_state_is_copied_when_taken(tmp_path: Path) -> None:
    writer, weight = StateWriter(str(tmp_path), 2), torch.zeros(2)
    writer.take(5, {"weight": weight})
    weight += 1
    writer.confirm()
    writer.finish()
    assert read_state(str(tmp_path), 5, "cpu")["weight"].tolist() == [0.0, 0.0]


def test_failed_write_raises(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    writer = StateWriter(str(tmp_path), 2)
    writer.take(5, {"step": 5})
    writer.confirm()
    with pytest.raises(storage.StorageError, match="state"):
        writer.finish()


@pytest.mark.parametrize("network", small.NETWORKS)
def test_resumed_training_is_bit_identical(network: str, toy_model: FaceModel, tmp_path: Path) -> None:
    batch, killed_at = small.batch(toy_model, 3), 5  # of 8, after the start of adversarial training
    uninterrupted = small.training(network, toy_model, 3)
    writer = StateWriter(str(tmp_path), 2)
    while uninterrupted.step_number < uninterrupted.steps:
        uninterrupted.step(batch)
        writer.confirm()
        if uninterrupted.step_number == killed_at:
            writer.take(killed_at, uninterrupted.state_dict())
    writer.finish()

    resumed = small.training(network, toy_model, 3)
    for parameter in resumed.networks[next(iter(resumed.networks))].parameters():
        parameter.data.fill_(torch.nan)  # the initial weights must not matter
    resumed.load_state_dict(read_state(str(tmp_path), killed_at, "cpu"))
    while resumed.step_number < resumed.steps:
        resumed.step(batch)
    weights = small.weights(resumed)
    assert all(torch.equal(value, weights[key]) for key, value in small.weights(uninterrupted).items())
