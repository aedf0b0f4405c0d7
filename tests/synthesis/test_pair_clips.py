"""Synthesised images as clips: whose they are, and what the detector reports of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from darkening_maker import SIZE, DarkeningGenerator, MakeMaker
from torch import Tensor

from jr2net.config import Config, load
from jr2net.data.pairs import read_pairs
from jr2net.data.shards import write_clips
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.images.face_detector import Face
from jr2net.render.renderer import landmarks_2d
from jr2net.storage import join
from jr2net.storage.parquet import ShardError
from jr2net.synthesis.pair_clips import DETECTION_SIDE, clips_of_shard, is_simulated
from jr2net.synthesis.shards import read_manifest, write_shard

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.yaml"


@dataclass
class PosedGenerator(DarkeningGenerator):
    """Fits the toy model, at a place that depends on the image."""

    model: FaceModel | None = None

    @property
    def reenactor(self) -> SimpleNamespace:
        return SimpleNamespace(model=self.model, camera=Camera.default(SIZE))

    def reconstruct(self, images: Tensor) -> FaceParameters:
        assert self.model is not None
        faces = self.model.neutral(len(images))
        shift = 40 * (images.mean((1, 2, 3)) - 0.5)
        return faces.replace(translation=torch.stack([shift, 0 * shift, torch.full_like(shift, 1080.0)], 1))


def settings(shrink: float, noise: float = 0.0) -> Config:
    studio = [f"data.studio.detector_shrink={shrink}", f"data.studio.detector_noise={noise}"]
    return load(SMOKE, [f"image_size={SIZE}", *studio])


@pytest.fixture
def maker(make_maker: MakeMaker, toy_model: FaceModel, tmp_path: Path):
    made = make_maker(generator=PosedGenerator(model=toy_model), pairs_per_source=2)
    for index in range(3):
        write_shard(str(tmp_path / "dataset"), index, made.shard(index))
    return made


def test_the_images_of_a_source_are_one_clip(maker, tmp_path: Path) -> None:
    folder = str(tmp_path / "dataset")
    rows = clips_of_shard(folder, 0, maker, settings(0.5), None)
    pairs = {pair.image: pair for pair in read_pairs(join(folder, read_manifest(folder, 0)["shard"]))}
    assert sorted(image for row in rows for image in row.images) == sorted(pairs)
    assert [len(row) for row in rows] == [2, 2]
    for row in rows:
        assert row.expression is not None
        assert {pairs[image].source_id for image in row.images} == {row.clip_id}
        for image, expression in zip(row.images, row.expression):
            assert np.array_equal(pairs[image].expression, expression)
    write_clips(str(tmp_path / "clips.parquet"), rows)


def test_without_bias_and_noise_the_landmarks_are_those_of_the_requested_face(
    maker, toy_model: FaceModel, tmp_path: Path
) -> None:
    for row in clips_of_shard(str(tmp_path / "dataset"), 1, maker, settings(0), None):
        source = next(n for n in range(len(maker.sources)) if maker.sources.name(n) == row.clip_id)
        image = torch.from_numpy(maker.sources.read(source).image).permute(2, 0, 1)[None] / 255
        face = maker.generator.reconstruct(image)
        for landmarks, expression in zip(row.landmarks, row.expression):
            shown = face.replace(expression=torch.from_numpy(expression)[None])
            expected = landmarks_2d(toy_model, shown, Camera.default(SIZE))[0].numpy()
            assert landmarks == pytest.approx(expected, abs=1e-3)


def test_the_detector_shrinks_them_towards_neutral(maker, tmp_path: Path) -> None:
    folder = str(tmp_path / "dataset")
    exact, shrunk, full = (
        np.concatenate([row.landmarks for row in clips_of_shard(folder, 0, maker, settings(shrink), None)])
        for shrink in (0, 0.5, 1)
    )
    assert shrunk == pytest.approx((exact + full) / 2, abs=1e-3)
    assert np.abs(exact - full).max() > 0.1


def test_its_noise_is_a_function_of_the_pair(maker, tmp_path: Path) -> None:
    folder = str(tmp_path / "dataset")
    one, other = ([row.landmarks for row in clips_of_shard(folder, 0, maker, settings(0, 0.02), None)] for _ in "ab")
    assert all(np.array_equal(a, b) for a, b in zip(one, other))
    without = [row.landmarks for row in clips_of_shard(folder, 0, maker, settings(0), None)]
    assert not np.array_equal(one[0], without[0])


def test_a_detector_reads_the_images_themselves(maker, tmp_path: Path) -> None:
    found = np.full((68, 2), DETECTION_SIDE / 4, np.float32)
    calls: list[tuple[int, ...]] = []

    def detect(image: np.ndarray, /) -> list[Face]:
        calls.append(image.shape)
        return [Face((0, 0, 9, 9), 1.0, found)] if len(calls) % 2 else []

    rows = clips_of_shard(str(tmp_path / "dataset"), 0, maker, settings(0.5), detect)
    landmarks = np.concatenate([row.landmarks for row in rows])
    assert calls[0] == (DETECTION_SIDE, DETECTION_SIDE, 3)
    assert np.allclose(landmarks[0::2], SIZE / 4) and np.isnan(landmarks[1::2]).all()


def test_pairs_of_another_plan_are_an_error(maker, make_maker: MakeMaker, toy_model: FaceModel, tmp_path: Path) -> None:
    other = make_maker(generator=PosedGenerator(model=toy_model), seed=1)
    with pytest.raises(ShardError, match="it belongs to another dataset"):
        clips_of_shard(str(tmp_path / "dataset"), 0, other, settings(0), None)


@pytest.mark.parametrize(
    ("overrides", "simulated"), [([], True), (["data.clips=/clips"], False), (["synthesis.sources=/photos"], False)]
)
def test_only_the_studios_images_have_a_simulated_detector(overrides: list[str], simulated: bool) -> None:
    assert is_simulated(load(SMOKE, overrides)) == simulated
