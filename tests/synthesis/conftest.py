"""Fixtures: clips of three people, and pair makers that use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from darkening_maker import SETTINGS, SIZE, DarkeningGenerator, MakeMaker

from jr2net.data.clips import ClipSource
from jr2net.data.shards import write_clips
from jr2net.data.sources import ClipFrames, Sources
from jr2net.expressions.tracks import Track
from jr2net.images.arrays import encode_jpeg
from jr2net.images.clip import ClipRow
from jr2net.synthesis.maker import PairMaker
from jr2net.synthesis.plan import Plan
from jr2net.synthesis.source_order import SourceOrder


@pytest.fixture
def clips(tmp_path: Path) -> str:
    """A shard of three people of two frames each."""
    rng = np.random.default_rng(0)
    rows = []
    for person in range(3):
        images = [cv2.resize(rng.integers(0, 255, (4, 4, 3), np.uint8), (SIZE, SIZE)) for _ in range(2)]
        rows.append(
            ClipRow(
                clip_id=f"clip {person}",
                identity=f"person {person}",
                fps=25.0,
                frame=np.arange(2, dtype=np.int32),
                images=tuple(encode_jpeg(image) for image in images),
                landmarks=np.zeros((2, 68, 2), np.float32),
                license="CC0",
            )
        )
    write_clips(f"{tmp_path}/clips.parquet", rows)
    return f"{tmp_path}/clips.parquet"


@pytest.fixture
def make_maker(clips: str) -> MakeMaker:
    """make_maker(tracks=…, seed=…, digests=…, sources=…, generator=…, driving=…, setting=value …) -> PairMaker."""

    def make(
        tracks: tuple[Track, ...] = (),
        seed: int = 0,
        digests: dict[str, str] | None = None,
        sources: Sources | None = None,
        generator: Any = None,
        driving: Sources | None = None,
        **settings: Any,
    ) -> PairMaker:
        synthesis = SETTINGS.model_copy(update=settings)
        source_images = sources if sources is not None else ClipFrames(ClipSource(clips), SIZE)
        used_digests = {"recnet": "abc"} if digests is None else digests
        driving_order = SourceOrder.of(driving) if driving is not None else None
        plan = Plan(synthesis, seed, SourceOrder.of(source_images), used_digests, tracks, driving_order)
        return PairMaker(generator or DarkeningGenerator(), source_images, plan, synthesis, driving)

    return make
