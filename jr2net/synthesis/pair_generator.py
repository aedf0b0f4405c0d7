"""Runs the networks of synthesis: source images and target parameters in, generated images and their scores out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jr2net.device import check_device, to_device
from jr2net.face.parameters import FaceParameters
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor
from jr2net.render.renderer import render
from jr2net.render.scene import set_scene
from jr2net.synthesis import gates


class Stopwatch(dict[str, float]):
    """Seconds by phase."""

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = perf_counter()
        try:
            yield
        finally:
            self[phase] = self.get(phase, 0.0) + perf_counter() - start


class GeneratedPairs(NamedTuple):
    """images (B, 3, S, S) in [0, 1] and, by column name, scores (B,)."""

    images: Tensor
    scores: dict[str, Tensor]

    @staticmethod
    def concatenate(parts: Iterable[GeneratedPairs]) -> GeneratedPairs:
        parts = list(parts)
        scores = {name: torch.cat([part.scores[name] for part in parts]) for name in parts[0].scores}
        return GeneratedPairs(torch.cat([part.images for part in parts]), scores)


@dataclass(frozen=True)
class PairGenerator:
    """RecNet and the reenactor, and the networks that score their output.

    reader    ETNet or RecAugNet that predicts the expressions of generated images; None: RecNet
    embedder  face embedder for the identity score (cosine similarity); None: distance of RecNet's shapes
    """

    reenactor: Reenactor
    reader: nn.Module | None = None
    embedder: nn.Module | None = None

    @property
    def size(self) -> int:
        return self.reenactor.camera.size

    def check(self) -> None:
        """Raises DeviceError where the networks' device does not compute any more."""
        check_device(self._device)

    @torch.inference_mode()
    def reconstruct(self, images: Tensor) -> FaceParameters:
        """Predicts the parameters of source images (B, 3, S, S)."""
        images = to_device(images, self._device)
        return FaceParameters.concatenate(in_halves(self._reconstructor.predict, images))

    @torch.inference_mode()
    def generate(
        self,
        images: Tensor,
        faces: FaceParameters,
        source_index: Tensor,
        target: FaceParameters,
        stopwatch: Stopwatch | None = None,
    ) -> GeneratedPairs:
        """Reenacts source images with the parameters ``target`` (B faces); the result is on the CPU.

        images (N, 3, S, S) and faces: the sources and their parameters; source_index (B,) int64, best on the CPU: the
        source of each target.
        """
        stopwatch = Stopwatch() if stopwatch is None else stopwatch
        images = to_device(images, self._device)

        def generate(source_index: Tensor, target: FaceParameters) -> GeneratedPairs:
            return self._generate(images, faces, source_index, target, stopwatch)

        return GeneratedPairs.concatenate(in_halves(generate, source_index, target))

    def _generate(
        self, images: Tensor, faces: FaceParameters, source_index: Tensor, target: FaceParameters, stopwatch: Stopwatch
    ) -> GeneratedPairs:
        reenactor = self.reenactor
        with stopwatch("render"):
            indices = (source_index, *source_index.unique(return_inverse=True))
            source_index, unique_index, rendering_index = (to_device(index, self._device) for index in indices)
            rendered = render(reenactor.model, faces[unique_index], reenactor.camera)
            rendered.image, rendered.depth, rendered.normal, rendered.light  # noqa: B018  cached for `take`
            source = rendered.take(rendering_index) if len(unique_index) < len(source_index) else rendered
            portraits = images[unique_index]
            images, before = images[source_index], faces.expression[source_index]
            scene = set_scene(reenactor.model, reenactor.camera, images, faces[source_index], target, rendering=source)
        with stopwatch("dcnet"):
            code = reenactor.encode(portraits)
            generated = reenactor.network(scene, None if code is None else code.take(rendering_index)).picture
        with stopwatch("gates"):
            predicted = self._reconstructor.predict(generated)
            after = predicted.expression
            if self.reader is not None:
                before, after = (_expression(self.reader(seen)) for seen in (images, generated))
            if self.embedder is not None:
                identity = F.cosine_similarity(self.embedder(generated), self.embedder(images), dim=-1)
            else:
                identity = gates.shape_similarity(faces.identity[source_index], predicted.identity, self._shape_metric)
            mask = scene.conditions.mask
            scores = (
                gates.covisible_coverage(scene.view.covisible, mask),
                identity,
                gates.expression_agreement(before, after, target.expression),
                gates.saturation(generated, mask),
            )
            return GeneratedPairs(
                generated.cpu(), dict(zip(gates.COLUMNS, torch.stack(scores).cpu().unbind(), strict=True))
            )

    @cached_property
    def _shape_metric(self) -> Tensor:
        return gates.shape_metric(self.reenactor.model.identity_basis)

    @property
    def _reconstructor(self) -> Reconstructor:
        assert self.reenactor.reconstructor is not None, "pairs need a reenactor with a reconstructor"
        return self.reenactor.reconstructor

    @property
    def _device(self) -> torch.device:
        return self.reenactor.model.mean.device


def _expression(output: FaceParameters | Tensor) -> Tensor:
    """Expression coefficients from the output of ETNet or RecAugNet."""
    return output.expression if isinstance(output, FaceParameters) else output


def in_halves(work: Callable[..., Any], *batch: Any) -> list[Any]:
    """Returns [``work(*batch)``]; when GPU memory runs out, splits the batch recursively and returns partial results.

    Smaller batches may differ in the last bits of a float. Raises torch.cuda.OutOfMemoryError at a batch of one.
    """
    try:
        return [work(*batch)]
    except torch.cuda.OutOfMemoryError:
        count = len(batch[0])
        if count == 1:
            raise
    # Outside of the except block, which would keep the failed attempt's tensors alive.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = count // 2
    first, second = ([item[half_slice] for item in batch] for half_slice in (slice(0, half), slice(half, count)))
    return in_halves(work, *first) + in_halves(work, *second)
