"""Loads all that makes pairs: the networks, the sources and the plan, by a run's configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from jr2net.config import Config
from jr2net.data.clips import ClipSource
from jr2net.data.sets import training_clips, validation_clips
from jr2net.data.source_list import SourceList, open_clips
from jr2net.data.sources import ClipFrames, open_sources
from jr2net.expressions.tracks import Track
from jr2net.face.model import FaceModel
from jr2net.images.face_detector import load_face_detector
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor
from jr2net.networks.checkpoint import CheckpointError, load_network, read_description
from jr2net.networks.etnet import ETNet
from jr2net.networks.recaugnet import RecAugNet
from jr2net.networks.recnet import RecNet
from jr2net.networks.weights import load_embedder
from jr2net.settings import digest
from jr2net.storage import join
from jr2net.synthesis.maker import PairMaker
from jr2net.synthesis.pair_generator import PairGenerator
from jr2net.synthesis.plan import Plan
from jr2net.synthesis.source_order import SourceOrder

VALIDATION_PAIRS = 256
"""Number of pairs on which ETNet is validated, before the gates."""


def load_pair_maker(
    config: Config,
    model: FaceModel,
    folders: Mapping[str, str],
    listed: SourceList,
    tracks: Sequence[Track] = (),
    device: torch.device | str = "cpu",
    grown_from: Sequence[int] = (),
    driving: SourceList | None = None,
) -> PairMaker:
    """Loads the networks and opens the sources.

    folders: local folders of ``recnet`` and the reenactor, and the folder or URI of ``prepare``. grown_from: of the
    dataset, see ``synthesis/plan.py``. driving: the clips of ``synthesis.driving``; none: they are indexed again.
    """
    settings, size = config.synthesis, config.image_size
    reconstructor = Reconstructor.load(folders["recnet"], face_model=model, device=device, optimize=False)
    reenactor = Reenactor.load(
        folders[config.reenactor],
        reconstructor=reconstructor,
        face_model=reconstructor.model,
        device=device,
        optimize=False,
        reenactor=config.reenactor,
    )
    reader = load_reader(settings.reader, model).to(device) if settings.reader else None
    embedder = load_embedder(config.recnet.embedder, device) if config.recnet.embedder else None
    detector = load_face_detector() if listed.kind == "photos" and settings.face_detector else None
    only = training_clips(config, folders["prepare"]) if settings.sources is None else None
    sources = open_sources(source_folder(config, folders["prepare"]), listed, size, detector, only)
    others = None
    if settings.reenact:
        others = sources if settings.driving is None else ClipFrames(_driving_clips(settings.driving, driving), size)
    digests = pair_digests(config, model, folders, listed, tracks)
    driving_order = SourceOrder.of(others) if others is not None else None
    plan = Plan(settings, config.seed, SourceOrder.of(sources), digests, tracks, driving_order, grown_from)
    return PairMaker(PairGenerator(reenactor, reader, embedder), sources, plan, settings, others)


def load_reader(folder: str, model: FaceModel) -> nn.Module:
    """The network of ``synthesis.reader``. Raises CheckpointError where it reads no expressions."""
    network = load_network(folder, model)
    if not isinstance(network, ETNet | RecAugNet | RecNet):
        raise CheckpointError(
            f"synthesis.reader: {folder} holds a {network.kind}; give the folder of an ETNet or RecAugNet"
        )
    return network


def validation_maker(maker: PairMaker, config: Config, prepare: str) -> PairMaker:
    """``maker`` for one shard of pairs of the people that ``data.validation`` holds back.

    prepare: folder or URI of that stage.
    """
    people = ClipFrames(validation_clips(config, prepare), config.image_size)
    settings = maker.settings.model_copy(update={"pairs": VALIDATION_PAIRS, "pairs_per_shard": VALIDATION_PAIRS})
    digests = {**maker.plan.digests, "people": "validation"}
    plan = replace(maker.plan, settings=settings, sources=SourceOrder.of(people), digests=digests, grown_from=())
    return replace(maker, sources=people, plan=plan, settings=settings)


def _driving_clips(uri: str, listed: SourceList | None) -> ClipSource:
    return ClipSource(uri) if listed is None else open_clips(uri, listed)


def source_folder(config: Config, prepare: str) -> str:
    """Folder or URI of the source images."""
    return config.synthesis.sources or config.data.clips or join(prepare, "train")


def pair_digests(
    config: Config, model: FaceModel, folders: Mapping[str, str], listed: SourceList, tracks: Sequence[Track]
) -> dict[str, str]:
    """Digests of everything a pair depends on besides the seed and its number."""
    settings = config.synthesis
    fields = {"pairs_per_source", "expressions", "reenact", "jpeg_quality", "face_detector"}
    relevant = settings.model_dump(mode="json", include=fields)
    relevant |= {"image_size": config.image_size, "focal_ratio": config.face.focal_ratio}
    return {
        "face_model": model.digest,
        **{name: str(read_description(folders[name])["weights_sha256"]) for name in ("recnet", config.reenactor)},
        "sources": listed.digest,
        "captures": captures_digest(tracks),
        "settings": digest(relevant),
    }


def captures_digest(tracks: Sequence[Track]) -> str:
    """SHA-256 of the tracks' names and coefficients, and of which frames were filled."""
    sha256 = hashlib.sha256()
    for track in tracks:
        sha256.update(f"{track.name} {track.expression.shape}".encode() + track.expression.tobytes())
        sha256.update(track.seen.tobytes() if track.seen is not None else b"")
    return sha256.hexdigest()
