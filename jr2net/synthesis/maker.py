"""Makes shards of pairs: decodes the sources, generates the pairs, applies the gates and encodes the images.

One picture or pair does not make a shard fail: if it raises an exception, it is set aside with its reason. What the
storage, the device or the memory is the cause of is raised: it says nothing about the pair. So are exceptions of many
pairs of a shard, which the machine is more likely the cause of than the pairs.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from jr2net.config import SynthesisConfig
from jr2net.data.pairs import Pair
from jr2net.data.sources import SourceError, SourceImage, Sources
from jr2net.device import DeviceError, to_device
from jr2net.errors import UserError
from jr2net.face.parameters import FaceParameters
from jr2net.images.arrays import encode_jpeg, to_arrays, to_tensor
from jr2net.render.scene import recombine
from jr2net.storage import StorageError
from jr2net.synthesis.gates import rejection
from jr2net.synthesis.pair_generator import GeneratedPairs, Stopwatch
from jr2net.synthesis.plan import Plan, PlannedPair

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

UNEXPECTED_SHARE = 0.05
"""Up to this share of a shard's pairs, and always one source or pair, is set aside for unexpected exceptions."""


class ShardFailure(UserError, RuntimeError):
    """A shard so many of whose pairs raised exceptions that it must not be written."""


class PairGeneratorProtocol(Protocol):
    """Interface of ``PairGenerator``; tests replace it by a stub without networks."""

    @property
    def size(self) -> int: ...

    def check(self) -> None: ...

    def reconstruct(self, images: Tensor) -> FaceParameters: ...

    def generate(
        self,
        images: Tensor,
        faces: FaceParameters,
        source_index: Tensor,
        target: FaceParameters,
        stopwatch: Stopwatch | None = None,
    ) -> GeneratedPairs: ...


@dataclass
class ShardResult:
    """The pairs of a shard and statistics of their synthesis.

    pair_ids     of all planned pairs
    rejected     number of rejected pairs by reason
    quarantined  sources and pairs that could not be used, with the reasons
    licenses     number of kept pairs by licence of the source
    seconds      by phase; for logs only, not part of the dataset
    unexpected   name -> number of pairs that it cost, of those quarantined for an exception other than SourceError,
                 which says that a source is unusable; not part of the dataset
    """

    pair_ids: Sequence[str]
    pairs: list[Pair] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    quarantined: dict[str, str] = field(default_factory=dict)
    licenses: Counter[str] = field(default_factory=Counter)
    seconds: Stopwatch = field(default_factory=Stopwatch)
    unexpected: Counter[str] = field(default_factory=Counter)

    @property
    def planned(self) -> int:
        """Number of planned pairs."""
        return len(self.pair_ids)


