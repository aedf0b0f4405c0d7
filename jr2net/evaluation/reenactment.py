"""DCNet against the truth (same identity) and against the driving landmarks (cross identity)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from jr2net.data.clips import ClipSource, FrameRef
from jr2net.data.evaluation_frames import cross_identity_pairs, load_frames, same_identity_pairs
from jr2net.evaluation.figures import Grid, picture_grid
from jr2net.evaluation.metrics.images import compare_images
from jr2net.evaluation.metrics.landmarks import efl
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.render.renderer import landmarks_2d
from jr2net.render.scene import Scene, recombine, set_scene

BATCH = 16
SHOWN = 8

Pairs = Sequence[tuple[FrameRef, FrameRef]]


@dataclass(frozen=True)
class Cascade:
    """The networks under test, in evaluation mode, beside the face model and the camera they were trained with."""

    recnet: nn.Module
    dcnet: nn.Module
    recaugnet: nn.Module
    model: FaceModel
    camera: Camera


@dataclass(frozen=True)
class Played:
    """A batch of reenactments: pictures (B, 3, S, S) and the scene they were made from."""

    driving_image: Tensor
    scene: Scene
    generated: Tensor

    def answers(self) -> dict[str, Tensor]:
        """The pictures of every method; the first two take no network."""
        return {
            "CopySource": self.scene.source_image,
            "WarpOnly": self.scene.warp_only(),
            "DCNet": self.generated,
        }


def measure_reenactment(
    clips: ClipSource, cascade: Cascade, pairs: int, seed: int
) -> tuple[dict[str, dict[str, Any]], list[Grid]]:
    """``same_identity`` and ``cross_identity`` numbers by method, and a grid of each."""
    numbers: dict[str, dict[str, Any]] = {}
    grids = []

    chosen = same_identity_pairs(clips, pairs, seed)
    columns: dict[str, dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))
    for played in _play(clips, chosen, cascade):
        for method, picture in played.answers().items():
            for metric, values in compare_images(picture, played.driving_image, played.scene.driving.mask).items():
                columns[method][metric].append(values)
    numbers["same_identity"] = {"pairs": len(chosen), **_means(columns)}
    grids.append(_grid("Same identity", clips, chosen, cascade, "The driving frame is the truth."))

    chosen = cross_identity_pairs(clips, pairs, seed)
    columns = defaultdict(lambda: defaultdict(list))
    for played in _play(clips, chosen, cascade):
        driving = _located(cascade, played.driving_image)
        for method, picture in played.answers().items():
            columns[method]["efl_px"].append(efl(_located(cascade, picture), driving))
    numbers["cross_identity"] = {"pairs": len(chosen), **_means(columns)}
    grids.append(
        _grid("Cross identity", clips, chosen, cascade, "One person drives another: pose, light and expression.")
    )
    return numbers, grids


def _play(clips: ClipSource, pairs: Pairs, cascade: Cascade) -> Iterator[Played]:
    device = cascade.model.mean.device
    for first in range(0, len(pairs), BATCH):
        sources, drivers = zip(*pairs[first : first + BATCH])
        source_image = load_frames(clips, sources, cascade.camera.size)["image"].to(device)
        driving_image = load_frames(clips, drivers, cascade.camera.size)["image"].to(device)
        source, driving = cascade.recnet(source_image), cascade.recnet(driving_image)
        scene = set_scene(cascade.model, cascade.camera, source_image, source, recombine(source, driving))
        yield Played(driving_image, scene, cascade.dcnet(scene))


def _located(cascade: Cascade, images: Tensor) -> Tensor:
    """The 68 landmarks (B, 68, 2) that RecAugNet sees in pictures: a judge that DCNet was not conditioned on."""
    return landmarks_2d(cascade.model, cascade.recaugnet(images), cascade.camera)


def _means(columns: dict[str, dict[str, list[Tensor]]]) -> dict[str, dict[str, float]]:
    return {
        method: {metric: float(torch.cat(values).nanmean()) for metric, values in metrics.items()}
        for method, metrics in columns.items()
    }


def _grid(title: str, clips: ClipSource, pairs: Pairs, cascade: Cascade, text: str) -> Grid:
    step = max(1, len(pairs) // SHOWN)
    played = next(_play(clips, pairs[::step][:SHOWN], cascade))
    columns = {
        "source": played.scene.source_image,
        "driving": played.driving_image,
        "rendered": played.scene.driving.image,
        "co-visible": played.scene.view.covisible.expand(-1, 3, -1, -1),
        "WarpOnly": played.scene.warp_only(),
        "DCNet": played.generated,
    }
    captions = [clips.rows[source.row].identity for source, _ in pairs[::step][:SHOWN]]
    return picture_grid("reenactment", title, text, columns, captions)
