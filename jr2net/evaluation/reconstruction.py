"""RecNet and RecAugNet against the truth (studio) or against detected landmarks (photographs)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from jr2net.data.clips import ClipSource
from jr2net.data.evaluation_frames import all_frames, load_frames
from jr2net.evaluation.figures import Grid, overlay_grid
from jr2net.evaluation.metrics.expression import expression_errors
from jr2net.evaluation.metrics.geometry import expression_rmse_mm, geometry_errors
from jr2net.evaluation.metrics.landmarks import nme
from jr2net.evaluation.reenactment import Cascade
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.render.renderer import landmarks_2d

BATCH = 32
MOST_MESHES = 300  # of a test set are aligned by ICP, evenly spread over it
MOST_FRAMES = 2000  # of a test set are looked at, evenly spread over it
OVERLAYS = 10


def measure_reconstruction(
    name: str, clips: ClipSource, cascade: Cascade, crop_mm: float, mean_answer: Tensor
) -> tuple[dict[str, dict[str, Any]], Grid]:
    """Numbers by the report's sections (``reconstruction``, ``expression`` where the truth is known, ``landmarks``)
    and overlays of one test set. ``mean_answer`` (68, 2): the training set's mean landmarks."""
    frames = _frames(clips, cascade.camera.size)
    images, detected = frames["image"], frames["landmarks"]
    fits = {
        "RecNet": _fit(cascade.recnet, images, cascade),
        "RecAugNet": _fit(cascade.recaugnet, images, cascade),
    }
    landmarks: dict[str, Any] = {
        "frames": len(images),
        "MeanLandmarks": {"nme": _nme(mean_answer[None].expand_as(detected), detected)},
    }
    for method, parameters in fits.items():
        landmarks[method] = {"nme": _nme(landmarks_2d(cascade.model, parameters, cascade.camera), detected)}
    numbers: dict[str, dict[str, Any]] = {"landmarks": landmarks}

    truth = truth_of(frames)
    if truth is not None:
        mean_face = truth.map(torch.zeros_like)
        answers = {"MeanFace": mean_face, **fits}
        numbers["reconstruction"] = _geometry(cascade.model, answers, truth, crop_mm)
        numbers["expression"] = _expression(answers, truth)
    shown = _spread(len(images), OVERLAYS)
    return numbers, overlay_grid(
        f"Overlays: {name.replace('_', ' ')}",
        "The fitted mesh over people who were never trained on.",
        images[shown],
        {method: parameters[shown] for method, parameters in fits.items()}
        | {"truth": truth[shown] if truth is not None else None},
        cascade.model,
        cascade.camera,
        [frames["sample_id"][index] for index in shown.tolist()],
        detected[shown],
    )


def mean_landmarks(clips: ClipSource, size: int) -> Tensor:
    """(68, 2): where the training set's landmarks lie on average, in pixels of ``size``."""
    refs = all_frames(clips)
    points = load_frames(clips, [refs[i] for i in _spread(len(refs), 500).tolist()], size)["landmarks"]
    return points.nanmean(0)


def truth_of(frames: dict[str, Any]) -> FaceParameters | None:
    """The truth of a batch of frames where their shards know it."""
    names = ("identity", "expression", "albedo", "rotation", "translation", "light")
    if "truth_identity" not in frames:
        return None
    return FaceParameters(**{name: frames[f"truth_{name}"] for name in names})


def _frames(clips: ClipSource, size: int) -> dict[str, Any]:
    refs = all_frames(clips)
    return load_frames(clips, [refs[index] for index in _spread(len(refs), MOST_FRAMES).tolist()], size)


def _fit(network: torch.nn.Module, images: Tensor, cascade: Cascade) -> FaceParameters:
    device = cascade.model.mean.device
    return FaceParameters.concatenate(network(batch.to(device)) for batch in images.split(BATCH)).to("cpu")


def _nme(predicted: Tensor, detected: Tensor) -> float:
    return float(nme(predicted, detected).nanmean())


def _geometry(
    model: FaceModel, answers: dict[str, FaceParameters], truth: FaceParameters, crop_mm: float
) -> dict[str, Any]:
    judged = _spread(len(truth), MOST_MESHES)
    true_vertices = model.shape(truth.identity[judged], truth.expression[judged])
    numbers: dict[str, Any] = {"meshes": len(judged)}
    for method, answer in answers.items():
        vertices = model.shape(answer.identity[judged], answer.expression[judged])
        numbers[method] = geometry_errors(model, vertices, true_vertices, crop_mm).summary()
        numbers[method]["expression_rmse_mm"] = expression_rmse_mm(model, answer.expression, truth.expression)
    return numbers


def _expression(answers: dict[str, FaceParameters], truth: FaceParameters) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    for method, answer in answers.items():
        errors = expression_errors(answer.expression, truth.expression)
        numbers[method] = errors.summary() | {"shapes": errors.by_name()}
    return numbers


def _spread(available: int, wanted: int) -> Tensor:
    """At most ``wanted`` indices, evenly spread over ``available``."""
    return torch.linspace(0, available - 1, min(available, wanted)).round().long()
