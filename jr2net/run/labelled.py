"""The labelled images that ETNet is trained on: synthesised pairs, the studio's films, or both in every batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jr2net import storage
from jr2net.config import Config
from jr2net.data.mixture import MixedPairLoader
from jr2net.data.pairs import VALIDATION_SHARD, PairLoader
from jr2net.storage.parquet import ShardError


def labelled_loader(
    config: Config, upstream: Mapping[str, str | Path], held_back: bool = False, **arguments: Any
) -> PairLoader | MixedPairLoader:
    """Of the people that are held back, pairs if the run has them, else films. upstream, arguments: see ``trainings``.

    Raises ShardError where the stage finished before ``data.validation`` was set.
    """
    batch_size = arguments.pop("batch_size")
    films = config.etnet.films_in(batch_size)
    first = "synthesis" if films < batch_size else "films"
    if held_back:
        shard = storage.join(str(upstream[first]), VALIDATION_SHARD)
        if not storage.exists(shard):
            raise ShardError(
                f"{shard}: no such shard; the stage {first} finished before data.validation was set: give --redo "
                f"{first}, or unset data.validation"
            )
        return PairLoader(shard, batch_size=batch_size, **arguments)
    if films in (0, batch_size):
        return PairLoader(str(upstream[first]), batch_size=batch_size, **arguments)
    sizes = {str(upstream["synthesis"]): batch_size - films, str(upstream["films"]): films}
    return MixedPairLoader(sizes, **arguments)
