"""Tracked expressions against truth: figures of any number of systems, beside always zero and the mean."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jr2net.data.readers.expressions import LabelledImages
from jr2net.evaluation.metrics.delay import delay
from jr2net.evaluation.metrics.tracking import (
    GROUPS,
    closure_errors,
    gaze_errors,
    group_mean,
    shape_errors,
    side_errors,
)
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.smoothing import FaceSmoother

Array = NDArray[np.float64]

TRIVIAL = ("Zero", "Mean")
"""Answers that look at no image: all coefficients 0; the mean of the truth, which no system could know."""

TIMED = 30
LONGEST_DELAY_S = 0.8


@dataclass(frozen=True)
class Tracked:
    """What a network found on M images. expression (M, 51); seconds: of one frame alone, from crop to coefficients."""

    expression: Array
    seconds: float


def track(reconstructor: Reconstructor, images: LabelledImages) -> Tracked:
    """Fits every image by itself, without smoothing; a few of them again, one by one, to time them."""
    found, batch = [], reconstructor.batch_size
    for first in range(0, len(images), batch):
        crops = [images.image(number) for number in range(first, min(first + batch, len(images)))]
        found += [fit.face["expression"] for fit in reconstructor.fit(crops)]
    reconstructor.warm_up()
    seconds = []
    for number in range(min(TIMED, len(images))):
        crop = images.image(number)
        start = time.perf_counter()
        reconstructor.fit([crop])
        seconds.append(time.perf_counter() - start)
    return Tracked(np.stack(found).astype(np.float64), float(np.median(seconds)))


def trivial_answers(truth: Array) -> dict[str, Array]:
    """The answers of TRIVIAL for truth (M, 51)."""
    return {"Zero": np.zeros_like(truth), "Mean": np.broadcast_to(truth.mean(0), truth.shape)}


def figures(predicted: Array, truth: Array) -> dict[str, float]:
    """Every figure of coefficients (M, 51) against truth: over all blendshapes, by group, by side, of lids and gaze.

    ``mae`` is a mean over all blendshapes, ``correlation`` over those that vary in the truth
    (``metrics.tracking.VARIES``); ``mae GROUP`` and ``correlation GROUP`` are those of a group.
    """
    errors, sides = shape_errors(predicted, truth), side_errors(predicted, truth)
    found = {metric: group_mean(errors[metric]) for metric in ("mae", "correlation")}
    for metric in ("mae", "correlation"):
        found |= {f"{metric} {group}": group_mean(errors[metric], names) for group, names in GROUPS.items()}
    found |= {metric: group_mean(sides[metric]) for metric in ("side_correlation", "side_accuracy")}
    found["side_bias"] = group_mean(np.abs(sides["side_bias"]))
    return found | closure_errors(predicted, truth) | gaze_errors(predicted, truth)


def by_shape(predicted: Array, truth: Array) -> dict[str, dict[str, float]]:
    """Blendshape -> metric: ``mae``, ``bias``, ``correlation`` and, for one of a pair, ``side_…``."""
    errors = shape_errors(predicted, truth) | side_errors(predicted, truth)
    return {
        name: {metric: float(values[index]) for metric, values in errors.items() if np.isfinite(values[index])}
        for index, name in enumerate(ARKIT_NAMES)
    }


def delays(images: LabelledImages, expression: Array) -> dict[str, float]:
    """How late answers (M, 51) are in video, in frames and milliseconds, means over the videos, by their frames.

    ``smoothing_frames``, ``smoothing_ms``: of the answers, smoothed as ``jr2net animate`` does, after themselves;
    ``delay_frames``, ``delay_ms``: of the answers after the truth; ``smoothed_frames``, ``smoothed_ms``: of the
    smoothed answers after it; ``fps``: mean rate of the videos. Empty without videos longer
    than twice LONGEST_DELAY_S.
    """
    sums: dict[str, list[float]] = {}
    for numbers, rate in images.clips:
        limit = max(2, round(LONGEST_DELAY_S * rate))
        if len(numbers) <= 2 * limit:
            continue
        answers, truth = expression[numbers], images.truth[numbers]
        smooth = FaceSmoother(rate).filters["expression"]
        smoothed = np.stack([smooth(frame) for frame in answers])
        late = {
            "smoothing": delay(smoothed, answers, limit),
            "delay": delay(answers, truth, limit),
            "smoothed": delay(smoothed, truth, limit),
        }
        measured = {f"{name}_frames": frames for name, frames in late.items()}
        measured |= {f"{name}_ms": 1000 * frames / rate for name, frames in late.items()} | {"fps": rate}
        for name, value in measured.items():
            if np.isfinite(value):
                total = sums.setdefault(name, [0.0, 0.0])
                total[0] += value * len(numbers)
                total[1] += len(numbers)
    return {name: total / weight for name, (total, weight) in sums.items()}


def parts(images: LabelledImages) -> dict[str, NDArray[np.intp]]:
    """Name -> numbers of the images that are evaluated together: each kind of more than one image, and all of them."""
    kinds = np.array(images.kind)
    numbers = {str(kind): np.flatnonzero(kinds == kind) for kind in dict.fromkeys(images.kind)}
    found = {kind: chosen for kind, chosen in numbers.items() if len(chosen) > 1}
    return found if len(numbers) > 1 and found else {"all": np.arange(len(images))}


def systems_of(images: LabelledImages, answers: Mapping[str, Array]) -> dict[str, Array]:
    """The trivial answers, those that the set brings along, and those that are given."""
    return {**trivial_answers(images.truth), **images.answers, **answers}
