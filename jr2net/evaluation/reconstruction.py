"""Evaluation of RecNet and RecAugNet against ground truth (studio) and detected landmarks (all test sets)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
from jr2net.evaluation.figures import Grid
from jr2net.evaluation.metrics.expression import expression_errors
from jr2net.evaluation.metrics.geometry import GeometryErrors, expression_errors_mm, geometry_errors
from jr2net.evaluation.metrics.landmarks import nme
from jr2net.evaluation.reconstruction_grids import reconstruction_grids
from jr2net.evaluation.samples import DRAWS, Samples, intervals
from jr2net.evaluation.statistics import estimate_figures
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

    identities     who each frame shows; mesh_identities: who those show whose meshes are aligned
    detected       landmarks (B, 68, 2), NaN where undetected
    landmarks      method -> landmarks (B, 68, 2)
    truth          true expression (B, 51), None without ground truth; then the following are empty
    expression     method -> expression (B, 51)
    expression_mm  method -> error of the expression (B,), mm
    geometry       method -> errors of those meshes that are aligned
    grids          images of those frames that are shown; empty: none is
    """

    identities: tuple[str, ...]
    mesh_identities: tuple[str, ...]
    detected: Tensor
    landmarks: Mapping[str, Tensor]
    truth: Tensor | None
    expression: Mapping[str, Tensor]
    expression_mm: Mapping[str, Tensor]
    geometry: Mapping[str, GeometryErrors]
    grids: tuple[Grid, ...]


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
    people = frames["identity"]
    return Measured(
        tuple(people),
        tuple(people[index] for index in meshes),
        frames["landmarks"],
        {method: landmarks_2d(cascade.model, fit, cascade.camera).cpu() for method, fit in fits.items()},
        truth.expression.cpu() if truth is not None else None,
        expression,
        expression_mm,
        geometry,
        reconstruction_grids(bench, name, frames, fits, truth, shown) if shown else (),
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


@dataclass(frozen=True)
class Summary:
    """Of one test set: metrics by section of the report, the samples that they are means of, and grids of images."""

    metrics: dict[str, dict[str, Any]]
    samples: list[Samples]
    grids: list[Grid]


def summarize_frames(parts: Sequence[Measured], name: str, baseline: Tensor, seed: int) -> Summary:
    """Metrics of the test set ``name``: ``landmarks``, and with ground truth ``reconstruction`` and ``expression``.

    A metric's interval over people is in ``intervals`` of its method. baseline (68, 2): the mean landmarks of the
    training set; seed: of the bootstrap.
    """
    detected, people = torch.cat([part.detected for part in parts]), _joined(part.identities for part in parts)
    landmarks = {method: torch.cat([part.landmarks[method] for part in parts]) for method in parts[0].landmarks}
    landmarks = {"MeanLandmarks": baseline[None].expand_as(detected), **landmarks}
    errors = {method: nme(found, detected) for method, found in landmarks.items()}
    samples = [Samples("landmarks", name, "nme", people, _arrays(errors))]
    metrics: dict[str, dict[str, Any]] = {
        "landmarks": {"frames": len(detected)} | {method: {"nme": _mean(each)} for method, each in errors.items()}
    }
    if all(part.truth is not None for part in parts):
        for section, found, of in (_reconstruction(parts, name, people, seed), _expression(parts, name, people, seed)):
            metrics[section] = found
            samples += of
    return Summary(metrics, samples, [Grid.join(same) for same in zip(*(part.grids for part in parts if part.grids))])


Section = tuple[str, dict[str, Any], list[Samples]]


def _reconstruction(parts: Sequence[Measured], name: str, people: tuple[str, ...], seed: int) -> Section:
    """Errors of geometry, of the meshes that were aligned, and of expressions in millimetres, of all frames."""
    aligned = [part for part in parts if part.geometry]
    meshes = _joined(part.mesh_identities for part in aligned)
    found: dict[str, Any] = {"meshes": len(meshes)}
    rmse, millimetres = {}, {}
    for method in parts[0].expression:
        geometry = GeometryErrors.concatenate(part.geometry[method] for part in aligned)
        millimetres[method] = torch.cat([part.expression_mm[method] for part in parts])
        rmse[method] = torch.from_numpy(geometry.rmse)
        summary = _summary(geometry, meshes, seed)
        found[method] = summary | {"expression_rmse_mm": float(millimetres[method].mean())}
    return (
        "reconstruction",
        found,
        [
            Samples("reconstruction", name, "rmse_mm", meshes, _arrays(rmse)),
            Samples("reconstruction", name, "expression_rmse_mm", people, _arrays(millimetres)),
        ],
    )


def _summary(geometry: GeometryErrors, meshes: Sequence[str], seed: int) -> dict[str, Any]:
    estimates = estimate_figures(lambda drawn: geometry.take(drawn).summary(), meshes, DRAWS, seed)
    return geometry.summary() | {"intervals": intervals(estimates)}


def _expression(parts: Sequence[Measured], name: str, people: tuple[str, ...], seed: int) -> Section:
    """Errors of the 51 coefficients."""
    truth = torch.cat([part.truth for part in parts if part.truth is not None])
    found, errors = {}, {}
    for method in parts[0].expression:
        predicted = torch.cat([part.expression[method] for part in parts])
        errors[method] = (predicted - truth).abs().mean(1)
        measured = expression_errors(predicted, truth)
        estimates = estimate_figures(partial(_drawn_expression, predicted, truth), people, DRAWS, seed)
        found[method] = measured.summary() | {"shapes": measured.by_name(), "intervals": intervals(estimates)}
    return "expression", found, [Samples("expression", name, "mae", people, _arrays(errors))]


def _drawn_expression(predicted: Tensor, truth: Tensor, drawn: np.ndarray) -> dict[str, float]:
    return expression_errors(predicted[drawn], truth[drawn]).summary()


def ground_truth(frames: dict[str, Any]) -> FaceParameters | None:
    """Ground-truth parameters of a batch of frames, None if their shards have none."""
    names = ("identity", "expression", "albedo", "rotation", "translation", "light")
    if "truth_identity" not in frames:
        return None
    return FaceParameters(**{name: frames[f"truth_{name}"] for name in names})


def _within(numbers: np.ndarray, first: int) -> list[int]:
    """Those numbers that fall into the part from ``first`` on, less ``first``."""
    return (numbers[(numbers >= first) & (numbers < first + PART)] - first).tolist()


def _fit(reconstructor: Reconstructor, images: Tensor) -> FaceParameters:
    device = reconstructor.model.mean.device
    return FaceParameters.concatenate(reconstructor.predict(to_device(batch, device)) for batch in images.split(BATCH))


def _joined(names: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(name for part in names for name in part)


def _arrays(values: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {method: each.double().numpy() for method, each in values.items()}


def _mean(values: Tensor) -> float:
    return float(values.nanmean())


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
