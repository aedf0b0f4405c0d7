"""What people of the studio do: the expressions of a few frames of their clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jr2net.config.studio import Manner
from jr2net.expressions import synthetic as expressions
from jr2net.expressions.tracks import Track
from jr2net.face.arkit import ARKIT_NAMES

FPS = 25.0

LARGEST = 0.25
"""Fraction of a capture's frames that are acted: those with the largest sum of coefficients."""

_RESTING = {
    "eyeBlink": 0.12, "eyeSquint": 0.12, "eyeWide": 0.15, "browInnerUp": 0.2, "browOuterUp": 0.2, "browDown": 0.15,
    "mouthSmile": 0.1, "mouthFrown": 0.08, "mouthRollLower": 0.12, "mouthRollUpper": 0.12, "mouthPucker": 0.1,
    "mouthShrugLower": 0.08, "mouthStretch": 0.1, "mouthPress": 0.08, "cheekPuff": 0.15, "cheekSquint": 0.12,
    "noseSneer": 0.1, "jawForward": 0.15, "jawOpen": 0.02,
}  # fmt: skip
"""Standard deviations over people of what their faces show at rest, by stem."""

_EYE_BLINK = np.array([name.startswith("eyeBlink") for name in ARKIT_NAMES])
_MOUTH_OPENS = np.array([name.startswith(("jawOpen", "mouthLowerDown", "mouthUpperUp")) for name in ARKIT_NAMES])


def act(rng: np.random.Generator, frames: int, manner: Manner) -> tuple[np.ndarray, np.ndarray]:
    """Frame numbers (T,) and expressions (T, 51), drawn from one second of acting per frame.

    People differ in the strength of their expressions, in how far they open their mouths, and in how low their eyelids
    are at rest. Spontaneous expressions do not follow one another in time.
    """
    if manner == "spontaneous":
        return np.arange(frames), np.stack([expressions.spontaneous(rng) for _ in range(frames)])
    sampler = expressions.large if manner == "large" else expressions.natural
    track = sampler(rng, 25 * frames, FPS)
    numbers = np.sort(rng.choice(len(track), frames, replace=False))
    expression = track[numbers]
    if manner == "natural":
        expression = expression * np.where(
            _EYE_BLINK, 1, rng.uniform(0.8, 2.0) * np.where(_MOUTH_OPENS, rng.uniform(1, 2.5), 1)
        )
    lid_offset = _EYE_BLINK * max(0.0, rng.normal(0.08, 0.12))
    return numbers, expressions.plausible(np.clip(expression + lid_offset, 0, 1))


def draw_resting_face(rng: np.random.Generator) -> np.ndarray:
    """(51,) coefficients, some of them negative, that a person's face has at rest: how far the eyes are open, where
    the brows are, how full the lips are. They are what tells a person, not an expression."""
    rest = np.zeros(len(ARKIT_NAMES))
    for stem, deviation in _RESTING.items():
        value, difference = deviation * rng.normal(), 0.2 * deviation * rng.normal()
        for name, sign in ((stem, 0), (stem + "Left", 1), (stem + "Right", -1)):
            if name in ARKIT_NAMES:
                rest[ARKIT_NAMES.index(name)] = value + sign * difference
    return np.clip(rest, -0.35, 0.35)


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