@dataclass(frozen=True)
class PairMaker:
    """Makes the shards of a plan. Thread-safe: one thread at a time runs the networks while others decode and encode.

    driving: images that provide pose and light, if the plan replaces these.
    """

    generator: PairGeneratorProtocol
    sources: Sources
    plan: Plan
    settings: SynthesisConfig
    driving: Sources | None = None
    network_lock: threading.Lock = field(default_factory=threading.Lock)

    def shard(self, index: int) -> ShardResult:
        """Makes the pairs of one shard. Deterministic: batches never span shards.

        Raises ShardFailure, and what the storage, the device or the memory is the cause of.
        """
        planned = self.plan.shard(index)
        result = ShardResult([pair.pair_id for pair in planned])
        groups = [list(group) for _, group in groupby(planned, key=lambda pair: pair.source)]
        for first in range(0, len(groups), self.settings.batch_size):
            self._make(groups[first : first + self.settings.batch_size], result)
        _check_unexpected(index, result)
        return result

    def _make(self, groups: Sequence[Sequence[PlannedPair]], result: ShardResult) -> None:
        """Makes the pairs of some sources; each source is decoded and reconstructed once."""
        with result.seconds("decode"):
            sources = {group[0].source: _read(self.sources, group[0].source, len(group), result) for group in groups}
        read = {number: source for number, source in sources.items() if source is not None}
        pairs_of = {group[0].source: len(group) for group in groups}
        faces, usable, images = self._reconstruct(read, pairs_of, result)
        batch_index = {number: index for index, number in enumerate(usable)}
        pairs = [pair for group in groups for pair in group if pair.source in batch_index]
        result.rejected["source"] += sum(map(len, groups)) - len(pairs)
        for batch in _batches(pairs, self.settings.batch_size):
            self._generate(batch, batch_index, [read[number] for number in usable], images, faces, result)

    def _reconstruct(
        self, sources: Mapping[int, SourceImage], pairs_of: Mapping[int, int], result: ShardResult
    ) -> tuple[FaceParameters | None, list[int], Tensor]:
        """The faces of the sources that can be reconstructed, their numbers and images (N, 3, S, S); None if no source
        can be. ``pairs_of``: the number of pairs of each source."""
        numbers = list(sources)

        def reconstruct(numbers: Sequence[int]) -> tuple[FaceParameters, Tensor]:
            images = to_tensor([sources[number].image for number in numbers])
            with self.network_lock, result.seconds("reconstruct"):
                return self.generator.reconstruct(images), images

        def set_aside(number: int, reason: str) -> None:
            result.quarantined[self.sources.name(number)] = reason
            result.unexpected[self.sources.name(number)] += pairs_of[number]

        done = list(self._isolate(reconstruct, numbers, set_aside))
        if not done:
            return None, [], torch.empty(0)
        faces = FaceParameters.concatenate([faces for _, (faces, _) in done])
        return faces, [number for part, _ in done for number in part], torch.cat([images for _, (_, images) in done])

    def _generate(
        self,
        pairs: Sequence[PlannedPair],
        batch_index: Mapping[int, int],
        sources: Sequence[SourceImage],
        images: Tensor,
        faces: FaceParameters | None,
        result: ShardResult,
    ) -> None:
        """batch_index: from the number of a source to its position in ``sources``, ``images`` and ``faces``."""
        assert faces is not None, "a pair has a source that was reconstructed"
        driving_images: dict[int, Tensor] = {}
        if self.driving is not None:
            with result.seconds("decode"):
                driving_images = self._driving_images(pairs, result)
            usable = [pair for pair in pairs if pair.driving in driving_images]
            result.rejected["driving"] += len(pairs) - len(usable)
            pairs = usable

        def generate(pairs: Sequence[PlannedPair]) -> GeneratedPairs:
            source_index, device = torch.tensor([batch_index[pair.source] for pair in pairs]), faces.identity.device
            source = faces[to_device(source_index, device)]
            expression = torch.from_numpy(np.stack([pair.expression for pair in pairs])).to(source.expression.dtype)
            expression = to_device(expression, device)
            target = source.replace(expression=expression)
            if driving_images:
                stacked = torch.stack([driving_images[pair.driving or 0] for pair in pairs])
                with self.network_lock, result.seconds("reconstruct"):
                    driving = self.generator.reconstruct(stacked)
                target = recombine(source, driving.replace(expression=expression))
            with self.network_lock:
                return self.generator.generate(images, faces, source_index, target, result.seconds)

        def set_aside(pair: PlannedPair, reason: str) -> None:
            result.quarantined[f"pair {pair.pair_id}"] = reason
            result.unexpected[f"pair {pair.pair_id}"] += 1
            result.rejected["error"] += 1

        for part, generated in self._isolate(generate, pairs, set_aside):
            columns = {name: score.tolist() for name, score in generated.scores.items()}
            finite = generated.images.isfinite().flatten(1).all(1).tolist()
            arrays = to_arrays(generated.images.nan_to_num())
            with result.seconds("encode"):
                for index, pair in enumerate(part):
                    scores = {name: values[index] for name, values in columns.items()}
                    reason = rejection(scores, self.settings.gates) if finite[index] else "not_finite"
                    if reason is not None:
                        result.rejected[reason] += 1
                        continue
                    try:
                        jpeg = encode_jpeg(arrays[index], self.settings.jpeg_quality)
                    except MemoryError:
                        raise
                    except Exception as error:
                        set_aside(pair, _reason(error))
                        continue
                    source = sources[batch_index[pair.source]]
                    result.pairs.append(
                        Pair(pair.pair_id, jpeg, pair.expression, source.source_id, pair.track, pair.frame, scores)
                    )
                    result.licenses[source.license or "unknown"] += 1

    def _isolate(
        self, work: Callable[[Sequence[Item]], Outcome], items: Sequence[Item], set_aside: Callable[[Item, str], None]
    ) -> Iterator[tuple[Sequence[Item], Outcome]]:
        """Yields (items, ``work`` of them): all at once, or if that raises, one by one, without those that raise.

        set_aside: is given those and the reasons. Raises DeviceError, StorageError, MemoryError and
        torch.cuda.OutOfMemoryError.
        """
        if not items:
            return
        try:
            outcome = work(items)
        except (DeviceError, StorageError, MemoryError, torch.cuda.OutOfMemoryError):
            raise
        except Exception as error:
            reason = _reason(error)
        else:
            yield items, outcome
            return
        self.generator.check()
        if len(items) == 1:
            set_aside(items[0], reason)
            return
        for item in items:
            yield from self._isolate(work, [item], set_aside)

    def _driving_images(self, pairs: Sequence[PlannedPair], result: ShardResult) -> dict[int, Tensor]:
        assert self.driving is not None
        images: dict[int, Tensor] = {}
        for number, count in Counter(pair.driving or 0 for pair in pairs).items():
            if (driving := _read(self.driving, number, count, result)) is not None:
                images[number] = to_tensor([driving.image])[0]
        return images


def _read(sources: Sources, number: int, pairs: int, result: ShardResult) -> SourceImage | None:
    """A source image, or None if it cannot be used. ``pairs``: how many need it. Raises StorageError, MemoryError."""
    try:
        return sources.read(number)
    except (StorageError, MemoryError):
        raise
    except SourceError as error:
        result.quarantined[sources.name(number)] = str(error)
    except Exception as error:
        result.quarantined[sources.name(number)] = _reason(error)
        result.unexpected[sources.name(number)] += pairs
    return None


def _check_unexpected(index: int, result: ShardResult) -> None:
    """Raises ShardFailure if exceptions cost more of the pairs than single sources or pairs explain."""
    lost = result.unexpected.total()
    is_single = len(result.unexpected) == 1 and lost < result.planned
    if is_single or lost <= UNEXPECTED_SHARE * result.planned:
        return
    name = next(iter(result.unexpected))
    raise ShardFailure(
        f"shard {index}: {lost} of {result.planned} pairs raised exceptions and nothing of it was written; {name}: "
        f"{result.quarantined[name]}. Rather than the pictures, this machine's driver, libraries or disk may be the "
        "cause: mend it, or remove the picture, and start the job again"
    )


def _reason(error: Exception) -> str:
    """The kind of an unexpected exception, and the beginning of its message."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _batches(pairs: Sequence[PlannedPair], size: int) -> Iterator[Sequence[PlannedPair]]:
    for first in range(0, len(pairs), size):
        yield pairs[first : first + size]
