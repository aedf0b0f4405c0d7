"""Evaluation of RecNet and RecAugNet against ground truth (studio) and detected landmarks (all test sets)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jr2net.data.clips import ClipSource, FrameRef
from jr2net.data.evaluation_frames import evenly_spaced, load_frames, spaced_frames
from jr2net.device import to_device
from jr2net.evaluation.bench import Bench, Measurement
from jr2net.evaluation.figures import Grid, overlay_grid
from jr2net.evaluation.metrics.expression import expression_errors
from jr2net.evaluation.metrics.geometry import GeometryErrors, expression_errors_mm, geometry_errors
from jr2net.evaluation.metrics.landmarks import nme
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.inference.reconstruction import Reconstructor
from jr2net.render.renderer import landmarks_2d

BATCH = 32
PART = 64
"""Number of frames that a worker measures at a time: a multiple of BATCH, so that batches do not depend on it."""

MAX_MESHES = 300  # per test set that are aligned by ICP, evenly spaced
MAX_FRAMES = 2000  # per test set, evenly spaced
BASELINE_FRAMES = 500  # of the training set, evenly spaced
OVERLAYS = 10


@dataclass(frozen=True)
class Measured:
    """What is measured of B frames, on the CPU.

    detected       landmarks (B, 68, 2), NaN where undetected
    landmarks      method -> landmarks (B, 68, 2)
    truth          true expression (B, 51), None without ground truth; then the following are empty
    expression     method -> expression (B, 51)
    expression_mm  method -> error of the expression (B,), mm
    geometry       method -> errors of those meshes that are aligned
    overlays       fitted meshes over those images that are shown; None: no image is
    """

    detected: Tensor
    landmarks: Mapping[str, Tensor]
    truth: Tensor | None
    expression: Mapping[str, Tensor]
    expression_mm: Mapping[str, Tensor]
    geometry: Mapping[str, GeometryErrors]
    overlays: Grid | None


def frame_parts(clips: ClipSource, name: str) -> list[Measurement]:
    """The parts that measure the frames of the test set ``name``."""
    refs = spaced_frames(clips, MAX_FRAMES)
    meshes, shown = evenly_spaced(len(refs), MAX_MESHES), evenly_spaced(len(refs), OVERLAYS)
    return [
        partial(
            measure_frames,
            name=name,
            refs=refs[first : first + PART],
            meshes=_within(meshes, first),
            shown=_within(shown, first),
        )
        for first in range(0, len(refs), PART)
    ]


def measure_frames(
    bench: Bench, name: str, refs: Sequence[FrameRef], meshes: Sequence[int], shown: Sequence[int]
) -> Measured:
    """Measures frames of the test set ``name``. meshes, shown: numbers, among them, of those whose meshes are aligned
    and of those that are shown."""
    cascade, device = bench.cascade, bench.cascade.model.mean.device
    frames = load_frames(bench.sets[name], refs, cascade.camera.size)
    images = frames["image"]
    fits = {method: _fit(reconstructor, images) for method, reconstructor in cascade.reconstructors.items()}
    truth = ground_truth(frames)
    expression, expression_mm, geometry = {}, {}, {}
    if truth is not None:
        truth = truth.to(device)
        predictions = {"MeanFace": truth.map(torch.zeros_like), **fits}
        for method, prediction in predictions.items():
            expression[method] = prediction.expression.cpu()
            expression_mm[method] = expression_errors_mm(cascade.model, prediction.expression, truth.expression).cpu()
        if meshes:
            geometry = _geometry(cascade.model, predictions, truth, list(meshes), bench.crop_mm)
    return Measured(
        frames["landmarks"],
        {method: landmarks_2d(cascade.model, fit, cascade.camera).cpu() for method, fit in fits.items()},
        truth.expression.cpu() if truth is not None else None,
        expression,
        expression_mm,
        geometry,
        _overlays(bench, name, frames, fits, truth, list(shown)) if shown else None,
    )


def baseline_parts(clips: ClipSource, size: int) -> list[Measurement]:
    """The parts that read landmarks of the training set, for ``mean_landmarks``."""
    refs = spaced_frames(clips, BASELINE_FRAMES)
    return [partial(read_landmarks, refs=refs[first : first + PART], size=size) for first in range(0, len(refs), PART)]


def read_landmarks(bench: Bench, refs: Sequence[FrameRef], size: int) -> Tensor:
    """(B, 68, 2): landmarks of frames of the training set, in pixels of images of ``size``."""
    return load_frames(bench.training, refs, size)["landmarks"]


def mean_landmarks(parts: Sequence[Tensor]) -> Tensor:
    """(68, 2): mean landmarks of the training set."""
    return torch.cat(list(parts)).nanmean(0)


def summarize_frames(parts: Sequence[Measured], baseline: Tensor) -> tuple[dict[str, dict[str, Any]], Grid]:
    """Metrics by section of the report (``landmarks``; with ground truth also ``reconstruction`` and ``expression``)
    and an overlay grid of one test set. ``baseline`` (68, 2): the mean landmarks of the training set."""
    detected = torch.cat([part.detected for part in parts])
    landmarks: dict[str, Any] = {
        "frames": len(detected),
        "MeanLandmarks": {"nme": _nme(baseline[None].expand_as(detected), detected)},
    }
    for method in parts[0].landmarks:
        landmarks[method] = {"nme": _nme(torch.cat([part.landmarks[method] for part in parts]), detected)}
    metrics: dict[str, dict[str, Any]] = {"landmarks": landmarks}
    true_expression = [part.truth for part in parts if part.truth is not None]
    if len(true_expression) == len(parts):
        truth, aligned = torch.cat(true_expression), [part.geometry for part in parts if part.geometry]
        metrics |= {"reconstruction": {}, "expression": {}}
        for method in parts[0].expression:
            geometry = GeometryErrors.concatenate(part[method] for part in aligned)
            metrics["reconstruction"] |= {"meshes": len(geometry.rmse), method: geometry.summary()}
            millimetres = torch.cat([part.expression_mm[method] for part in parts])
            metrics["reconstruction"][method]["expression_rmse_mm"] = float(millimetres.mean())
            errors = expression_errors(torch.cat([part.expression[method] for part in parts]), truth)
            metrics["expression"][method] = errors.summary() | {"shapes": errors.by_name()}
    return metrics, Grid.join([part.overlays for part in parts if part.overlays is not None])


def ground_truth(frames: dict[str, Any]) -> FaceParameters | None:
    """Ground-truth parameters of a batch of frames, None if their shards have none."""
    names = ("identity", "expression", "albedo", "rotation", "translation", "light")
    if "truth_identity" not in frames:
        return None
    return FaceParameters(**{name: frames[f"truth_{name}"] for name in names})


def _overlays(
    bench: Bench,
    name: str,
    frames: dict[str, Any],
    fits: Mapping[str, FaceParameters],
    truth: FaceParameters | None,
    shown: list[int],
) -> Grid:
    model, chosen = bench.cascade.model, torch.tensor(shown)
    return overlay_grid(
        f"Overlays: {name.replace('_', ' ')}",
        "Fitted meshes over images of held-out people; dots: detected landmarks.",
        frames["image"][chosen].to(model.mean.device),
        {method: parameters[chosen] for method, parameters in fits.items()}
        | {"ground truth": truth[chosen] if truth is not None else None},
        model,
        bench.cascade.camera,
        [frames["sample_id"][index] for index in shown],
        frames["landmarks"][chosen],
    )


def _within(numbers: np.ndarray, first: int) -> list[int]:
    """Those numbers that fall into the part from ``first`` on, less ``first``."""
    return (numbers[(numbers >= first) & (numbers < first + PART)] - first).tolist()


def _fit(reconstructor: Reconstructor, images: Tensor) -> FaceParameters:
    device = reconstructor.model.mean.device
    return FaceParameters.concatenate(reconstructor.predict(to_device(batch, device)) for batch in images.split(BATCH))


def _nme(predicted: Tensor, detected: Tensor) -> float:
    return float(nme(predicted, detected).nanmean())


def _geometry(
    model: FaceModel,
    predictions: Mapping[str, FaceParameters],
    truth: FaceParameters,
    meshes: list[int],
    crop_mm: float,
) -> dict[str, GeometryErrors]:
    chosen = torch.tensor(meshes)
    true_vertices = model.shape(truth.identity[chosen], truth.expression[chosen])
    return {
        method: geometry_errors(
            model, model.shape(prediction.identity[chosen], prediction.expression[chosen]), true_vertices, crop_mm
        )
        for method, prediction in predictions.items()
    }
