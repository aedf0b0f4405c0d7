"""Evaluation of the reenactor against the driving frame (same identity) and its landmarks (cross identity)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from jr2net.data.clips import ClipSource, FrameRef
from jr2net.data.evaluation_frames import cross_identity_pairs, load_frames, same_identity_pairs
from jr2net.device import to_device
from jr2net.evaluation.figures import Grid, image_grid
from jr2net.evaluation.metrics.images import compare_images
from jr2net.evaluation.metrics.landmarks import efl
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor
from jr2net.render.renderer import landmarks_2d
from jr2net.render.scene import Scene, recombine

BATCH = 16
GRID_ROWS = 8

Pairs = Sequence[tuple[FrameRef, FrameRef]]


@dataclass(frozen=True)
class Cascade:
    """The networks to evaluate. The reenactor's faces come from RecNet, as in training."""

    reenactor: Reenactor
    recnet: Reconstructor
    recaugnet: Reconstructor

    @staticmethod
    def load(
        folders: Mapping[str, str], reenactor: str, model: FaceModel, device: torch.device | str = "cpu"
    ) -> Cascade:
        """From the folders of ``recnet``, ``recaugnet`` and the stage ``reenactor``, with the numbers of training."""
        options: dict[str, Any] = {"face_model": model.to(device), "device": device, "optimize": False}
        recnet, recaugnet = (Reconstructor.load(folders[stage], **options) for stage in ("recnet", "recaugnet"))
        return Cascade(Reenactor.load(folders[reenactor], reconstructor=recnet, **options), recnet, recaugnet)

    @property
    def model(self) -> FaceModel:
        return self.reenactor.model

    @property
    def camera(self) -> Camera:
        return self.reenactor.camera

    @property
    def title(self) -> str:
        """What the reenactor is called, e.g. DCNet."""
        return str(getattr(self.reenactor.network, "title", self.reenactor.info.kind))


@dataclass(frozen=True)
class ReenactedBatch:
    """A batch of reenactments: the reenactor's title, driving and generated images (B, 3, S, S), and the scene."""

    title: str
    driving_image: Tensor
    scene: Scene
    generated: Tensor

    def images_by_method(self) -> dict[str, Tensor]:
        """Images (B, 3, S, S) of the two baselines and of the reenactor."""
        return {
            "CopySource": self.scene.source_image,
            "WarpOnly": self.scene.warp_only(),
            self.title: self.generated,
        }


def measure_reenactment(
    clips: ClipSource, cascade: Cascade, pairs: int, seed: int
) -> tuple[dict[str, dict[str, Any]], list[Grid]]:
    """Metrics ``same_identity`` and ``cross_identity`` by method, and a grid of each."""
    metrics: dict[str, dict[str, Any]] = {}
    grids = []

    chosen = same_identity_pairs(clips, pairs, seed)
    columns: dict[str, dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))
    for batch in _reenact(clips, chosen, cascade):
        for method, image in batch.images_by_method().items():
            for metric, values in compare_images(image, batch.driving_image, batch.scene.driving.mask).items():
                columns[method][metric].append(values)
    metrics["same_identity"] = {"pairs": len(chosen), **_means(columns)}
    grids.append(_grid("Same identity", clips, chosen, cascade, "The driving frame is the target."))

    chosen = cross_identity_pairs(clips, pairs, seed)
    columns = defaultdict(lambda: defaultdict(list))
    for batch in _reenact(clips, chosen, cascade):
        driving = _landmarks(cascade, batch.driving_image)
        for method, image in batch.images_by_method().items():
            columns[method]["efl_px"].append(efl(_landmarks(cascade, image), driving))
    metrics["cross_identity"] = {"pairs": len(chosen), **_means(columns)}
    grids.append(
        _grid("Cross identity", clips, chosen, cascade, "Pose, light and expression come from another person.")
    )
    return metrics, grids


def _reenact(clips: ClipSource, pairs: Pairs, cascade: Cascade) -> Iterator[ReenactedBatch]:
    device = cascade.model.mean.device
    for first in range(0, len(pairs), BATCH):
        sources, drivers = zip(*pairs[first : first + BATCH])
        source_image, driving_image = (
            to_device(load_frames(clips, refs, cascade.camera.size)["image"], device) for refs in (sources, drivers)
        )
        source, driving = cascade.recnet.predict(source_image), cascade.recnet.predict(driving_image)
        generated, scene = cascade.reenactor.generate(source_image, source, recombine(source, driving))
        yield ReenactedBatch(cascade.title, driving_image, scene, generated.picture)


def _landmarks(cascade: Cascade, images: Tensor) -> Tensor:
    """Landmarks (B, 68, 2) of images, estimated by RecAugNet, whose output the reenactor is not conditioned on."""
    return landmarks_2d(cascade.model, cascade.recaugnet.predict(images), cascade.camera)


def _means(values_by_method: dict[str, dict[str, list[Tensor]]]) -> dict[str, dict[str, float]]:
    return {
        method: {metric: float(torch.cat(values).nanmean()) for metric, values in metrics.items()}
        for method, metrics in values_by_method.items()
    }


def _grid(title: str, clips: ClipSource, pairs: Pairs, cascade: Cascade, text: str) -> Grid:
    step = max(1, len(pairs) // GRID_ROWS)
    batch = next(_reenact(clips, pairs[::step][:GRID_ROWS], cascade))
    columns = {
        "source": batch.scene.source_image,
        "driving": batch.driving_image,
        "rendered": batch.scene.driving.image,
        "co-visible": batch.scene.view.covisible.expand(-1, 3, -1, -1),
        "WarpOnly": batch.scene.warp_only(),
        batch.title: batch.generated,
    }
    captions = [clips.rows[source.row].identity for source, _ in pairs[::step][:GRID_ROWS]]
    return image_grid("reenactment", title, text, columns, captions)
