"""Saved states: whole or not there, the last ones kept, a damaged one passed over, one of bad numbers never stored."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_trainings as small
import torch

from jr2net import storage
from jr2net.face.model import FaceModel
from jr2net.training.state import StateWriter, newest_step, read_state, saved_steps


def write(folder: Path, *steps: int, keep: int = 2) -> None:
    writer = StateWriter(str(folder), keep)
    for step in steps:
        writer.take(step, {"step": step, "weight": torch.full((3,), float(step))})
        writer.confirm()
    writer.finish()


def test_the_last_states_are_kept(tmp_path: Path) -> None:
    write(tmp_path, 5, 10, 15, 20)
    assert saved_steps(str(tmp_path / "state")) == [15, 20]
    assert newest_step(str(tmp_path)) == 20
    assert read_state(str(tmp_path), 20, "cpu")["weight"].tolist() == [20.0] * 3


def test_no_state_is_no_step(tmp_path: Path) -> None:
    assert newest_step(str(tmp_path)) is None


@pytest.mark.parametrize("damage", [lambda b: b[:-7], lambda b: b[:200] + b"x" + b[201:], lambda b: b""])
def test_a_damaged_state_is_passed_over(tmp_path: Path, damage) -> None:
    write(tmp_path, 5, 10)
    newest = tmp_path / "state" / "00000010.pt"
    newest.write_bytes(damage(newest.read_bytes()))
    assert newest_step(str(tmp_path)) == 5
    with pytest.raises(storage.StorageError, match=r"00000010\.pt: is damaged"):
        read_state(str(tmp_path), 10, "cpu")


def test_a_state_waits_until_it_has_proven_good(tmp_path: Path) -> None:
    writer = StateWriter(str(tmp_path), 2)
    writer.take(5, {"step": 5})
    writer.finish()
    assert newest_step(str(tmp_path)) is None
    writer.confirm()
    writer.finish()
    assert newest_step(str(tmp_path)) == 5


def test_what_is_taken_does_not_change_with_the_training(tmp_path: Path) -> None:
    writer, weight = StateWriter(str(tmp_path), 2), torch.zeros(2)
    writer.take(5, {"weight": weight})
    weight += 1
    writer.confirm()
    writer.finish()
    assert read_state(str(tmp_path), 5, "cpu")["weight"].tolist() == [0.0, 0.0]


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    writer = StateWriter(str(tmp_path), 2)
    writer.take(5, {"step": 5})
    writer.confirm()
    with pytest.raises(storage.StorageError, match="state"):
        writer.finish()


@pytest.mark.parametrize("network", small.NETWORKS)
def test_a_training_resumed_from_storage_ends_with_the_same_bytes(
    network: str, toy_model: FaceModel, tmp_path: Path
) -> None:
    batch, killed_at = small.batch(toy_model, 3), 5  # of 8: DCNet's discriminator has begun
    straight = small.training(network, toy_model, 3)
    writer = StateWriter(str(tmp_path), 2)
    while straight.step_number < straight.steps:
        straight.step(batch)
        writer.confirm()
        if straight.step_number == killed_at:
            writer.take(killed_at, straight.state_dict())
    writer.finish()

    resumed = small.training(network, toy_model, 3)
    for parameter in resumed.networks[next(iter(resumed.networks))].parameters():
        parameter.data.fill_(torch.nan)  # nothing of the initial weights may matter
    resumed.load_state_dict(read_state(str(tmp_path), killed_at, "cpu"))
    while resumed.step_number < resumed.steps:
        resumed.step(batch)
    ends = small.weights(resumed)
    assert all(torch.equal(value, ends[key]) for key, value in small.weights(straight).items())
