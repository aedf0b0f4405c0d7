"""The networks' part of synthesis: source pictures and wanted faces in, pictures and their scores out."""

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
    """RecNet and DCNet, and who judges what they make.

    reader    ETNet or RecAugNet that reads expressions again; None: RecNet does
    embedder  face embedder whose cosine is the similarity of identities; None: distance of RecNet's shapes
    """

    reenactor: Reenactor
    reader: nn.Module | None = None
    embedder: nn.Module | None = None

    @property
    def size(self) -> int:
        return self.reenactor.camera.size

    @torch.inference_mode()
    def reconstruct(self, images: Tensor) -> FaceParameters:
        """The faces of source pictures (B, 3, S, S)."""
        images = images.to(self._device)
        return FaceParameters.concatenate(in_halves(self._reconstructor.predict, images))

    @torch.inference_mode()
    def generate(
        self,
        images: Tensor,
        faces: FaceParameters,
        which: Tensor,
        wanted: FaceParameters,
        watch: Stopwatch | None = None,
    ) -> GeneratedPairs:
        """Source pictures acted as ``wanted`` (B faces) says; the result is on the CPU.

        images (N, 3, S, S) and faces: the sources; which (B,) int64: the source of each wanted face.
        """
        watch = Stopwatch() if watch is None else watch
        images = images.to(self._device)

        def generate(which: Tensor, wanted: FaceParameters) -> GeneratedPairs:
            return self._generate(images, faces, which, wanted, watch)

        return GeneratedPairs.concatenate(in_halves(generate, which.to(self._device), wanted))

    def _generate(
        self, images: Tensor, faces: FaceParameters, which: Tensor, wanted: FaceParameters, watch: Stopwatch
    ) -> GeneratedPairs:
        face = self.reenactor
        with watch("render"):
            used, place = which.unique(return_inverse=True)
            rendered = render(face.model, faces[used], face.camera)
            rendered.image, rendered.depth, rendered.normal, rendered.light  # noqa: B018  made once, taken along
            source = rendered.take(place) if len(used) < len(which) else rendered
            images, before = images[which], faces.expression[which]
            scene = set_scene(face.model, face.camera, images, source, wanted)
        with watch("dcnet"):
            generated = face.network(scene)
        with watch("gates"):
            again = self._reconstructor.predict(generated)
            after = again.expression
            if self.reader is not None:
                before, after = (_expression(self.reader(seen)) for seen in (images, generated))
            if self.embedder is not None:
                identity = F.cosine_similarity(self.embedder(generated), self.embedder(images), dim=-1)
            else:
                identity = gates.shape_similarity(faces.identity[which], again.identity, self._shape_metric)
            mask = scene.conditions.mask
            judged = (
                gates.covisible_coverage(scene.view.covisible, mask),
                identity,
                gates.expression_agreement(before, after, wanted.expression),
                gates.saturation(generated, mask),
            )
            return GeneratedPairs(
                generated.cpu(), {n: score.cpu() for n, score in zip(gates.COLUMNS, judged, strict=True)}
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


def _expression(answer: FaceParameters | Tensor) -> Tensor:
    """What ETNet or RecAugNet says of expressions."""
    return answer.expression if isinstance(answer, FaceParameters) else answer


def in_halves(work: Callable[..., Any], *batch: Any) -> list[Any]:
    """``work(*batch)`` as a list of one; where the GPU's memory is too small, of each half of the batch, and so on.

    A smaller batch may differ in the last bits of a float. Raises torch.cuda.OutOfMemoryError at a batch of one.
    """
    try:
        return [work(*batch)]
    except torch.cuda.OutOfMemoryError:
        count = len(batch[0])
        if count == 1:
            raise
    # Outside of the handler, which would keep the failed attempt's tensors alive.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = count // 2
    first, second = ([part[piece] for part in batch] for piece in (slice(0, half), slice(half, count)))
    return in_halves(work, *first) + in_halves(work, *second)
