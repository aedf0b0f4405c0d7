"""Samplers of expressions for synthesis, by kind; each is a pure function of a random generator.

``captured`` draws frames of captured tracks that show a face; the other kinds generate expressions that captures
rarely contain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from jr2net.expressions.synthetic import large_pose, natural, plausible
from jr2net.expressions.tracks import Track
from jr2net.face.arkit import ARKIT_NAMES

REGIONS: Mapping[str, tuple[str, ...]] = {"eyes": ("eye",), "brows": ("brow",), "mouth": ("jaw", "mouth")}
"""Regions of the face that move independently, by prefixes of shape names; the remaining region is cheeks and nose."""

WITHOUT_CAPTURES: Mapping[str, float] = {"natural": 0.25, "large": 0.75}
"""Default weights of the kinds without captures: a quarter as in typical footage, the rest large."""

WITH_CAPTURES: Mapping[str, float] = {"captured": 1.0}


K = TypeVar("K", bound=str)


class Sample(NamedTuple):
    """expression (51,) float32 in [0, 1]; track: its name; frame: index in that track, or -1 if generated."""

    expression: np.ndarray
    track: str
    frame: int


def sample(kind: str, rng: np.random.Generator, tracks: Sequence[Track]) -> Sample:
    """Draws an expression of one of ``KINDS``. Raises ValueError for another kind, or ``captured`` without tracks."""
    if kind == "captured":
        if not tracks:
            raise ValueError("expressions of kind 'captured' need synthesis.captures")
        track = tracks[int(rng.integers(len(tracks)))]
        frames = track.seen_frames
        frame = int(frames[rng.integers(len(frames))])
        return Sample(track.expression[frame], track.name, frame)
    if kind not in _SAMPLERS:
        raise ValueError(f"no kind of expression is called {kind!r}; there are {', '.join(KINDS)}")
    return Sample(_SAMPLERS[kind](rng, tracks), f"sampler/{kind}", -1)


def draw_kind(rng: np.random.Generator, weights_by_kind: Mapping[K, float]) -> K:
    """Draws a kind with a probability proportional to its weight."""
    weights = np.array(list(weights_by_kind.values()), float)
    return list(weights_by_kind)[int(rng.choice(len(weights), p=weights / weights.sum()))]


def _natural(rng: np.random.Generator, tracks: Sequence[Track]) -> np.ndarray:
    return natural(rng, 1)[0]


def _large(rng: np.random.Generator, tracks: Sequence[Track]) -> np.ndarray:
    """A strong expression scaled by a factor of 0.55 to 1."""
    return large_pose(rng) * np.float32(rng.uniform(0.3, 1.0) ** 0.5)


def _random(rng: np.random.Generator, tracks: Sequence[Track]) -> np.ndarray:
    """One to eight random shapes, each uniform in [0, 1]."""
    return _random_shapes(rng, int(rng.integers(1, 9)))


def _dense(rng: np.random.Generator, tracks: Sequence[Track]) -> np.ndarray:
    """Four to sixteen random shapes, each uniform in [0, 1]: unnatural, but each image supervises many shapes."""
    return _random_shapes(rng, int(rng.integers(4, 17)))


def _random_shapes(rng: np.random.Generator, count: int) -> np.ndarray:
    """``count`` random shapes, each uniform in [0, 1]."""
    pose = np.zeros(len(ARKIT_NAMES))
    chosen = rng.choice(len(pose), count, replace=False)
    pose[chosen] = rng.random(count)
    return plausible(pose[None])[0]


def _extreme(rng: np.random.Generator, tracks: Sequence[Track]) -> np.ndarray:
    """A strong expression scaled so that its largest coefficient is 1."""
    pose = large_pose(rng)
    return plausible(pose[None] / max(float(pose.max()), 1e-6))[0]


def _sweep(rng: np.random.Generator, tracks: Sequence[Track]) -> np.ndarray:
    """One shape alone at a uniform strength (see ``single_shape``)."""
    return single_shape(ARKIT_NAMES[int(rng.integers(len(ARKIT_NAMES)))], rng.random())


def single_shape(name: str, value: float) -> np.ndarray:
    """(51,) with one shape at ``value`` and all others 0; ``mouthClose`` also sets ``jawOpen``, which it requires."""
    pose = np.zeros(len(ARKIT_NAMES), np.float32)
    pose[ARKIT_NAMES.index(name)] = value
    if name == "mouthClose":
        pose[ARKIT_NAMES.index("jawOpen")] = value
    return pose


def _permuted(rng: np.random.Generator, tracks: Sequence[Track]) -> np.ndarray:
    """Eyes, brows, mouth and the rest of the face, each from another expression."""
    pose = _base_pose(rng, tracks).copy()
    for prefixes in REGIONS.values():
        other = _base_pose(rng, tracks)
        of_region = [name.startswith(prefixes) for name in ARKIT_NAMES]
        pose[of_region] = other[of_region]
    return plausible(pose[None])[0]


def _interpolated(rng: np.random.Generator, tracks: Sequence[Track]) -> np.ndarray:
    """A random interpolation between two expressions."""
    start, end, fraction = _base_pose(rng, tracks), _base_pose(rng, tracks), rng.random()
    return plausible((start * (1 - fraction) + end * fraction)[None])[0]


def _base_pose(rng: np.random.Generator, tracks: Sequence[Track]) -> np.ndarray:
    """A captured frame if there are captures, else a strong expression."""
    return sample("captured", rng, tracks).expression if tracks else large_pose(rng)


_SAMPLERS: Mapping[str, Callable[[np.random.Generator, Sequence[Track]], np.ndarray]] = {
    "natural": _natural,
    "large": _large,
    "random": _random,
    "dense": _dense,
    "extreme": _extreme,
    "sweep": _sweep,
    "permuted": _permuted,
    "interpolated": _interpolated,
}

KINDS = ("captured", *_SAMPLERS)
"""Every kind of expression."""
