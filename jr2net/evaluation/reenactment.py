"""Evaluation of the reenactor against the driving frame (same identity) and its landmarks (cross identity).

Who judges landmarks, features and identity is ``evaluation.judges``: networks that share nothing with the cascade. Only
``efl_px`` is what RecAugNet reads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from jr2net.data.clips import ClipSource, FrameRef
from jr2net.data.evaluation_frames import cross_identity_pairs, load_frames, same_identity_pairs
from jr2net.device import to_device
from jr2net.evaluation.bench import Bench, Cascade, Measurement
from jr2net.evaluation.figures import Grid, image_grid
from jr2net.evaluation.judges import Judges
from jr2net.evaluation.metrics.embedding import Moments, csim, frechet_distance
from jr2net.evaluation.metrics.images import compare_images
from jr2net.evaluation.metrics.landmarks import efl, relative_efl
from jr2net.evaluation.reconstruction import ground_truth
from jr2net.evaluation.samples import Samples
from jr2net.face.parameters import FaceParameters
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor
from jr2net.render.renderer import landmarks_2d
from jr2net.render.scene import Scene, recombine

BATCH = 16
PART = 64
"""Number of pairs that a worker measures at a time: a multiple of BATCH, so that batches do not depend on it."""

GRID_ROWS = 8

Pairs = Sequence[tuple[FrameRef, FrameRef]]

REAL = "real images"
"""Name, among the methods' features, of those of the real images that FID compares them with."""


@dataclass(frozen=True)
class PairValues:
    """What is measured of B pairs, on the CPU.

    people    who the source image of each pair shows
    values    method -> metric -> (B,), one value per pair
    features  method, or REAL -> moments of the features of its images; empty without Inception
    missing   figure -> what it lacks
    """

    people: tuple[str, ...]
    values: Mapping[str, Mapping[str, Tensor]]
    features: Mapping[str, Moments] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def join(parts: Sequence[PairValues]) -> PairValues:
        """Of the pairs of all parts, in order."""
        values = {
            method: {metric: torch.cat([part.values[method][metric] for part in parts]) for metric in metrics}
            for method, metrics in parts[0].values.items()
        }
        features = dict(parts[0].features)
        for part in parts[1:]:
            features = {method: moments + part.features[method] for method, moments in features.items()}
        people = tuple(person for part in parts for person in part.people)
        return PairValues(people, values, features, parts[0].missing)

    def fid(self) -> dict[str, float]:
        """Method -> FID to the real images; empty without Inception."""
        return {
            method: frechet_distance(moments, self.features[REAL])
            for method, moments in self.features.items()
            if method != REAL
        }


@dataclass(frozen=True)
class ReenactedBatch:
    """A batch of reenactments: the reenactor's title, driving and generated images (B, 3, S, S), and the scene.

    second         what the reenactor of the second round generated, if there is one
    driving_truth  the driving frames' true faces, where they are known, on the CPU
    """

    title: str
    driving_image: Tensor
    scene: Scene
    generated: Tensor
    second: Tensor | None = None
    driving_truth: FaceParameters | None = None

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


def measure_same(bench: Bench, name: str, pairs: Pairs) -> PairValues:
    """Every metric of pairs whose driving frame is the target; FID is to the driving frames."""
    found = Collected(bench.judges)
    for batch in _reenact(bench.sets[name], pairs, bench.cascade):
        found.add_features(REAL, batch.driving_image)
        for method, image in batch.images_by_method().items():
            found.add(method, compare_images(image, batch.driving_image, batch.scene.driving.mask))
            found.add_features(method, image)
    return found.joined(people_of(bench.sets[name], pairs), "fid")


def measure_cross(bench: Bench, name: str, pairs: Pairs) -> PairValues:
    """Pairs of two people. ``efl``: by the judges' detector, over the eyes' distance, where it finds a face, and
    ``detected``, 1 where it does; ``efl_px``: by RecAugNet; ``csim``: of the source's and the generated face; FID is to
    the source images."""
    judges, found = bench.judges, Collected(bench.judges)
    for batch in _reenact(bench.sets[name], pairs, bench.cascade):
        driving, detected = _landmarks(bench.cascade, batch.driving_image), _driving_landmarks(bench, batch)
        source = judges.embeddings(batch.scene.source_image)
        found.add_features(REAL, batch.scene.source_image)
        for method, image in batch.images_by_method().items():
            found.add(method, {"efl_px": efl(_landmarks(bench.cascade, image), driving)})
            found.add(method, judged_landmarks(judges, image, detected))
            if source is not None and (embedding := judges.embeddings(image)) is not None:
                found.add(method, {"csim": csim(embedding, source)})
            found.add_features(method, image)
    return found.joined(people_of(bench.sets[name], pairs), "efl", "fid", "csim")


def judged_landmarks(judges: Judges, images: Tensor, driving: Tensor | None) -> dict[str, Tensor]:
    """``efl`` and ``detected`` (B,) of generated images (B, 3, S, S), given the landmarks that the judges found in the
    driving images; empty without a detector."""
    found = judges.landmarks(images) if driving is not None else None
    if found is None or driving is None:
        return {}
    return {"efl": relative_efl(found, driving), "detected": found.isfinite().all(-1).all(-1).float()}


