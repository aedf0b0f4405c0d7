"""Labelled films as pairs: images of the studio's people with the coefficients that they were filmed with."""

from __future__ import annotations

from collections.abc import Iterable

from jr2net.data.pair_index import PairIndex
from jr2net.data.pairs import PAIRS_PER_GROUP, Pair, encode_pair_shard, make_pair_id
from jr2net.images.clip import ClipRow

TRACK = "studio"
"""What films are said to be driven by, in the column ``track``."""


def film_pairs(rows: Iterable[ClipRow]) -> list[Pair]:
    """A pair of every frame. rows: filmed with ground truth."""
    pairs = []
    for row in rows:
        assert row.truth is not None, f"clip {row.clip_id!r} was filmed without ground truth"
        keypoints = [None] * len(row) if row.truth.keypoints is None else row.truth.keypoints
        frames = zip(row.images, row.truth.expression, row.frame.tolist(), keypoints, strict=True)
        for image, expression, frame, points in frames:
            pair_id = make_pair_id(row.clip_id, frame)
            pairs.append(Pair(pair_id, image, expression, row.identity, TRACK, frame, keypoints=points))
    return pairs


def encode_films(name: str, rows: Iterable[ClipRow]) -> tuple[bytes, int]:
    """The bytes of a pair shard and its number of pairs; name: what an error calls it."""
    pairs = film_pairs(rows)
    return encode_pair_shard(name, pairs), len(pairs)


def index_films(shards: Iterable[tuple[str, int, int]], folder: str) -> PairIndex:
    """The index of shards: path below the folder, pairs and bytes of each."""
    names, pairs, sizes = zip(*shards)
    return PairIndex.of(names, pairs, sizes, [min(count, PAIRS_PER_GROUP) for count in pairs], folder)
