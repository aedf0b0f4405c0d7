"""Evaluation of the reenactor against the driving frame (same identity) and its landmarks (cross identity)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from jr2net.data.clips import ClipSource, FrameRef
from jr2net.data.evaluation_frames import cross_identity_pairs, load_frames, same_identity_pairs
from jr2net.device import to_device
from jr2net.evaluation.bench import Bench, Cascade, Measurement
from jr2net.evaluation.figures import Grid, image_grid
from jr2net.evaluation.metrics.images import compare_images
from jr2net.evaluation.metrics.landmarks import efl
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor
from jr2net.render.renderer import landmarks_2d
from jr2net.render.scene import Scene, recombine

BATCH = 16
PART = 64
"""Number of pairs that a worker measures at a time: a multiple of BATCH, so that batches do not depend on it."""

GRID_ROWS = 8

Pairs = Sequence[tuple[FrameRef, FrameRef]]

Values = dict[str, dict[str, Tensor]]
"""Method -> metric -> (B,), one value per pair, on the CPU."""


@dataclass(frozen=True)
class ReenactedBatch:
    """A batch of reenactments: the reenactor's title, driving and generated images (B, 3, S, S), and the scene.

    second: what the reenactor of the second round generated, if there is one.
    """

    title: str
    driving_image: Tensor
    scene: Scene
    generated: Tensor
    second: Tensor | None = None

    def images_by_method(self) -> dict[str, Tensor]:
        """Images (B, 3, S, S) of the two baselines and of the reenactors."""
        images = {
            "CopySource": self.scene.source_image,
            "WarpOnly": self.scene.warp_only(),
            self.title: self.generated,
        }
        return images if self.second is None else images | {f"{self.title} 2": self.second}


def pair_parts(clips: ClipSource, name: str, pairs: int, seed: int) -> dict[str, list[Measurement]]:
    """``same_identity`` and ``cross_identity``, of so many pairs each, and ``grids``, one of each.

    name: of the set. Raises ShardError where there are no such pairs.
    """
    same, cross = same_identity_pairs(clips, pairs, seed), cross_identity_pairs(clips, pairs, seed)
    firsts = range(0, pairs, PART)
    return {
        "same_identity": [partial(measure_same, name=name, pairs=same[first : first + PART]) for first in firsts],
        "cross_identity": [partial(measure_cross, name=name, pairs=cross[first : first + PART]) for first in firsts],
        "grids": [
            partial(
                pair_grid, name=name, pairs=_shown(same), title="Same identity", text="The driving frame is the target."
            ),
            partial(
                pair_grid,
                name=name,
                pairs=_shown(cross),
                title="Cross identity",
                text="Pose, light and expression come from another person.",
            ),
        ],
    }


def measure_same(bench: Bench, name: str, pairs: Pairs) -> Values:
    """Every metric of pairs whose driving frame is the target."""
    values: dict[str, dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))
    for batch in _reenact(bench.sets[name], pairs, bench.cascade):
        for method, image in batch.images_by_method().items():
            for metric, each in compare_images(image, batch.driving_image, batch.scene.driving.mask).items():
                values[method][metric].append(each)
    return _joined(values)


def measure_cross(bench: Bench, name: str, pairs: Pairs) -> Values:
    """EFL of pairs of two people."""
    values: dict[str, dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))
    for batch in _reenact(bench.sets[name], pairs, bench.cascade):
        driving = _landmarks(bench.cascade, batch.driving_image)
        for method, image in batch.images_by_method().items():
            values[method]["efl_px"].append(efl(_landmarks(bench.cascade, image), driving))
    return _joined(values)


def mean_over_pairs(parts: Sequence[Values]) -> dict[str, Any]:
    """``pairs``, the number of all, and method -> metric, its mean over those where it is defined."""
    means = {
        method: {metric: float(torch.cat([part[method][metric] for part in parts]).nanmean()) for metric in metrics}
        for method, metrics in parts[0].items()
    }
    return {"pairs": sum(len(next(iter(next(iter(part.values())).values()))) for part in parts), **means}


def _reenact(clips: ClipSource, pairs: Pairs, cascade: Cascade) -> Iterator[ReenactedBatch]:
    device = cascade.model.mean.device
    for first in range(0, len(pairs), BATCH):
        sources, drivers = zip(*pairs[first : first + BATCH])
        source_image, driving_image = (
            to_device(load_frames(clips, refs, cascade.camera.size)["image"], device) for refs in (sources, drivers)
        )
        generated, scene = _generate(cascade.reenactor, cascade.recnet, source_image, driving_image)
        second = None
        if cascade.second is not None:
            second, _ = _generate(cascade.second, cascade.recaugnet, source_image, driving_image)
        yield ReenactedBatch(cascade.title, driving_image, scene, generated, second)


def _generate(
    reenactor: Reenactor, reconstructor: Reconstructor, source_image: Tensor, driving_image: Tensor
) -> tuple[Tensor, Scene]:
    """The generated images (B, 3, S, S) and the scene that the reenactor was given."""
    source, driving = reconstructor.predict(source_image), reconstructor.predict(driving_image)
    generated, scene = reenactor.generate(source_image, source, recombine(source, driving))
    return generated.picture, scene


def _landmarks(cascade: Cascade, images: Tensor) -> Tensor:
    """Landmarks (B, 68, 2) of images, estimated by RecAugNet, whose output the reenactor is not conditioned on."""
    return landmarks_2d(cascade.model, cascade.recaugnet.predict(images), cascade.camera)


def _joined(values: Mapping[str, Mapping[str, Sequence[Tensor]]]) -> Values:
    """The values of all batches, on the CPU; those of a GPU stay there until the last batch is done."""
    return {
        method: {metric: torch.cat(list(each)).cpu() for metric, each in metrics.items()}
        for method, metrics in values.items()
    }


def _shown(pairs: Pairs) -> Pairs:
    return pairs[:: max(1, len(pairs) // GRID_ROWS)][:GRID_ROWS]


def pair_grid(bench: Bench, name: str, pairs: Pairs, title: str, text: str) -> Grid:
    """A grid with one row per pair, at most BATCH."""
    clips = bench.sets[name]
    batch = next(_reenact(clips, pairs, bench.cascade))
    columns = {
        "source": batch.scene.source_image,
        "driving": batch.driving_image,
        "rendered": batch.scene.driving.image,
        "co-visible": batch.scene.view.covisible.expand(-1, 3, -1, -1),
        "WarpOnly": batch.scene.warp_only(),
        batch.title: batch.generated,
    }
    captions = [clips.rows[source.row].identity for source, _ in pairs]
    return image_grid("reenactment", title, text, columns, captions)
