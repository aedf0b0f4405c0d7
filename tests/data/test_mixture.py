"""Clips and synthesised images in one batch, whoever has which part of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from blob_clips import make_row

from jr2net.data.clips import ClipLoader, ClipSource
from jr2net.data.mixture import MixedLoader
from jr2net.data.shards import read_clips, write_clips
from jr2net.face.arkit import MIRROR_ORDER
from jr2net.storage.parquet import ShardError

SETTINGS = {"seed": 0, "size": 32, "jitter": 0.0}


@pytest.fixture
def images(tmp_path: Path) -> ClipSource:
    """Three clips of synthesised images, each with coefficients of its own."""
    rows = [replace(make_row(n, 2), expression=np.full((2, 51), (n + 1) / 10, np.float32)) for n in range(3)]
    write_clips(str(tmp_path / "pairs.parquet"), rows)
    return ClipSource(str(tmp_path / "pairs.parquet"))


def test_expressions_are_stored_with_the_clips(images: ClipSource, clip_folder: Path) -> None:
    row = next(iter(read_clips(images.rows[0].shard)))
    assert row.expression is not None and row.expression.shape == (2, 51) and row.truth is None
    assert next(iter(read_clips(str(clip_folder / "clips-00000.parquet")))).expression is None


def test_ground_truth_is_no_expression_of_a_synthesised_image(truth_folder: Path) -> None:
    row = next(iter(read_clips(str(truth_folder / "people.parquet"))))
    assert row.truth is not None and row.expression is None


def test_a_batch_has_so_many_of_each(images: ClipSource, clip_folder: Path) -> None:
    batch = MixedLoader(ClipSource(str(clip_folder)), images, batch_size=5, synthesised=2, **SETTINGS).batch(0)
    assert batch["source_image"].shape == (5, 3, 32, 32) and batch["driving_landmarks"].shape == (5, 68, 2)
    for role in ("source", "driving"):
        expression = batch[f"{role}_expression"]
        assert expression[:3].isnan().all() and expression[3:].isfinite().all()
    assert batch["position"].tolist() == [0, 1, 2, 3, 4]
    assert len(batch["sample_id"]) == 5


def test_the_workers_parts_make_the_global_batch(images: ClipSource, clip_folder: Path) -> None:
    def at(rank: int, world: int) -> dict:
        clips = ClipSource(str(clip_folder))
        loader = MixedLoader(clips, images, batch_size=7, synthesised=3, rank=rank, world=world, **SETTINGS)
        return loader.batch(2)

    whole, parts = at(0, 1), [at(rank, 2) for rank in range(2)]
    positions = torch.cat([part["position"] for part in parts])
    assert sorted(positions.tolist()) == list(range(7))
    for name in ("source_image", "driving_landmarks", "source_expression"):
        joined = torch.cat([part[name] for part in parts])[positions.argsort()]
        assert torch.equal(joined.nan_to_num(-1), whole[name].nan_to_num(-1))


def test_iterating_makes_the_same_batches(images: ClipSource, clip_folder: Path) -> None:
    loader = MixedLoader(ClipSource(str(clip_folder)), images, batch_size=4, synthesised=1, start_step=3, **SETTINGS)
    stream = iter(loader)
    first = next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert first["sample_id"] == loader.batch(3)["sample_id"]


def test_expressions_are_mirrored_with_their_images(tmp_path: Path) -> None:
    expression = np.arange(51, dtype=np.float32)[None] / 51
    write_clips(str(tmp_path / "pairs.parquet"), [replace(make_row(0, 1), expression=expression)])
    source = ClipSource(str(tmp_path / "pairs.parquet"))
    loader = ClipLoader(source, batch_size=1, expressions=True, **SETTINGS)
    seen = {tuple(loader.batch(step)["source_expression"][0].tolist()) for step in range(20)}
    assert seen == {tuple(expression[0].tolist()), tuple(expression[0][list(MIRROR_ORDER)].tolist())}


def test_clips_without_expressions_are_an_error(clip_folder: Path) -> None:
    loader = ClipLoader(ClipSource(str(clip_folder)), batch_size=2, expressions=True, **SETTINGS)
    with pytest.raises(ShardError, match="has no truth_expression: it was not synthesised"):
        loader.batch(0)


def test_a_shard_has_expressions_in_every_row_or_in_none(tmp_path: Path) -> None:
    rows = [make_row(0, 1), replace(make_row(1, 1), expression=np.zeros((1, 51), np.float32))]
    with pytest.raises(ShardError, match="some rows have expressions and some have not"):
        write_clips(str(tmp_path / "pairs.parquet"), rows)
