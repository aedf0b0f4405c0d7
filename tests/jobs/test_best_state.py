"""Drill on a real Ray cluster: every training keeps the weights that are best on people held back from all of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jr2net.config import load, shipped_config
from jr2net.data import sets
from jr2net.data.pairs import VALIDATION_SHARD, PairSource, read_pairs
from jr2net.networks.checkpoint import load_network
from jr2net.training.log import read_log

pytestmark = pytest.mark.drill

TERMS = {"recnet": "landmark", "dcnet": "l1", "etnet": "activation", "recaugnet": "landmark"}


def test_the_best_weights_are_those_of_the_validation_split(submit, tmp_path: Path, procedural_model) -> None:
    settings = [f"storage={tmp_path}", "data.validation=4"]
    for job in ("prepare", "recnet", "dcnet", "synthesize", "etnet", "recaugnet"):
        command = ["jobs/train.py", job, f"scaling.best={TERMS[job]}"] if job in TERMS else [f"jobs/{job}.py"]
        status, log = submit(*command, *settings)
        assert status == 0, log
    for network, term in TERMS.items():
        best = json.loads((tmp_path / network / "best" / "best.json").read_text())
        values = {r["step"]: r["validation"][term] for r in read_log(str(tmp_path / network)) if "validation" in r}
        assert list(values) == list(range(4, max(values) + 1, 4))
        assert best == {"term": term, "value": min(values.values()), "step": min(values, key=values.__getitem__)}
        load_network(tmp_path / network / "best", procedural_model)

    config = load(shipped_config("smoke"), settings)
    training, held_back = (
        set(choose(config, str(tmp_path / "prepare")).identities)
        for choose in (sets.training_clips, sets.validation_clips)
    )
    assert len(held_back) == 3 and len(training) == 9 and not held_back & training
    people = {pair.source_id.split("/")[0] for pair in read_pairs(str(tmp_path / "synthesis" / VALIDATION_SHARD))}
    assert people <= held_back
    source = PairSource(str(tmp_path / "synthesis"))
    assert {source.read(index).source_id.split("/")[0] for index in range(len(source))} <= training
