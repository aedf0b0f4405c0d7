"""Segmentation of real photos: people are found; without the optional extra the error names the remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jr2net.config import StudioConfig
from jr2net.data.shards import list_shards, read_clips
from jr2net.face.model import FaceModel
from jr2net.images import mediapipe_detector
from jr2net.images.arrays import decode_image, decode_matte
from jr2net.images.segmentation import Segmenter, SegmenterError, load_segmenter
from jr2net.studio.film import film_people

PLAIN = StudioConfig(frames=1, variety=0.0)


@pytest.fixture(scope="module")
def segment() -> Segmenter:
    try:
        return load_segmenter()
    except SegmenterError as error:
        pytest.skip(str(error))


def test_people_of_the_studio_are_found(segment: Segmenter, procedural_model: FaceModel) -> None:
    """A weak check, because the model was trained on photographs: its mattes overlap with the exact ones."""
    overlaps = []
    for row in film_people(procedural_model, PLAIN, 5, 0, 12, "train", 256, mattes=True):
        image, truth = decode_image(row.images[0]), decode_matte((row.matte or ())[0])
        assert image is not None and truth is not None
        found = segment(image)
        assert found.shape == truth.shape and found.dtype == np.uint8
        overlaps.append(((found > 127) & (truth > 127)).sum() / ((found > 127) | (truth > 127)).sum())
    assert np.median(overlaps) > 0.85


def test_people_in_real_clips_are_found(segment: Segmenter, real_ground: Path) -> None:
    """The face is the person's, the upper corners mostly are not."""
    faces, corners = [], []
    for shard in list_shards(str(real_ground / "data" / "clips"))[:3]:
        for row in list(read_clips(shard))[::8]:
            image = decode_image(row.images[0])
            assert image is not None
            matte = segment(image)
            x, y = row.landmarks[0, 27:68].clip(0, 255).astype(int).T
            faces.append(matte[y, x].mean())
            corners.append(matte[:20, [*range(20), *range(-20, 0)]].mean())
    assert np.median(faces) > 250 and np.mean(faces) > 230
    assert np.median(corners) < 30


@pytest.mark.parametrize("shape", [(1, 1), (64, 64), (300, 200)])
def test_black_images_show_nobody(segment: Segmenter, shape: tuple[int, int]) -> None:
    assert not segment(np.zeros((*shape, 3), np.uint8)).any()


def test_black_borders_are_no_person(segment: Segmenter, procedural_model: FaceModel) -> None:
    (row,) = film_people(procedural_model, PLAIN, 5, 0, 1, "train", 96)
    image = decode_image(row.images[0])
    assert image is not None
    framed = np.zeros((128, 128, 3), np.uint8)
    framed[:96, 20:116] = image
    matte = segment(framed)
    assert not matte[96:].any() and not matte[:, :20].any() and not matte[:, 116:].any()
    assert np.abs(matte[:96, 20:116].astype(int) - segment(image)).mean() < 3


def test_missing_models_raise_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(mediapipe_detector.MODELS_VARIABLE, raising=False)
    monkeypatch.setattr(mediapipe_detector.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SegmenterError, match=r"make detector.*reenactor=dcnet"):
        load_segmenter()
    with pytest.raises(SegmenterError, match=r"selfie_segmentation\.tflite: does not exist; give the folder"):
        load_segmenter(tmp_path)
    (tmp_path / "selfie_segmentation.tflite").write_bytes(b"no model")
    with pytest.raises(SegmenterError, match=r"selfie_segmentation\.tflite: cannot be read .*make detector"):
        load_segmenter(tmp_path)
