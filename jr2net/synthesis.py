"""Mass production of labelled expressions: (source picture, expression) in, pair out. The paper's engine.

Shape, pose, light and texture are the source's; only the expression is replaced (expression-specific generation). A
pair is a pure function of its number, the seed, the sources and the networks, and so is a shard of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from jr2net.config import Config, SynthesisConfig
from jr2net.data import pictures
from jr2net.data.clips import ClipSource
from jr2net.data.evaluation_frames import FrameRef, load_frames
from jr2net.data.expressions import large_pose, natural
from jr2net.data.pairs import Pair, make_pair_id, pair_rng
from jr2net.data.sets import training_clips
from jr2net.data.tracks import Track, read_captures
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.networks.checkpoint import load_network, read_description
from jr2net.reconstruction import camera
from jr2net.reenactment import Reenactor

NATURAL_SHARE = 0.25
"""Share of sampled expressions that are mild, as footage has them; the others are large ones at any strength."""


@dataclass(frozen=True)
class PlannedPair:
    """What determines one pair: source frame, expression (51,) in [0, 1], and where the expression came from."""

    pair_id: str
    source: FrameRef
    expression: np.ndarray
    track: str
    frame: int


@dataclass(frozen=True)
class PairMaker:
    """Plans and draws pairs. digests: of what the pictures depend on, by name."""

    reenactor: Reenactor
    sources: ClipSource
    tracks: Sequence[Track]
    settings: SynthesisConfig
    seed: int
    digests: Mapping[str, str]

    def plan(self, number: int) -> PlannedPair:
        """Pair ``number`` of the dataset, 0 ≤ number < ``settings.pairs``."""
        pair_id = make_pair_id(self.seed, number, *self.digests.values())
        rng = pair_rng(pair_id)
        row = int(rng.integers(len(self.sources)))
        source = FrameRef(row, int(rng.integers(len(self.sources.rows[row].frames))))
        if self.tracks:
            track = self.tracks[int(rng.integers(len(self.tracks)))]
            frame = int(rng.integers(len(track)))
            return PlannedPair(pair_id, source, track.expression[frame], track.name, frame)
        if rng.random() < NATURAL_SHARE:
            return PlannedPair(pair_id, source, natural(rng, 1)[0], "sampler/natural", number)
        expression = large_pose(rng) * np.float32(rng.uniform(0.3, 1.0) ** 0.5)
        return PlannedPair(pair_id, source, expression, "sampler/large", number)

    def shard(self, index: int) -> list[Pair]:
        """Every pair of one shard. The same whoever makes it: batches are cut within the shard."""
        first, last = shard_range(self.settings, index)
        plans = [self.plan(number) for number in range(first, last)]
        size = self.settings.batch_size
        return [pair for at in range(0, len(plans), size) for pair in self._draw(plans[at : at + size])]

    def _draw(self, plans: Sequence[PlannedPair]) -> Iterator[Pair]:
        face = self.reenactor
        frames = load_frames(self.sources, [plan.source for plan in plans], face.camera.size)
        device = face.model.mean.device
        expression = torch.from_numpy(np.stack([plan.expression for plan in plans]))
        images = face.express(frames["image"].to(device), expression.to(device))
        for plan, image, name in zip(plans, pictures.to_arrays(images), frames["sample_id"], strict=True):
            jpeg = pictures.encode_jpeg(image, self.settings.jpeg_quality)
            yield Pair(plan.pair_id, jpeg, plan.expression, name, plan.track, plan.frame)


def load_pair_maker(
    config: Config, model: FaceModel, folders: Mapping[str, str], device: torch.device | str = "cpu"
) -> PairMaker:
    """From the folders of ``prepare`` (or its URI), ``recnet`` and ``dcnet`` (local)."""
    networks = {name: load_network(folders[name], model).to(device) for name in ("recnet", "dcnet")}
    view: Camera = camera(config)
    return PairMaker(
        Reenactor(**networks, model=model.to(device), camera=view),
        training_clips(config, folders["prepare"]),
        read_captures(config.synthesis.captures) if config.synthesis.captures else (),
        config.synthesis,
        config.seed,
        {"face_model": model.digest} | {n: read_description(folders[n])["weights_sha256"] for n in networks},
    )


def shard_count(settings: SynthesisConfig) -> int:
    return -(-settings.pairs // settings.pairs_per_shard)


def shard_range(settings: SynthesisConfig, index: int) -> tuple[int, int]:
    """The first number of a shard's pairs and the one past its last."""
    first = index * settings.pairs_per_shard
    return first, min(first + settings.pairs_per_shard, settings.pairs)


def shard_name(index: int) -> str:
    return f"pairs-{index:06d}.parquet"
