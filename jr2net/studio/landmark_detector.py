"""A simulated landmark detector with the errors of real ones.

Real detectors are trained on mostly mild expressions: they underestimate large ones, biased towards the neutral face.
Their error is not independent per point but shifts and bends whole parts of the face.
"""

from __future__ import annotations

import numpy as np

from jr2net.face.landmarks import JAW, LANDMARKS, LEFT_BROW, LEFT_EYE, MOUTH, NOSE, RIGHT_BROW, RIGHT_EYE

HALFWAY = 0.06
"""Displacement, as a fraction of the face box, at which the bias reaches half of its strength."""

_PARTS = (JAW, RIGHT_BROW, LEFT_BROW, NOSE, RIGHT_EYE, LEFT_EYE, MOUTH)


def biased_landmarks(
    truth: np.ndarray,
    neutral: np.ndarray,
    shrink: float,
    noise: float,
    rng: np.random.Generator,
    occluded: float = 0.0,
) -> np.ndarray:
    """Detected landmarks of T faces, (T, 68, 2) float32 pixels, or (68, 2) of a single face.

    truth     (T, 68, 2) true landmarks
    neutral   (T, 68, 2) true landmarks of the same faces and poses with a neutral expression
    shrink    in [0, 1]: a displacement d is reported as (1 - shrink · s) d, where s rises from 0 for small
              displacements over 1/2 at ``HALFWAY`` of the face box to 1; a smile is detected almost in full
    noise     standard deviation of a point's error as a fraction of the face box, mostly shared with its neighbours
    occluded  probability that a part of a face (brow, eye, nose, …) is not detected: its points are NaN
    """
    box = np.ptp(neutral, axis=-2).max(-1)[..., None, None]
    displacement = truth - neutral
    relative = np.linalg.norm(displacement, axis=-1, keepdims=True) / box
    strength = relative**2 / (relative**2 + HALFWAY**2)
    reported = np.ascontiguousarray(neutral + (1 - shrink * strength) * displacement)
    for face, side in zip(reported.reshape(-1, LANDMARKS, 2), box.reshape(-1)):  # views of the frames
        face += noise * side * _face_noise(rng)
        for part in _PARTS:
            if rng.random() < occluded:
                face[part] = np.nan
    return reported.astype(np.float32)


def _face_noise(rng: np.random.Generator) -> np.ndarray:
    """(68, 2) of unit variance: noise of the whole face, of each part, along each part's contour, and of each point."""
    whole, parts = rng.normal(size=2), rng.normal(size=(len(_PARTS), 2))
    noise = np.sqrt(0.2) * whole + np.sqrt(0.2) * rng.normal(size=(LANDMARKS, 2))
    for part, shift in zip(_PARTS, parts):
        count = part.stop - part.start
        position = np.linspace(0, 1, count)[:, None]
        bend = np.sin(np.pi * (position * rng.uniform(0.5, 2, (1, 2)) + rng.uniform(0, 2, (1, 2)))) * np.sqrt(2)
        noise[part] += np.sqrt(0.3) * shift + np.sqrt(0.3) * bend
    return noise
