"""The labelled images of ETNet: pairs, films, or both."""

from __future__ import annotations

from pathlib import Path

import pytest

from jr2net.config import load, shipped_config
from jr2net.run.labelled import labelled_loader
from jr2net.storage.parquet import ShardError

ARGUMENTS = {"batch_size": 4, "size": 32, "seed": 0}


@pytest.mark.parametrize(("share", "stage"), [(0.5, "synthesis"), (1.0, "films")])
def test_a_stage_without_pairs_to_validate_on_is_the_one_to_redo(tmp_path: Path, share: float, stage: str) -> None:
    """``films`` does not depend on ``prepare``, so that doing that again does not make them."""
    config = load(shipped_config("smoke"), [f"etnet.films={share}", "data.validation=4"])
    upstream = {name: tmp_path / name for name in ("synthesis", "films")}
    with pytest.raises(ShardError, match=rf"{stage} finished before data.validation was set: give --redo {stage}"):
        labelled_loader(config, upstream, held_back=True, **ARGUMENTS)
