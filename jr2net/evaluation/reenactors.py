"""Reenactors side by side: any number of them on the same (source, driving) pairs, beside the two baselines."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from jr2net.data.clips import ClipSource
from jr2net.data.evaluation_frames import load_frames
from jr2net.device import to_device
from jr2net.errors import UserError
from jr2net.evaluation.flow import flow_defects
from jr2net.evaluation.judges import Judges
from jr2net.evaluation.metrics.embedding import Moments, frechet_distance
from jr2net.evaluation.metrics.images import kept_violations, masked_error
from jr2net.evaluation.metrics.landmarks import efl
from jr2net.evaluation.reenactment import BATCH, REAL, Pairs, judged_landmarks
from jr2net.evaluation.regions import region_masks
from jr2net.face.camera import Camera
from jr2net.face.parameters import FaceParameters
from jr2net.inference.reconstruction import Reconstructor
from jr2net.render.renderer import landmarks_2d
from jr2net.render.scene import Generated, Scene, recombine

TURNED = 25.0
"""Pairs whose yaw differs by more than this many degrees are also measured apart."""

Number = Tensor | float

BASELINES = ("CopySource", "WarpOnly")


class ComparisonError(UserError, ValueError):
    """Reenactors that cannot be compared; the message says why."""


class SupportsGenerate(Protocol):
    """What is needed of a reenactor (``inference.reenactment.Reenactor``)."""

    @property
    def camera(self) -> Camera: ...

    @property
    def network(self) -> nn.Module: ...

    def generate(self, images: Tensor, source: FaceParameters, driving: FaceParameters) -> tuple[Generated, Scene]: ...


@torch.inference_mode()
def reenactment_table(
    reenactors: Mapping[str, SupportsGenerate],
    clips: ClipSource,
    pairs: Pairs,
    reader: Reconstructor,
    faces: Reconstructor | None = None,
    judges: Judges | None = None,
) -> dict[str, Any]:
    """Measures reenactors (name -> reenactor) on pairs of frames of one clip each, whose driving frame is the target.

    reader  reads landmarks and expressions of generated images (RecAugNet)
    faces   fits the faces that all reenactors are given; None: the reader
    judges  networks that share nothing with the cascade; None: there are none

    Returns method -> metric, for the baselines CopySource and WarpOnly and for every reenactor, beside remarks (numbers
    at the level of the methods). Metrics:

    l1, l1_face, …  mean absolute difference over the pixels of a region (``region_masks``) of all images; ``l1_turned``
                    is that of whole images of pairs whose yaw differs by more than TURNED degrees
    efl_px          EFL: the landmarks that the reader finds in the generated and in the driving image
    efl, detected   the same by the judges' detector, over the eyes' distance, where it finds a face, and how often
    fid             Fréchet Inception distance to the driving images
    expression_mae  mean absolute difference of the expression that the reader finds in the generated image to the
                    driving frame's ground truth, if there is one. Most of it is the reader's own error: the remark
                    ``expression_mae_of_driving`` is that of the driving image itself
    expression_gap  the same to what the reader finds in the driving image
    seconds         per image, rendering included, in batches; the first batch is not counted
    kept            fraction of pixels that the reenactor keeps
    folded_voxels, cycle_px  of networks with a flow in 3D, see ``evaluation.flow``
    kept_changed    number of pixels that it claims to keep, and that are not the source's bit by bit
    """
    if not reenactors or not pairs:
        raise ComparisonError("a comparison needs at least one reenactor and one pair")
    size = reader.camera.size
    for name, reenactor in reenactors.items():
        if reenactor.camera != reader.camera:
            raise ComparisonError(
                f"{name}: was trained for images of {reenactor.camera.size} pixels and a focal length of "
                f"{reenactor.camera.focal:g}, the reconstruction network for {size} and {reader.camera.focal:g}; "
                "compare networks of one image size and camera"
            )
    totals, judges = _Totals(), judges or Judges()
    features: dict[str, Moments] = {}
    for first in range(0, len(pairs), BATCH):
        batch = _Batch(clips, pairs[first : first + BATCH], reader, faces or reader, judges)
        _add_features(features, REAL, batch.target, judges)
        if first == 0:
            for reenactor in reenactors.values():  # warm-up
                reenactor.generate(batch.images, batch.source, batch.driving)
        scene: Scene | None = None
        for name, reenactor in reenactors.items():
            start = _now(batch.images)
            generated, scene = reenactor.generate(batch.images, batch.source, batch.driving)
            totals.add(name, "seconds", _now(batch.images) - start, len(batch.images))
            totals.add(name, "kept", generated.kept.sum(), generated.kept.numel())
            totals.count(name, "kept_changed", kept_violations(generated.picture, batch.images, generated.kept))
            _measure(totals, name, generated.picture, batch, reader, scene, judges)
            _add_features(features, name, generated.picture, judges)
            for metric, values in flow_defects(reenactor.network, reader.model, reader.camera, scene).items():
                totals.add(name, metric, values.nansum(), values.isfinite().sum())
        assert scene is not None
        for name, images in zip(BASELINES, (batch.images, scene.warp_only()), strict=True):
            _measure(totals, name, images, batch, reader, scene, judges)
            _add_features(features, name, images, judges)
        if batch.true_expression is not None:
            totals.add(
                "remarks", "expression_mae_of_driving", *_difference(batch.read.expression, batch.true_expression)
            )
        for region, mask in batch.masks(scene).items():
            totals.add("remarks", f"{region}_pixels", mask.sum(), mask.numel())
    remarks = {"pairs": len(pairs), **totals.means("remarks")}
    fids = {name: {"fid": frechet_distance(each, features[REAL])} for name, each in features.items() if name != REAL}
    return {**remarks, **{name: totals.means(name) | fids.get(name, {}) for name in (*BASELINES, *reenactors)}}


def average_seeds(table: Mapping[str, Any], groups: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Joins the methods of a table that are one reenactor trained with several seeds.

    groups: name -> names in the table. A joined method has the mean of every metric over the seeds, their number as
    ``seeds`` and, from two on, their standard deviations (n - 1) as ``std``: metric -> number.
    """
    members = {member: name for name, names in groups.items() for member in names}
    joined: dict[str, Any] = {key: value for key, value in table.items() if key not in members}
    for name, names in groups.items():
        values = {
            metric: torch.tensor([table[member][metric] for member in names], dtype=torch.float64)
            for metric in table[names[0]]
        }
        joined[name] = {metric: float(seeds.mean()) for metric, seeds in values.items()} | {"seeds": len(names)}
        if len(names) > 1:
            joined[name]["std"] = {metric: float(seeds.std()) for metric, seeds in values.items()}
    return joined


