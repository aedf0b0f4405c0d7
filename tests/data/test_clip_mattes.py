"""Mattes in clip shards and beside them, in training batches and in evaluation frames."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from blob_clips import SIDE, blob_centre, blob_matte, make_row

from jr2net.config import Config, load, shipped_config
from jr2net.data import sets
from jr2net.data.clips import ClipLoader, ClipSource
from jr2net.data.evaluation_frames import load_frames, spaced_frames
from jr2net.data.mattes import matte_shard, read_matte_group, segmented, write_mattes
from jr2net.data.shards import list_shards, read_clips, write_clips
from jr2net.images.arrays import encode_matte
from jr2net.images.clip import ClipRow
from jr2net.storage.parquet import ShardError


def rows(mattes: bool) -> list[ClipRow]:
    return [make_row(n, 2 + n % 3, mattes=mattes) for n in range(6)]


def segment(image: np.ndarray) -> np.ndarray:
    """A stub: the brightness of the blob."""
    return np.clip((image[..., 0].astype(float) - 20) * 255 / 200, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``own``: clips with mattes; ``plain``: the same clips without; ``beside``: matte shards of ``plain``."""
    folder = tmp_path_factory.mktemp("clips")
    for name, mattes in (("own", True), ("plain", False)):
        write_clips(str(folder / name / "a.parquet"), rows(mattes)[:4])
        write_clips(str(folder / name / "b.parquet"), rows(mattes)[4:])
    for shard in ("a.parquet", "b.parquet"):
        write_mattes(
            str(folder / "plain" / shard),
            str(folder / "beside" / shard),
            segmented(str(folder / "plain" / shard), segment),
        )
    return folder


def test_mattes_round_trip(folder: Path, tmp_path: Path) -> None:
    own = list(read_clips(str(folder / "own" / "a.parquet")))
    assert [row.matte for row in own] == [row.matte for row in rows(True)[:4]]
    assert all(row.matte is None for row in read_clips(str(folder / "plain" / "a.parquet")))
    write_clips(str(tmp_path / "plain.parquet"), [replace(row, matte=None) for row in own])
    assert (tmp_path / "plain.parquet").read_bytes() == (folder / "plain" / "a.parquet").read_bytes()


def test_inconsistent_mattes_raise(tmp_path: Path) -> None:
    row = make_row(1, 3, mattes=True)
    assert row.matte is not None
    with pytest.raises(ShardError, match="'clip-1': 3 images and 2 mattes"):
        replace(row, matte=row.matte[:2])
    with pytest.raises(ShardError, match="some rows have mattes and some have not"):
        write_clips(str(tmp_path / "mixed.parquet"), [row, make_row(2, 2)])


@pytest.mark.parametrize("kind", ["own", "beside"])
@pytest.mark.parametrize("size", [40, 64, 128])
def test_mattes_are_augmented_like_their_images(folder: Path, kind: str, size: int) -> None:
    """The matte's blob stays on the image's through shrinking, shift, scale, roll and mirror, without colour gains."""
    source = ClipSource(str(folder / kind)) if kind == "own" else ClipSource(
        str(folder / "plain"), mattes=str(folder / "beside")
    )  # fmt: skip
    batch = ClipLoader(source, seed=1, batch_size=15, size=size, jitter=0.15, mattes=True).batch(0)
    for role in ("source", "driving"):
        mattes = batch[f"{role}_matte"]
        assert mattes.shape == (15, 1, size, size) and mattes.dtype == torch.float32
        assert mattes.min() >= 0 and 0.6 < mattes.max() <= 1
        for image, matte in zip(batch[f"{role}_image"], mattes):
            assert blob_centre(matte[0].numpy()) == pytest.approx(blob_centre(image[0].numpy()), abs=0.1)


def test_mattes_are_reflected_at_the_border_like_images(tmp_path: Path) -> None:
    row = make_row(0, 2)
    images = tuple(blob_matte(np.array([2.0, 64.0])) for _ in row.images)  # as an image, the same PNG is grey
    write_clips(str(tmp_path / "clips.parquet"), [replace(row, images=images, matte=images)])
    batch = ClipLoader(ClipSource(str(tmp_path)), seed=3, batch_size=2, size=64, jitter=0.3, mattes=True).batch(0)
    image, matte = batch["source_image"], batch["source_matte"]
    gain = (image.flatten(1).max(1).values / matte.flatten(1).max(1).values)[:, None, None]
    brightest = image.max(1).values  # of the channels: one gain per image, the largest
    assert torch.allclose(brightest, (matte[:, 0] * gain).clamp(max=1), atol=0.02)


def test_mattes_change_nothing_else(folder: Path) -> None:
    settings = {"seed": 5, "batch_size": 6, "size": 32}
    plain = ClipLoader(ClipSource(str(folder / "plain")), **settings)
    matted = ClipLoader(ClipSource(str(folder / "own")), **settings, mattes=True)
    for step in range(3):
        one, other = plain.batch(step), matted.batch(step)
        assert set(other) - set(one) == {"source_matte", "driving_matte"}
        for name, value in one.items():
            same = torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]
            assert same, name


