"""The best weights are those with the lowest mean of a loss term between checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

from jr2net.training.best import Best, keep


def records(*values: float) -> list[dict]:
    return [{"step": step, "losses": {"l1": value}} for step, value in enumerate(values)]


def test_lower_means_improve_and_are_stored() -> None:
    best = Best("l1")
    assert best.improves(records(3.0, 1.0))
    assert not best.improves(records(0.5, 3.5))
    assert best.improves(records(1.9, 1.9))
    assert not Best("l1", 1.0).improves(records(1.5))


def test_records_without_the_term_do_not_improve() -> None:
    assert not Best("landmark").improves(records(1.0))
    assert not Best("l1").improves([])


def test_best_json_has_term_value_and_step(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model.json").write_text("{}")
    keep(str(tmp_path), weights, Best("l1", 0.5), 40)
    assert (tmp_path / "best" / "model.json").read_text() == "{}"
    assert json.loads((tmp_path / "best" / "best.json").read_text()) == {"term": "l1", "value": 0.5, "step": 40}
