"""Makes shards of pairs: reads the sources, has them generated, judges and encodes them."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from jr2net.config import Config, SynthesisConfig, digest
from jr2net.data.clips import ClipSource
from jr2net.data.pairs import Pair
from jr2net.data.sets import training_clips
from jr2net.data.sources import ClipFrames, Picture, SourceError, SourceList, Sources, open_sources
from jr2net.expressions.tracks import Track
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.images import arrays as pictures
from jr2net.images.face_detector import load_face_detector
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor
from jr2net.inference.weights import load_checkpoint
from jr2net.networks.checkpoint import load_network, read_description
from jr2net.render.scene import recombine
from jr2net.synthesis.gates import rejection
from jr2net.synthesis.pair_generator import GeneratedPairs, PairGenerator, Stopwatch
from jr2net.synthesis.plan import Plan, PlannedPair


class PairGeneratorProtocol(Protocol):
    """What ``PairGenerator`` is to the maker; benchmarks and tests put a simpler one in its place."""

    @property
    def size(self) -> int: ...

    def reconstruct(self, images: Tensor) -> FaceParameters: ...

    def generate(
        self,
        images: Tensor,
        faces: FaceParameters,
        which: Tensor,
        wanted: FaceParameters,
        watch: Stopwatch | None = None,
    ) -> GeneratedPairs: ...


@dataclass
class ShardResult:
    """The pairs of a shard and what happened while they were made.

    planned      how many pairs were to be made
    rejected     how many were left out, by reason
    quarantined  sources that could not be used, with the reason
    licenses     how many pairs were made under which licence of the source
    seconds      by phase; they tell, they are no part of the dataset
    """

    planned: int
    pairs: list[Pair] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    quarantined: dict[str, str] = field(default_factory=dict)
    licenses: Counter[str] = field(default_factory=Counter)
    seconds: Stopwatch = field(default_factory=Stopwatch)


@dataclass(frozen=True)
class PairMaker:
    """Makes the shards of a plan. Threads may share it: one at a time has the networks, the others read and encode.

    driving: pictures that give pose and light, where the plan takes these from others.
    """

    generator: PairGeneratorProtocol
    sources: Sources
    plan: Plan
    settings: SynthesisConfig
    driving: Sources | None = None
    turn: threading.Lock = field(default_factory=threading.Lock)

    def shard(self, index: int) -> ShardResult:
        """Every pair of one shard. The same whoever makes it: all batches are cut within the shard."""
        planned = self.plan.shard(index)
        made = ShardResult(len(planned))
        groups = [list(group) for _, group in groupby(planned, key=lambda pair: pair.source)]
        for first in range(0, len(groups), self.settings.batch_size):
            self._make(groups[first : first + self.settings.batch_size], made)
        return made

    def _make(self, groups: Sequence[Sequence[PlannedPair]], made: ShardResult) -> None:
        """The pairs of some sources, each of which is decoded and reconstructed once."""
        with made.seconds("decode"):
            read = {group[0].source: self._read(group[0].source, made) for group in groups}
        usable = [picture for picture in read.values() if picture is not None]
        if not usable:
            made.rejected["source"] += sum(map(len, groups))
            return
        images = pictures.to_tensor([picture.image for picture in usable])
        with self.turn, made.seconds("reconstruct"):
            faces = self.generator.reconstruct(images)
        place = {number: at for at, number in enumerate(n for n, picture in read.items() if picture is not None)}
        pairs = [pair for group in groups for pair in group if pair.source in place]
        made.rejected["source"] += sum(map(len, groups)) - len(pairs)
        for batch in _batches(pairs, self.settings.batch_size):
            self._generate(batch, [place[pair.source] for pair in batch], usable, images, faces, made)

    def _generate(
        self,
        pairs: Sequence[PlannedPair],
        places: Sequence[int],
        read: Sequence[Picture],
        images: Tensor,
        faces: FaceParameters,
        made: ShardResult,
    ) -> None:
        poses: dict[int, Tensor] = {}
        if self.driving is not None:
            with made.seconds("decode"):
                poses = self._driving_pictures(pairs, made)
            chosen = [at for at, pair in enumerate(pairs) if pair.driving in poses]
            made.rejected["driving"] += len(pairs) - len(chosen)
            pairs, places = [pairs[at] for at in chosen], [places[at] for at in chosen]
            if not pairs:
                return
        which = torch.tensor(places, device=faces.identity.device)
        source = faces[which]
        expression = torch.from_numpy(np.stack([pair.expression for pair in pairs])).to(source.expression)
        wanted = source.replace(expression=expression)
        if poses:
            with self.turn, made.seconds("reconstruct"):
                driving = self.generator.reconstruct(torch.stack([poses[pair.driving or 0] for pair in pairs]))
            wanted = recombine(source, driving.replace(expression=expression))
        with self.turn:
            generated = self.generator.generate(images, faces, which, wanted, made.seconds)
        with made.seconds("encode"):
            self._keep(pairs, [read[at] for at in places], generated, made)

    def _keep(
        self, pairs: Sequence[PlannedPair], sources: Sequence[Picture], generated: GeneratedPairs, made: ShardResult
    ) -> None:
        columns = {name: score.tolist() for name, score in generated.scores.items()}
        finite = generated.images.isfinite().flatten(1).all(1).tolist()
        arrays = pictures.to_arrays(generated.images.nan_to_num())
        for at, (pair, source) in enumerate(zip(pairs, sources, strict=True)):
            scores = {name: values[at] for name, values in columns.items()}
            reason = rejection(scores, self.settings.gates) if finite[at] else "not_finite"
            if reason is not None:
                made.rejected[reason] += 1
                continue
            jpeg = pictures.encode_jpeg(arrays[at], self.settings.jpeg_quality)
            made.pairs.append(
                Pair(pair.pair_id, jpeg, pair.expression, source.source_id, pair.track, pair.frame, scores)
            )
            made.licenses[source.license or "unknown"] += 1

    def _driving_pictures(self, pairs: Sequence[PlannedPair], made: ShardResult) -> dict[int, Tensor]:
        assert self.driving is not None
        found: dict[int, Tensor] = {}
        for number in {pair.driving for pair in pairs}:
            try:
                picture = self.driving.read(number or 0)
            except SourceError as error:
                made.quarantined[self.driving.name(number or 0)] = str(error)
                continue
            found[number or 0] = pictures.to_tensor([picture.image])[0]
        return found

    def _read(self, number: int, made: ShardResult) -> Picture | None:
        try:
            return self.sources.read(number)
        except SourceError as error:
            made.quarantined[self.sources.name(number)] = str(error)
            return None


def load_pair_maker(
    config: Config,
    model: FaceModel,
    folders: Mapping[str, str],
    listed: SourceList,
    tracks: Sequence[Track] = (),
    device: torch.device | str = "cpu",
) -> PairMaker:
    """From the folder of ``prepare`` (or its URI), those of ``recnet`` and ``dcnet`` (local) and what is to act."""
    settings, size = config.synthesis, config.image_size
    recnet, recnet_info = load_checkpoint(folders["recnet"], model)
    dcnet, dcnet_info = load_checkpoint(folders["dcnet"], model)
    model = model.to(device)
    reconstructor = Reconstructor(recnet.to(device), model, recnet_info)
    reader = load_network(settings.reader, model).to(device) if settings.reader else None
    embedder = torch.jit.load(config.recnet.embedder, device).eval() if config.recnet.embedder else None
    detector = load_face_detector() if listed.kind == "photos" and settings.face_detector else None
    only = training_clips(config, folders["prepare"]) if settings.sources is None else None
    sources = open_sources(source_folder(config, folders["prepare"]), listed, size, detector, only)
    driving = None
    if settings.reenact:
        driving = sources if settings.driving is None else ClipFrames(ClipSource(settings.driving), size)
    digests = pair_digests(config, model, folders, listed, tracks)
    return PairMaker(
        PairGenerator(Reenactor(dcnet.to(device), model, dcnet_info, reconstructor), reader, embedder),
        sources,
        Plan(settings, config.seed, len(sources), digests, tracks, len(driving) if driving is not None else 0),
        settings,
        driving,
    )


def source_folder(config: Config, prepare: str) -> str:
    """Where the pictures lie that are to act."""
    return config.synthesis.sources or config.data.clips or f"{prepare}/train"


def pair_digests(
    config: Config, model: FaceModel, folders: Mapping[str, str], listed: SourceList, tracks: Sequence[Track]
) -> dict[str, str]:
    """Digests of all that a pair depends on besides the seed and its number."""
    settings = config.synthesis
    chosen = {"pairs", "pairs_per_shard", "pairs_per_source", "expressions", "reenact", "jpeg_quality", "face_detector"}
    decisive = settings.model_dump(mode="json", include=chosen)
    decisive |= {"image_size": config.image_size, "focal_ratio": config.face.focal_ratio}
    return {
        "face_model": model.digest,
        **{name: str(read_description(folders[name])["weights_sha256"]) for name in ("recnet", "dcnet")},
        "sources": listed.digest,
        "captures": captures_digest(tracks),
        "settings": digest(decisive),
    }


def captures_digest(tracks: Sequence[Track]) -> str:
    """SHA-256 of the tracks' names and coefficients."""
    found = hashlib.sha256()
    for track in tracks:
        found.update(f"{track.name} {track.expression.shape}".encode() + track.expression.tobytes())
    return found.hexdigest()


def _batches(pairs: Sequence[PlannedPair], size: int) -> Iterator[Sequence[PlannedPair]]:
    for first in range(0, len(pairs), size):
        yield pairs[first : first + size]
