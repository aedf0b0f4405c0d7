"""The plan of a dataset: each pair is a pure function of its number, computed shard by shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jr2net.config import SynthesisConfig
from jr2net.data.pairs import make_pair_id, pair_rng
from jr2net.data.stream import epoch_order
from jr2net.expressions.samplers import WITH_CAPTURES, WITHOUT_CAPTURES, draw_kind, sample
from jr2net.expressions.tracks import Track

MAX_PAIRS_PER_SOURCE = 16
"""Default upper bound: amortises the reconstruction of a source, while a shard still has many people."""


@dataclass(frozen=True)
class PlannedPair:
    """Everything that determines one pair.

    source      number of the source image
    expression  (51,) float32 in [0, 1]
    track       name of the expression's track;  frame: index in that track, or the pair's number if it was generated
    driving     number of the image that provides pose and light, if these are replaced
    """

    pair_id: str
    source: int
    expression: np.ndarray
    track: str
    frame: int
    driving: int | None = None


@dataclass(frozen=True)
class Plan:
    """The pairs of a dataset, drawn from numbered sources.

    sources, driving  number of source and of driving images; driving 0: keep the source's pose and light
    digests           by name, of everything a pair depends on besides its number and the seed
    """

    settings: SynthesisConfig
    seed: int
    sources: int
    digests: Mapping[str, str]
    tracks: Sequence[Track] = ()
    driving: int = 0

    @property
    def pairs_per_source(self) -> int:
        even = -(-self.settings.pairs // self.sources)
        return self.settings.pairs_per_source or min(even, MAX_PAIRS_PER_SOURCE, self.settings.pairs_per_shard)

    @property
    def kind_weights(self) -> Mapping[str, float]:
        """Relative frequency of each kind of expression."""
        if self.settings.expressions is not None:
            return {str(kind): weight for kind, weight in self.settings.expressions.items()}
        return WITH_CAPTURES if self.tracks else WITHOUT_CAPTURES

    def shard(self, index: int) -> list[PlannedPair]:
        """The pairs of one shard. Pairs of one source are adjacent; a source is reused only after all others."""
        first, last = shard_range(self.settings, index)
        slots = -(-self.settings.pairs_per_shard // self.pairs_per_source)
        return [self._pair(n, index * slots + (n - first) // self.pairs_per_source) for n in range(first, last)]

    def _pair(self, number: int, slot: int) -> PlannedPair:
        epoch, position = divmod(slot, self.sources)
        pair_id = make_pair_id(self.seed, number, *self.digests.values())
        rng = pair_rng(pair_id)
        sampled = sample(draw_kind(rng, self.kind_weights), rng, self.tracks)
        return PlannedPair(
            pair_id,
            int(epoch_order(self.sources, self.seed, epoch)[position]),
            sampled.expression,
            sampled.track,
            number if sampled.frame < 0 else sampled.frame,
            int(rng.integers(self.driving)) if self.driving else None,
        )


def shard_count(settings: SynthesisConfig) -> int:
    """Number of shards of a dataset."""
    return -(-settings.pairs // settings.pairs_per_shard)


def shard_range(settings: SynthesisConfig, index: int) -> tuple[int, int]:
    """Half-open range [first, last) of a shard's pair numbers."""
    first = index * settings.pairs_per_shard
    return first, min(first + settings.pairs_per_shard, settings.pairs)
