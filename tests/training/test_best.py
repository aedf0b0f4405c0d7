"""The best weights are those with the lowest term of the validation loss."""

from __future__ import annotations

import json
from pathlib import Path

from jr2net.training.best import Best, keep


def test_lower_values_improve_and_are_stored() -> None:
    best = Best("l1")
    assert best.improves({"l1": 2.0, "perceptual": 9.0})
    assert not best.improves({"l1": 2.0, "perceptual": 1.0})
    assert best.improves({"l1": 1.9})
    assert not Best("l1", 1.0).improves({"l1": 1.5})


def test_losses_without_the_term_do_not_improve() -> None:
    assert not Best("landmark").improves({"l1": 1.0})


def test_a_resumed_training_goes_on_from_its_lowest_value() -> None:
    best = Best("l1")
    assert best.improves({"l1": 2.0})
    for state in (best.state(), 2.0):  # the latter is that of an earlier version
        resumed = Best("l1")
        resumed.restore(state)
        assert not resumed.improves({"l1": 2.5}) and resumed.improves({"l1": 1.5})
    first = Best("l1")
    first.restore(None)  # of a training that kept no best weights
    assert first.improves({"l1": 9.0})


def test_another_term_starts_anew() -> None:
    resumed = Best("perceptual")
    resumed.restore(Best("l1", 0.05).state())
    assert resumed.improves({"l1": 0.04, "perceptual": 3.0}), "its values have nothing to do with those of l1"


def test_best_json_has_term_value_and_step(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model.json").write_text("{}")
    keep(str(tmp_path), weights, Best("l1", 0.5), 40)
    assert (tmp_path / "best" / "model.json").read_text() == "{}"
    assert json.loads((tmp_path / "best" / "best.json").read_text()) == {"term": "l1", "value": 0.5, "step": 40}
