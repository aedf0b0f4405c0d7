"""A run whose clips are coloured noise and whose networks are untrained and tiny: all that synthesis needs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from jr2net.config import Config, load
from jr2net.data.shards import write_clips
from jr2net.images.arrays import encode_jpeg
from jr2net.images.clip import ClipRow
from jr2net.networks.checkpoint import save_network
from jr2net.networks.dcnet import DCNet
from jr2net.networks.recnet import RecNet
from jr2net.run import manifest
from jr2net.run.cascade import NETWORK_FILES, Run

SMOKE = str(Path(__file__).parents[2] / "configs" / "smoke.yaml")
PEOPLE, FRAMES = 40, 3


def make_upstream(storage: str, *overrides: str) -> Config:
    """Writes finished stages before synthesis to ``storage``; returns the run's configuration."""
    config = load(SMOKE, [f"storage={storage}", "recnet.backbone.layers=10", *overrides])
    run = Run(config)
    manifest.begin(run.folder("prepare"), run.inputs("prepare"))
    for shard in range(2):
        write_clips(f"{run.folder('prepare')}/train/people-{shard}.parquet", noise_clips(shard, config.image_size))
    shards = [f"train/people-{shard}.parquet" for shard in range(2)]
    manifest.finish(run.folder("prepare"), run.inputs("prepare"), shards, 0.0)
    torch.manual_seed(0)
    networks = {"recnet": RecNet(run.model.sizes, config.recnet.backbone), "dcnet": DCNet(config.dcnet)}
    for stage, network in networks.items():
        with torch.no_grad():  # heads are initialised with zeros; noise makes images and scores differ
            for parameter in network.parameters():
                parameter.add_(0.01 * torch.randn(parameter.shape))
        manifest.begin(run.folder(stage), run.inputs(stage))
        seen_through = {"image_size": config.image_size, "focal_ratio": config.face.focal_ratio}
        save_network(network, run.folder(stage), seen_through, run.model.digest, {})
        manifest.finish(run.folder(stage), run.inputs(stage), NETWORK_FILES, 0.0)
    return config


def noise_clips(seed: int, size: int) -> list[ClipRow]:
    rng = np.random.default_rng(seed)
    return [
        ClipRow(
            clip_id=f"clip-{seed}-{person}",
            identity=f"person-{seed}-{person}",
            fps=25.0,
            frame=np.arange(FRAMES, dtype=np.int32),
            images=tuple(encode_jpeg(blotches(rng, size)) for _ in range(FRAMES)),
            landmarks=np.zeros((FRAMES, 68, 2), np.float32),
            license="CC0",
        )
        for person in range(PEOPLE // 2)
    ]


def blotches(rng: np.random.Generator, size: int) -> np.ndarray:
    """(size, size, 3) uint8 of soft colours."""
    return cv2.resize(rng.integers(30, 225, (4, 4, 3), np.uint8), (size, size), interpolation=cv2.INTER_CUBIC)