def mean_over_pairs(pairs: PairValues) -> dict[str, Any]:
    """``pairs``, the number of all, and method -> metric, its mean over those where it is defined, or FID of all."""
    means = {
        method: {metric: float(values.nanmean()) for metric, values in metrics.items()}
        for method, metrics in pairs.values.items()
    }
    for method, fid in pairs.fid().items():
        means[method]["fid"] = fid
    return {"pairs": len(pairs.people), **means}


def pair_samples(pairs: PairValues, test: str) -> list[Samples]:
    """The values of every pair, by metric; test: ``same_identity`` or ``cross_identity``."""
    metrics = dict.fromkeys(metric for values in pairs.values.values() for metric in values)
    return [
        Samples(
            "reenactment",
            test,
            metric,
            pairs.people,
            {method: each[metric].double().numpy() for method, each in pairs.values.items() if metric in each},
        )
        for metric in metrics
    ]


def _reenact(clips: ClipSource, pairs: Pairs, cascade: Cascade) -> Iterator[ReenactedBatch]:
    device = cascade.model.mean.device
    for first in range(0, len(pairs), BATCH):
        sources, drivers = zip(*pairs[first : first + BATCH])
        source_frames, driving_frames = (load_frames(clips, refs, cascade.camera.size) for refs in (sources, drivers))
        source_image, driving_image = (to_device(frames["image"], device) for frames in (source_frames, driving_frames))
        faces = [fit_frames(cascade, cascade.recnet, clips, refs, image) for refs, image in
                 ((sources, source_image), (drivers, driving_image))]  # fmt: skip
        generated, scene = _generate(cascade.reenactor, source_image, *faces)
        second = None
        if cascade.second is not None:
            again = [cascade.recaugnet.predict(image) for image in (source_image, driving_image)]
            second, _ = _generate(cascade.second, source_image, *again)
        truth = ground_truth(driving_frames)
        yield ReenactedBatch(cascade.title, driving_image, scene, generated, second, truth)


def fit_frames(
    cascade: Cascade, reconstructor: Reconstructor, clips: ClipSource, refs: Sequence[FrameRef], images: Tensor
) -> FaceParameters:
    """The faces of frames, which a network for images of another side than the reenactor's sees at its own."""
    size = reconstructor.camera.size
    if size != cascade.camera.size:
        images = to_device(load_frames(clips, refs, size)["image"], images.device)
    return reconstructor.predict(images)


def _generate(
    reenactor: Reenactor, source_image: Tensor, source: FaceParameters, driving: FaceParameters
) -> tuple[Tensor, Scene]:
    """The generated images (B, 3, S, S) and the scene that the reenactor was given."""
    generated, scene = reenactor.generate(source_image, source, recombine(source, driving))
    return generated.picture, scene


def _landmarks(cascade: Cascade, images: Tensor) -> Tensor:
    """Landmarks (B, 68, 2) of images, estimated by RecAugNet, whose output the reenactor is not conditioned on."""
    return landmarks_2d(cascade.model, cascade.recaugnet.predict_resized(images), cascade.camera)


def _driving_landmarks(bench: Bench, batch: ReenactedBatch) -> Tensor | None:
    """Landmarks (B, 68, 2) of the driving images, as the judges find or know them; None if they do neither."""
    cascade, truth = bench.cascade, batch.driving_truth
    if bench.judges.reads_truth and truth is not None:
        return landmarks_2d(cascade.model, truth.to(cascade.model.mean.device), cascade.camera).cpu()
    return bench.judges.landmarks(batch.driving_image)


class Collected:
    """What the batches of a part find; what is on a GPU stays there until the last batch is done."""

    def __init__(self, judges: Judges) -> None:
        self.judges = judges
        self.values: dict[str, dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))
        self.features: dict[str, Moments] = {}

    def add(self, method: str, metrics: Mapping[str, Tensor]) -> None:
        for metric, values in metrics.items():
            self.values[method][metric].append(values)

    def add_features(self, method: str, images: Tensor) -> None:
        moments = self.judges.features(images)
        if moments is not None:
            self.features[method] = self.features[method] + moments if method in self.features else moments

    def joined(self, people: tuple[str, ...], *judged: str) -> PairValues:
        """On the CPU. people: of the source images; judged: the figures that the judges are asked for."""
        return PairValues(
            people,
            {
                method: {metric: torch.cat(each).cpu() for metric, each in metrics.items()}
                for method, metrics in self.values.items()
            },
            {
                method: replace(moments, mean=moments.mean.cpu(), scatter=moments.scatter.cpu())
                for method, moments in self.features.items()
            },
            {figure: why for figure, why in self.judges.missing.items() if figure in judged},
        )


def people_of(clips: ClipSource, pairs: Pairs) -> tuple[str, ...]:
    """Who the source image of each pair shows."""
    return tuple(clips.rows[source.row].identity for source, _ in pairs)


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
        f"{batch.title} 2": batch.second,
    }
    return image_grid("reenactment", title, text, columns, people_of(clips, pairs))