def test_evaluation_frames_have_mattes_where_the_clips_have(folder: Path) -> None:
    own, plain = ClipSource(str(folder / "own")), ClipSource(str(folder / "plain"))
    refs = spaced_frames(own, own.frame_count)[:5]
    for size in (64, SIDE, 200):
        batch = load_frames(own, refs, size, mattes=True)
        assert batch["matte"].shape == (5, 1, size, size)
        for image, matte in zip(batch["image"], batch["matte"]):
            assert blob_centre(matte[0].numpy()) == pytest.approx(blob_centre(image[0].numpy()), abs=0.1)
    assert "matte" not in load_frames(own, refs, 64) and "matte" not in load_frames(plain, refs, 64, mattes=True)


def test_matte_shards_belong_to_their_clips(folder: Path, tmp_path: Path) -> None:
    source = ClipSource(str(folder / "plain"), mattes=str(folder / "beside"))
    copy = pickle.loads(pickle.dumps(source))
    assert all(copy.read_mattes(row) == source.read_mattes(row) != None for row in range(len(source)))  # noqa: E711
    assert source.split(3)[0].read_mattes(0) is not None
    write_clips(str(tmp_path / "other" / "a.parquet"), [make_row(9, 3)])
    mistaken = ClipSource(str(tmp_path / "other"), mattes=str(folder / "beside"))
    with pytest.raises(ShardError, match=r"beside/a\.parquet: has no mattes of clip 'clip-9'; run the stage"):
        mistaken.load_matte(0, 0, 64)
    missing = ClipSource(str(folder / "plain"), mattes=str(tmp_path))
    with pytest.raises(ShardError, match=r"a\.parquet: no such shard.*prepare the data again"):
        missing.load_matte(0, 0, 64)


def test_mattes_that_clips_have_are_copied(folder: Path, tmp_path: Path) -> None:
    def refuse(image: np.ndarray) -> np.ndarray:
        raise AssertionError("nothing to segment")

    shard = str(folder / "own" / "a.parquet")
    write_mattes(shard, matte_shard(str(tmp_path), shard), refuse)
    assert [row.matte for row in read_matte_group(str(tmp_path / "a.parquet"), 0)] == [
        row.matte for row in rows(True)[:4]
    ]
    assert read_matte_group(str(tmp_path / "a.parquet"), 1) == []


def test_missing_and_damaged_mattes_raise(folder: Path, tmp_path: Path) -> None:
    stream = iter(ClipLoader(ClipSource(str(folder / "plain")), seed=0, batch_size=2, size=32, mattes=True))
    with pytest.raises(ShardError, match=r"frame \d+: has no matte; the stage `mattes` makes them"):
        next(stream)
    row = make_row(3, 2, mattes=True)
    for name, damaged in (("bytes", b"no PNG"), ("side", encode_matte(np.zeros((64, 64), np.uint8)))):
        write_clips(str(tmp_path / name / "clips.parquet"), [replace(row, matte=(damaged, damaged))])
        with pytest.raises(ShardError, match=r"'clip-3', frame 10: matte is not a PNG of the image's side"):
            ClipSource(str(tmp_path / name)).load_matte(0, 0, SIDE)
    with pytest.raises(ShardError, match=r"frame 10: image is not a square JPEG or PNG"):
        write_clips(str(tmp_path / "broken.parquet"), [replace(make_row(3, 1), images=(b"",))])
        write_mattes(shard := str(tmp_path / "broken.parquet"), str(tmp_path / "m.parquet"), segmented(shard, segment))


def config(*overrides: str) -> Config:
    return load(shipped_config("smoke"), list(overrides))


def test_sets_that_the_studio_films() -> None:
    assert sets.studio_kinds(config()) == ["train", "natural", "large"]
    assert sets.studio_kinds(config("evaluation.turned=true"))[-1] == "turned"
    assert sets.studio_kinds(config("data.studio.captures=take.csv"))[-1] == "captured"


def test_given_clips_find_their_mattes_in_the_run(folder: Path, tmp_path: Path) -> None:
    prepare, mattes = str(tmp_path / "prepare"), str(tmp_path / "mattes")
    given = config(f"data.clips={folder / 'plain'}")
    for name, uri in sets.sets_with_mattes(given, prepare).items():
        for shard in list_shards(uri):
            write_mattes(shard, matte_shard(f"{mattes}/{name}", shard), segmented(shard, segment))
    for clips in (sets.training_clips(given, prepare, mattes), sets.test_clips(given, prepare, mattes)["held_out"]):
        assert clips.read_mattes(0) is not None
    assert sets.training_clips(given, prepare).read_mattes(0) is None
