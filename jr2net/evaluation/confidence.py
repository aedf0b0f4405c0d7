"""What the confidence of an answer is worth: its calibration on scenes of the studio, and its reliability elsewhere.

python -m jr2net.evaluation.confidence PORTRAITS prints the constants of ``jr2net.inference.confidence``. PORTRAITS is
the folder of a run's stage ``portraits``, of which the people are taken that the detector was not trained on.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from jr2net.data.scenes import SceneLoader, draw_scene, visible
from jr2net.evaluation.detection import Pasted
from jr2net.face.landmarks import INNER
from jr2net.images.face_detector import Face, FaceDetector
from jr2net.images.own_detector import OwnDetector
from jr2net.inference.confidence import confidence, evidence
from jr2net.inference.face import FittedFace
from jr2net.inference.photo import Photo
from jr2net.inference.reconstruction import Reconstructor
from jr2net.process import use_threads

DESCRIBES = 0.08
"""A fit describes a face if the mean distance of its inner landmarks from the true ones is at most so many longer sides
of the face's box, about 0.13 distances of the outer eye corners."""

SHOWN = 0.65
"""In calibration, the least visible fraction of a face's landmarks: what a fit says of a face of which less is seen
is a guess, even if it lies in the right place."""

SCENES, SIDE = 500, 256
BINS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)


@dataclass(frozen=True)
class Answer:
    """confidence in [0, 1]; right: whether the box holds a face that the fit describes."""

    confidence: float
    right: bool


def answers(pasted: Sequence[Pasted], reconstructor: Reconstructor, detector: FaceDetector) -> list[Answer]:
    """Every face that is found in the pictures, and what a caller gets for the same box where there is no face."""
    found = []
    for picture in pasted:
        for image, truth in ((picture.image, [picture.landmarks]), (picture.empty, [])):
            faces = [*detector(image)] or [Face.from_box(picture.box.tolist())]
            for fitted in reconstructor([Photo(image, face, face.crop()) for face in faces]):
                sure = confidence(image, fitted.photo.crop, fitted.landmarks)
                found.append(Answer(sure, describes(fitted, truth)))
    return found


def describes(fitted: FittedFace, truth: Sequence[np.ndarray]) -> bool:
    """Whether the fit lies on one of the true faces (68, 2)."""
    return any(
        np.linalg.norm((fitted.landmarks - points)[INNER], axis=-1).mean()
        <= DESCRIBES * (points.max(0) - points.min(0)).max()
        for points in truth
    )


def reliability(found: Sequence[Answer]) -> list[tuple[str, int, float, float]]:
    """Of every class of confidence: its bounds, how many answers it has, their mean confidence, and how many are right
    in fact, as fractions."""
    sure, right = (np.array([getattr(answer, name) for answer in found], float) for name in ("confidence", "right"))
    rows = []
    for low, high in pairwise(BINS):
        inside = (sure >= low) & ((sure < high) | (high == 1))
        if inside.any():
            means = float(sure[inside].mean()), float(right[inside].mean())
            rows.append((f"{low:g} to {high:g}", int(inside.sum()), *means))
    return rows


def fit_logistic(features: np.ndarray, labels: np.ndarray, steps: int = 30) -> np.ndarray:
    """Coefficients (1 + F,) of a logistic regression on features (N, F) of labels (N,), the intercept first: Newton's
    method with a little shrinkage."""
    inputs = np.hstack([np.ones((len(features), 1)), features])
    weights = np.zeros(inputs.shape[1])
    for _ in range(steps):
        predicted = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (labels - predicted) - 1e-2 * weights
        curvature = (inputs * (predicted * (1 - predicted))[:, None]).T @ inputs + 1e-2 * np.eye(len(weights))
        weights = weights + np.linalg.solve(curvature, slope)
    return weights


def studio_evidence(portraits: str, scenes: int = SCENES, seed: int = 1) -> Iterator[tuple[np.ndarray, bool]]:
    """``evidence`` of the answers to scenes of people whom the detector was not trained on, and whether each is right.

    Looked at are what the detector reports, and in every second scene a box anywhere.
    """
    people = SceneLoader(portraits, side=SIDE, seed=seed, batch_size=1, held_back=True).portraits
    detector, reconstructor = OwnDetector.load(), Reconstructor.load()
    for number in range(scenes):
        rng = np.random.default_rng([seed, number])
        scene = draw_scene(rng, people, SIDE)
        faces = detector(scene.image)
        if number % 2:
            side, (x, y) = SIDE * rng.uniform(0.1, 0.8), rng.uniform(0, 0.8 * SIDE, 2)
            faces.append(Face.from_box((x, y, x + side, y + side)))
        shown = [points for points, share in zip(scene.landmarks, visible(scene)) if share >= SHOWN]
        photos = [Photo(scene.image, face, face.crop()) for face in faces]
        for fitted in reconstructor(photos) if photos else ():
            looked = evidence(scene.image, fitted.photo.crop, fitted.landmarks)
            yield looked, describes(fitted, shown)


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 1
    use_threads(1)
    features, labels = zip(*studio_evidence(arguments[0]), strict=True)
    weights = fit_logistic(np.array(features), np.array(labels, float))
    print(f"{len(labels)} answers, {np.mean(labels):.0%} right")
    print("INTERCEPT, SCORE, DISAGREEMENT = " + ", ".join(f"{value:.2f}" for value in weights))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
