"""The plan of a dataset: each pair is a pure function of its number, computed shard by shard.

No pair depends on how many there are: a dataset grows by the numbers that follow. ``grown_from`` holds the numbers of
pairs, ascending, that it was first made with; the shards of each of these parts stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from jr2net.config import SynthesisConfig
from jr2net.data.pairs import make_pair_id, pair_rng
from jr2net.expressions.samplers import WITH_CAPTURES, WITHOUT_CAPTURES, draw_kind, sample
from jr2net.expressions.tracks import Track
from jr2net.synthesis.source_order import SourceOrder

FIRST_PASSES = (1, 1, 2, 4, 8)
"""Pairs per source in the first passes over the sources, by default, so that small datasets are spread evenly too."""

_DRIVING = 1  # key of the order of driving images: another one than that of the sources

MAX_PAIRS_PER_SOURCE = 16
"""Pairs per source in all later passes: amortises the reconstruction of a source."""


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

    sources, driving  order of the source and of the driving images; driving None: keep the source's pose and light
    digests           by name, of everything a pair depends on besides its number and the seed
    """

    settings: SynthesisConfig
    seed: int
    sources: SourceOrder
    digests: Mapping[str, str]
    tracks: Sequence[Track] = ()
    driving: SourceOrder | None = None
    grown_from: Sequence[int] = ()

    @property
    def kind_weights(self) -> Mapping[str, float]:
        """Relative frequency of each kind of expression."""
        if self.settings.expressions is not None:
            return {str(kind): weight for kind, weight in self.settings.expressions.items()}
        return WITH_CAPTURES if self.tracks else WITHOUT_CAPTURES

    def shard(self, index: int) -> list[PlannedPair]:
        """The pairs of one shard. Pairs of one source are adjacent; a source is reused only after all others."""
        first, last = shard_range(self.settings, index, self.grown_from)
        return [self._pair(number) for number in range(first, last)]

    def place(self, number: int) -> tuple[int, int]:
        """Where a pair gets its source: the pass over the sources, and the position in its order."""
        first, each = 0, self.settings.pairs_per_source
        if each is None:
            for epoch, share in enumerate(FIRST_PASSES):
                if number < share * len(self.sources):
                    return epoch, number // share
                number -= share * len(self.sources)
            first, each = len(FIRST_PASSES), MAX_PAIRS_PER_SOURCE
        epoch, position = divmod(number, each * len(self.sources))
        return first + epoch, position // each

    def _pair(self, number: int) -> PlannedPair:
        epoch, position = self.place(number)
        pair_id = make_pair_id(self.seed, number, *self.digests.values())
        rng = pair_rng(pair_id)
        sampled = sample(draw_kind(rng, self.kind_weights), rng, self.tracks)
        return PlannedPair(
            pair_id,
            self.sources(self.seed, epoch)(position),
            sampled.expression,
            sampled.track,
            number if sampled.frame < 0 else sampled.frame,
            self._driving_of(number, rng),
        )

    def _driving_of(self, number: int, rng: np.random.Generator) -> int | None:
        """Any driving image; where they are many, those of neighbouring pairs lie near each other."""
        if self.driving is None:
            return None
        if self.driving.in_one_window:
            return int(rng.integers(len(self.driving)))
        epoch, position = divmod(number, len(self.driving))
        return self.driving(self.seed, epoch, _DRIVING)(position)


def shard_count(settings: SynthesisConfig, grown_from: Sequence[int] = ()) -> int:
    """Number of shards of a dataset."""
    return sum(-(-(last - first) // settings.pairs_per_shard) for first, last in _parts(settings, grown_from))


def shard_range(settings: SynthesisConfig, index: int, grown_from: Sequence[int] = ()) -> tuple[int, int]:
    """Half-open range [first, last) of a shard's pair numbers. Raises IndexError if there is no such shard."""
    size, shards = settings.pairs_per_shard, index
    for first, last in _parts(settings, grown_from):
        if shards * size < last - first:
            return first + shards * size, min(first + (shards + 1) * size, last)
        shards -= -(-(last - first) // size)
    raise IndexError(f"shard {index} of {shard_count(settings, grown_from)}")


def _parts(settings: SynthesisConfig, grown_from: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The ranges of pair numbers that are cut into shards each for itself."""
    return pairwise((0, *grown_from, settings.pairs))