class _Batch:
    """A batch of pairs: source images, target images, their fits, mattes and what the reader finds in the target."""

    def __init__(
        self, clips: ClipSource, pairs: Pairs, reader: Reconstructor, faces: Reconstructor, judges: Judges
    ) -> None:
        device, size = reader.model.mean.device, reader.camera.size
        sources, drivers = (load_frames(clips, refs, size, mattes=True) for refs in zip(*pairs))
        sources, drivers = (
            {name: to_device(value, device) if isinstance(value, Tensor) else value for name, value in frames.items()}
            for frames in (sources, drivers)
        )
        self.images, self.target = sources["image"], drivers["image"]
        self.mattes = [frames.get("matte") for frames in (sources, drivers)]
        self.source, self.fit = faces.predict(self.images), faces.predict(self.target)
        self.driving = recombine(self.source, self.fit)
        self.read = reader.predict(self.target)
        self.landmarks = landmarks_2d(reader.model, self.read, reader.camera)
        self.detected = judges.landmarks(self.target)
        self.true_expression = drivers.get("truth_expression")
        rotations = [frames.get("truth_rotation", fit.rotation) for frames, fit in
                     ((sources, self.source), (drivers, self.fit))]  # fmt: skip
        self.turned = (rotations[0] - rotations[1])[:, 1].abs().rad2deg() > TURNED

    def masks(self, scene: Scene) -> dict[str, Tensor]:
        masks = region_masks(scene.driving.mask, *self.mattes)
        return masks | {"turned": masks["whole"] * self.turned[:, None, None, None]}


class _Totals:
    """Sums and weights of every metric of every method; those of a GPU stay there until the means are asked for."""

    def __init__(self) -> None:
        self.sums: dict[str, dict[str, list[Number]]] = defaultdict(lambda: defaultdict(lambda: [0.0, 0.0]))

    def add(self, method: str, metric: str, total: Number, weight: Number) -> None:
        sums = self.sums[method][metric]
        sums[0] = sums[0] + _double(total)
        sums[1] = sums[1] + _double(weight)

    def count(self, method: str, metric: str, number: Number) -> None:
        """Adds to a metric that is a number and no mean."""
        sums = self.sums[method][metric]
        sums[0], sums[1] = sums[0] + _double(number), 1.0

    def means(self, method: str) -> dict[str, float]:
        """Mean by metric; NaN where nothing was measured."""
        sums = {metric: (float(total), float(weight)) for metric, (total, weight) in self.sums[method].items()}
        return {metric: total / weight if weight else float("nan") for metric, (total, weight) in sums.items()}


def _double(number: Number) -> Number:
    return number.double() if isinstance(number, Tensor) else float(number)


def _add_features(features: dict[str, Moments], method: str, images: Tensor, judges: Judges) -> None:
    moments = judges.features(images)
    if moments is not None:
        features[method] = features[method] + moments if method in features else moments


def _measure(
    totals: _Totals,
    method: str,
    images: Tensor,
    batch: _Batch,
    reader: Reconstructor,
    scene: Scene,
    judges: Judges,
) -> None:
    for region, mask in batch.masks(scene).items():
        error, area = masked_error(images, batch.target, mask)
        totals.add(method, "l1" if region == "whole" else f"l1_{region}", error.sum(), area.sum())
    read = reader.predict(images)
    distance = efl(landmarks_2d(reader.model, read, reader.camera), batch.landmarks)
    totals.add(method, "efl_px", distance.nansum(), distance.isfinite().sum())
    for metric, values in judged_landmarks(judges, images, batch.detected).items():
        totals.add(method, metric, values.nansum(), values.isfinite().sum())
    totals.add(method, "expression_gap", *_difference(read.expression, batch.read.expression))
    if batch.true_expression is not None:
        totals.add(method, "expression_mae", *_difference(read.expression, batch.true_expression))


def _difference(expression: Tensor, target: Tensor) -> tuple[Tensor, int]:
    """Sum of the absolute differences of coefficients (B, 51), and their number."""
    return (expression - target).abs().sum(), expression.numel()


def _now(images: Tensor) -> float:
    """The time at which everything that was asked of the images' device is done."""
    if images.is_cuda:
        torch.cuda.synchronize(images.device)
    return time.perf_counter()
