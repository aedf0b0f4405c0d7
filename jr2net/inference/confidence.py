"""How probably a box holds a face that the fit describes.

The package's own detector looks at the crop once more, whoever found the face, or if a caller gave its box. In the
frames of a video it has looked already where it is the one that follows the face. Two things count: its score, and how
far its landmarks lie from those of the fit. ``jr2net.evaluation.confidence`` calibrates both. They may be good of faces
that the picture cuts off, too; one counts as none where too little of it is inside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jr2net.face.landmarks import INNER
from jr2net.images.crop import Crop
from jr2net.images.face_detector import Face
from jr2net.images.own_detector import OwnDetector
from jr2net.inference.framing import fraction_inside

LOW = 0.5
"""Answers of a lower confidence say so in their notes."""

_DOUBT = "there may be no face, or a part of one"

INTERCEPT, SCORE, DISAGREEMENT = -7.95, 1.77, -2.17
"""Logistic regression on ``evidence`` of 528 answers to scenes of the studio, 46 % of them right."""

NONE_INSIDE, ALL_INSIDE = 0.6, 0.85
"""Fractions of a face inside of the picture up to which the confidence is 0, and from which on it is whole. A picture
that ends at the brows shows about 0.7 of it. Not calibrated: among 250 frames of clips the least is 0.83."""

_LEAST_SCORE, _LEAST_DISAGREEMENT = 1e-3, 5e-3


def evidence(image: np.ndarray, crop: Crop, landmarks: np.ndarray, seen: Face | None = None) -> np.ndarray:
    """(2,): the logit of the detector's score in a crop of an image (H, W, 3) uint8, and the logarithm of the mean
    distance of its inner landmarks from those of a fit (68, 2), in longer sides of the fit's box.

    seen: what the package's own detector has seen there; without it, it looks
    """
    seen = seen or OwnDetector.load().look_at(image, crop)
    score = 0.0 if seen is None else seen.score
    side = float((landmarks.max(0) - landmarks.min(0)).max())
    apart = 1.0
    if seen is not None and seen.landmarks is not None and side > 0:
        apart = float(np.linalg.norm((seen.landmarks - landmarks)[INNER], axis=-1).mean()) / side
    score = float(np.clip(score, _LEAST_SCORE, 1 - _LEAST_SCORE))
    return np.array([np.log(score / (1 - score)), np.log(np.clip(apart, _LEAST_DISAGREEMENT, 1.0))])


def confidence(image: np.ndarray, crop: Crop, landmarks: np.ndarray, seen: Face | None = None) -> float:
    """The probability in [0, 1] that the crop holds a face that the fit describes; arguments as of ``evidence``."""
    score, disagreement = evidence(image, crop, landmarks, seen)
    inside = (fraction_inside(image.shape, landmarks) - NONE_INSIDE) / (ALL_INSIDE - NONE_INSIDE)
    sure = 1 / (1 + np.exp(-(INTERCEPT + SCORE * score + DISAGREEMENT * disagreement)))
    return float(sure * np.clip(inside, 0, 1))


def doubt(sure: float) -> tuple[str, ...]:
    """The note on the fit of a photo whose confidence is low; none on others."""
    return (f"the confidence is low ({sure:.2f}): {_DOUBT}, in the box",) * (sure < LOW)


@dataclass
class Doubts:
    """Counts frames of low confidence, in any order. ``first``: seconds of the earliest one."""

    count: int = 0
    first: float = float("inf")

    def add(self, seconds: float, sure: float) -> None:
        """A frame at an instant, and its confidence; NaN: not known."""
        if sure < LOW:
            self.count, self.first = self.count + 1, min(self.first, seconds)

    def notes(self, frames: int, which: str = "frames") -> tuple[str, ...]:
        """Of so many frames, e.g. "driving frames"; none where no frame is doubtful."""
        counted = f"{self.count} of {frames} {which} have a confidence below {LOW} (the first at {self.first:.1f} s)"
        return (f"{counted}: {_DOUBT}",) * bool(self.count)
