"""Expressions to synthesise pictures of: one for each pair, of one of several kinds, as a pure function of a generator.

``captured`` takes frames of captured tracks as they are; the others make up what captures seldom hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jr2net.expressions.synthetic import large_pose, natural, plausible
from jr2net.expressions.tracks import Track
from jr2net.face.arkit import ARKIT_NAMES

REGIONS: Mapping[str, tuple[str, ...]] = {"eyes": ("eye",), "brows": ("brow",), "mouth": ("jaw", "mouth")}
"""Parts of the face that move by themselves, by the beginnings of their shapes' names; the rest is cheeks and nose."""

WITHOUT_CAPTURES: Mapping[str, float] = {"natural": 0.25, "large": 0.75}
"""Shares of the kinds where neither kinds nor captures are given: a quarter as footage has it, the rest large."""

WITH_CAPTURES: Mapping[str, float] = {"captured": 1.0}


class Sample(NamedTuple):
    """expression (51,) float32 in [0, 1]; track: where it came from; frame: of that track, or -1."""

    expression: np.ndarray
    track: str
    frame: int


def sample(kind: str, rng: np.random.Generator, tracks: Sequence[Track]) -> Sample:
    """An expression of one kind of ``KINDS``. Raises ValueError for another kind, or ``captured`` without tracks."""
    if kind == "captured":
        if not tracks:
            raise ValueError("expressions of kind 'captured' need synthesis.captures")
        track = tracks[int(rng.integers(len(tracks)))]
        frame = int(rng.integers(len(track)))
        return Sample(track.expression[frame], track.name, frame)
    if kind not in _MAKERS:
        raise ValueError(f"no kind of expression is called {kind!r}; there are {', '.join(KINDS)}")
    return Sample(_MAKERS[kind](rng, tracks), f"sampler/{kind}", -1)


def draw_kind(rng: np.random.Generator, shares: Mapping[str, float]) -> str:
    """One of the kinds, each with its share."""
    weights = np.array(list(shares.values()), float)
    return list(shares)[int(rng.choice(len(weights), p=weights / weights.sum()))]


def _natural(rng: np.random.Generator, tracks: Sequence[Track]) -> np.ndarray:
    return natural(rng, 1)[0]


def _large(rng: np.random.Generator, tracks: Sequence[Track]) -> np.ndarray:
    """A strong face at any strength from a third."""
    return large_pose(rng) * np.float32(rng.uniform(0.3, 1.0) ** 0.5)


def _random(rng: np.random.Generator, tracks: Sequence[Track]) -> np.ndarray:
    """One to eight shapes, each anywhere between 0 and 1."""
    return _shapes(rng, int(rng.integers(1, 9)))


def _dense(rng: np.random.Generator, tracks: Sequence[Track]) -> np.ndarray:
    """Four to sixteen shapes, each anywhere between 0 and 1: no face that one meets, and three lessons in one."""
    return _shapes(rng, int(rng.integers(4, 17)))


def _shapes(rng: np.random.Generator, count: int) -> np.ndarray:
    pose = np.zeros(len(ARKIT_NAMES))
    chosen = rng.choice(len(pose), count, replace=False)
    pose[chosen] = rng.random(count)
    return plausible(pose[None])[0]


def _extreme(rng: np.random.Generator, tracks: Sequence[Track]) -> np.ndarray:
    """A strong face driven as far as it goes: its strongest shape at 1."""
    pose = large_pose(rng)
    return plausible(pose[None] / max(float(pose.max()), 1e-6))[0]


def _sweep(rng: np.random.Generator, tracks: Sequence[Track]) -> np.ndarray:
    """One shape alone at any strength; ``mouthClose`` takes ``jawOpen`` along, as it must."""
    return single_shape(ARKIT_NAMES[int(rng.integers(len(ARKIT_NAMES)))], rng.random())


def single_shape(name: str, value: float) -> np.ndarray:
    """(51,) with one shape at ``value`` and nothing else; ``mouthClose`` takes ``jawOpen`` along."""
    pose = np.zeros(len(ARKIT_NAMES), np.float32)
    pose[ARKIT_NAMES.index(name)] = value
    if name == "mouthClose":
        pose[ARKIT_NAMES.index("jawOpen")] = value
    return pose


def _permuted(rng: np.random.Generator, tracks: Sequence[Track]) -> np.ndarray:
    """Eyes, brows, mouth and the rest of the face, each from another face."""
    pose = _key(rng, tracks).copy()
    for beginnings in REGIONS.values():
        other = _key(rng, tracks)
        of_region = [name.startswith(beginnings) for name in ARKIT_NAMES]
        pose[of_region] = other[of_region]
    return plausible(pose[None])[0]


def _interpolated(rng: np.random.Generator, tracks: Sequence[Track]) -> np.ndarray:
    """Somewhere on the way from one face to another."""
    start, end, part = _key(rng, tracks), _key(rng, tracks), rng.random()
    return plausible((start * (1 - part) + end * part)[None])[0]


def _key(rng: np.random.Generator, tracks: Sequence[Track]) -> np.ndarray:
    """A face to start from: a captured frame where there are captures, else a strong face."""
    return sample("captured", rng, tracks).expression if tracks else large_pose(rng)


_MAKERS: Mapping[str, Callable[[np.random.Generator, Sequence[Track]], np.ndarray]] = {
    "natural": _natural,
    "large": _large,
    "random": _random,
    "dense": _dense,
    "extreme": _extreme,
    "sweep": _sweep,
    "permuted": _permuted,
    "interpolated": _interpolated,
}

KINDS = ("captured", *_MAKERS)
"""Every kind of expression."""
