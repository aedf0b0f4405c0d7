"""Which pairs there are: a pure function of their numbers, worked out shard by shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jr2net.config import SynthesisConfig
from jr2net.data.pairs import make_pair_id, pair_rng
from jr2net.data.stream import epoch_order
from jr2net.expressions.samplers import WITH_CAPTURES, WITHOUT_CAPTURES, draw_kind, sample
from jr2net.expressions.tracks import Track

MOST_PAIRS_PER_SOURCE = 16
"""Where the configuration leaves it open: reconstructing a source then costs little, and a shard has many people."""


@dataclass(frozen=True)
class PlannedPair:
    """What determines one pair.

    source      number of the source picture
    expression  (51,) float32 in [0, 1]
    track       where the expression came from; frame: of that track, or the pair's number where it was made up
    driving     number of the picture that gives pose and light, where these are replaced
    """

    pair_id: str
    source: int
    expression: np.ndarray
    track: str
    frame: int
    driving: int | None = None


@dataclass(frozen=True)
class Plan:
    """Pairs drawn from numbered sources.

    sources, driving  how many pictures there are; driving 0: pose and light stay the source's
    digests           of all that a picture depends on besides its number and the seed, by name
    """

    settings: SynthesisConfig
    seed: int
    sources: int
    digests: Mapping[str, str]
    tracks: Sequence[Track] = ()
    driving: int = 0

    @property
    def pairs_per_source(self) -> int:
        evenly = -(-self.settings.pairs // self.sources)
        return self.settings.pairs_per_source or min(evenly, MOST_PAIRS_PER_SOURCE, self.settings.pairs_per_shard)

    @property
    def shares(self) -> Mapping[str, float]:
        """Part of the pairs that each kind of expression has."""
        if self.settings.expressions is not None:
            return {str(kind): share for kind, share in self.settings.expressions.items()}
        return WITH_CAPTURES if self.tracks else WITHOUT_CAPTURES

    def shard(self, index: int) -> list[PlannedPair]:
        """The pairs of one shard; those of a source stand together, and no source returns before all were there."""
        first, last = shard_range(self.settings, index)
        turns = -(-self.settings.pairs_per_shard // self.pairs_per_source)
        return [self._pair(n, index * turns + (n - first) // self.pairs_per_source) for n in range(first, last)]

    def _pair(self, number: int, turn: int) -> PlannedPair:
        epoch, place = divmod(turn, self.sources)
        pair_id = make_pair_id(self.seed, number, *self.digests.values())
        rng = pair_rng(pair_id)
        drawn = sample(draw_kind(rng, self.shares), rng, self.tracks)
        return PlannedPair(
            pair_id,
            int(epoch_order(self.sources, self.seed, epoch)[place]),
            drawn.expression,
            drawn.track,
            number if drawn.frame < 0 else drawn.frame,
            int(rng.integers(self.driving)) if self.driving else None,
        )


def shard_count(settings: SynthesisConfig) -> int:
    return -(-settings.pairs // settings.pairs_per_shard)


def shard_range(settings: SynthesisConfig, index: int) -> tuple[int, int]:
    """The first number of a shard's pairs and the one past its last."""
    first = index * settings.pairs_per_shard
    return first, min(first + settings.pairs_per_shard, settings.pairs)
