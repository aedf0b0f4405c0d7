"""Evaluation of RecNet and RecAugNet against ground truth (studio) and detected landmarks (all test sets)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from jr2net.data.clips import ClipSource
from jr2net.data.evaluation_frames import all_frames, load_frames
from jr2net.device import to_device
from jr2net.evaluation.figures import Grid, overlay_grid
from jr2net.evaluation.metrics.expression import expression_errors
from jr2net.evaluation.metrics.geometry import expression_rmse_mm, geometry_errors
from jr2net.evaluation.metrics.landmarks import nme
from jr2net.evaluation.reenactment import Cascade
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.inference.reconstruction import Reconstructor
from jr2net.render.renderer import landmarks_2d

BATCH = 32
MAX_MESHES = 300  # per test set that are aligned by ICP, evenly spaced
MAX_FRAMES = 2000  # per test set, evenly spaced
OVERLAYS = 10


def measure_reconstruction(
    name: str, clips: ClipSource, cascade: Cascade, crop_mm: float, baseline: Tensor
) -> tuple[dict[str, dict[str, Any]], Grid]:
    """Metrics by section of the report (``landmarks``; with ground truth also ``reconstruction`` and ``expression``)
    and an overlay grid of one test set. ``baseline`` (68, 2): the mean landmarks of the training set.

    Images stay on the CPU, batches of them apart; what is measured is on the device of the cascade."""
    frames, device = _frames(clips, cascade.camera.size), cascade.model.mean.device
    images, detected, baseline = frames["image"], frames["landmarks"].to(device), baseline.to(device)
    fits = {
        "RecNet": _fit(cascade.recnet, images),
        "RecAugNet": _fit(cascade.recaugnet, images),
    }
    landmarks: dict[str, Any] = {
        "frames": len(images),
        "MeanLandmarks": {"nme": _nme(baseline[None].expand_as(detected), detected)},
    }
    for method, parameters in fits.items():
        landmarks[method] = {"nme": _nme(landmarks_2d(cascade.model, parameters, cascade.camera), detected)}
    metrics: dict[str, dict[str, Any]] = {"landmarks": landmarks}

    truth = ground_truth(frames)
    if truth is not None:
        truth = truth.to(device)
        mean_face = truth.map(torch.zeros_like)
        predictions = {"MeanFace": mean_face, **fits}
        metrics["reconstruction"] = _geometry(cascade.model, predictions, truth, crop_mm)
        metrics["expression"] = _expression(predictions, truth)
    shown = _evenly_spaced(len(images), OVERLAYS)
    return metrics, overlay_grid(
        f"Overlays: {name.replace('_', ' ')}",
        "Fitted meshes over images of held-out people; dots: detected landmarks.",
        images[shown].to(device),
        {method: parameters[shown] for method, parameters in fits.items()}
        | {"ground truth": truth[shown] if truth is not None else None},
        cascade.model,
        cascade.camera,
        [frames["sample_id"][index] for index in shown.tolist()],
        detected[shown],
    )


def mean_landmarks(clips: ClipSource, size: int) -> Tensor:
    """(68, 2): mean landmarks of the training set, in pixels of images of ``size``."""
    refs = all_frames(clips)
    points = load_frames(clips, [refs[i] for i in _evenly_spaced(len(refs), 500).tolist()], size)["landmarks"]
    return points.nanmean(0)


def ground_truth(frames: dict[str, Any]) -> FaceParameters | None:
    """Ground-truth parameters of a batch of frames, None if their shards have none."""
    names = ("identity", "expression", "albedo", "rotation", "translation", "light")
    if "truth_identity" not in frames:
        return None
    return FaceParameters(**{name: frames[f"truth_{name}"] for name in names})


def _frames(clips: ClipSource, size: int) -> dict[str, Any]:
    refs = all_frames(clips)
    return load_frames(clips, [refs[index] for index in _evenly_spaced(len(refs), MAX_FRAMES).tolist()], size)


def _fit(reconstructor: Reconstructor, images: Tensor) -> FaceParameters:
    device = reconstructor.model.mean.device
    return FaceParameters.concatenate(reconstructor.predict(to_device(batch, device)) for batch in images.split(BATCH))


def _nme(predicted: Tensor, detected: Tensor) -> float:
    return float(nme(predicted, detected).nanmean())


def _geometry(
    model: FaceModel, predictions: dict[str, FaceParameters], truth: FaceParameters, crop_mm: float
) -> dict[str, Any]:
    chosen = _evenly_spaced(len(truth), MAX_MESHES)
    true_vertices = model.shape(truth.identity[chosen], truth.expression[chosen])
    metrics: dict[str, Any] = {"meshes": len(chosen)}
    for method, prediction in predictions.items():
        vertices = model.shape(prediction.identity[chosen], prediction.expression[chosen])
        metrics[method] = geometry_errors(model, vertices, true_vertices, crop_mm).summary()
        metrics[method]["expression_rmse_mm"] = expression_rmse_mm(model, prediction.expression, truth.expression)
    return metrics


def _expression(predictions: dict[str, FaceParameters], truth: FaceParameters) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    for method, prediction in predictions.items():
        errors = expression_errors(prediction.expression, truth.expression)
        metrics[method] = errors.summary() | {"shapes": errors.by_name()}
    return metrics


def _evenly_spaced(count: int, limit: int) -> Tensor:
    """At most ``limit`` evenly spaced indices below ``count``."""
    return torch.linspace(0, count - 1, min(count, limit)).round().long()
