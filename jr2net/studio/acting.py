"""What people of the studio do: the expressions of a few frames of their clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jr2net.expressions import synthetic as expressions
from jr2net.expressions.tracks import Track
from jr2net.face.arkit import ARKIT_NAMES

FPS = 25.0

LARGEST = 0.25
"""Fraction of a capture's frames that are acted: those with the largest sum of coefficients."""

_EYE_BLINK = np.array([name.startswith("eyeBlink") for name in ARKIT_NAMES])
_MOUTH_OPENS = np.array([name.startswith(("jawOpen", "mouthLowerDown", "mouthUpperUp")) for name in ARKIT_NAMES])


def act(rng: np.random.Generator, frames: int, large: bool) -> tuple[np.ndarray, np.ndarray]:
    """Frame numbers (T,) and expressions (T, 51), drawn from one second of acting per frame.

    People differ in the strength of their expressions, in how far they open their mouths, and in how low their eyelids
    are at rest.
    """
    sampler = expressions.large if large else expressions.natural
    track = sampler(rng, 25 * frames, FPS)
    numbers = np.sort(rng.choice(len(track), frames, replace=False))
    expression = track[numbers]
    if not large:
        expression = expression * np.where(
            _EYE_BLINK, 1, rng.uniform(0.8, 2.0) * np.where(_MOUTH_OPENS, rng.uniform(1, 2.5), 1)
        )
    lid_offset = _EYE_BLINK * max(0.0, rng.normal(0.08, 0.12))
    return numbers, expressions.plausible(np.clip(expression + lid_offset, 0, 1))


def act_captured(rng: np.random.Generator, frames: int, tracks: Sequence[Track]) -> tuple[np.ndarray, np.ndarray]:
    """Frame numbers (T,) and expressions (T, 51) of one capture, unchanged: of its largest, those that are drawn."""
    track = tracks[int(rng.integers(len(tracks)))]
    chosen = largest_frames(track)
    numbers = np.sort(rng.choice(chosen, frames, replace=len(chosen) < frames))
    return numbers, track.expression[numbers]


def largest_frames(track: Track) -> np.ndarray:
    """Numbers of the frames with the largest expressions, of those that show a face; one at least."""
    seen = track.seen_frames
    order = np.argsort(-track.expression[seen].sum(1), kind="stable")
    return np.sort(seen[order[: max(1, round(LARGEST * len(seen)))]])
