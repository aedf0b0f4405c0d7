from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from blob_clips import blob_centre

from jr2net.data.shards import list_shards, read_clips
from jr2net.images.crop import Crop


def image_with_blob(width: int, height: int, point: tuple[float, float], sigma: float) -> np.ndarray:
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    blob = np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * sigma**2))
    return np.repeat((250 * blob)[..., None], 3, -1).astype(np.uint8)


def test_crop_follows_the_box_of_the_landmarks() -> None:
    landmarks = np.full((68, 2), np.nan)
    landmarks[:3] = [[10, 20], [110, 40], [60, 100]]
    crop = Crop.from_landmarks(landmarks)
    assert crop.side == pytest.approx(170)
    assert crop.center == pytest.approx((60, 60 - 8))
    assert crop.to_crop(np.array([[60.0, 52.0]]), 64) == pytest.approx(np.array([[32.0, 32.0]]))


def test_missing_landmarks_raise() -> None:
    with pytest.raises(ValueError, match="0 points detected"):
        Crop.from_landmarks(np.full((68, 2), np.nan))
    with pytest.raises(ValueError, match="positive side"):
        Crop((0, 0), 0)


@pytest.mark.parametrize("roll", [0.0, 0.3, -2.0])
@pytest.mark.parametrize(("side", "size"), [(300.0, 64), (130.0, 64), (64.0, 64), (40.0, 96)])
def test_pixels_and_points_are_transformed_alike(side: float, size: int, roll: float) -> None:
    crop = Crop((203.3, 151.7), side, roll)
    point = np.array([203.3 + 0.13 * side, 151.7 - 0.21 * side])
    image = image_with_blob(400, 300, (point[0], point[1]), sigma=max(2.0, 0.04 * side))
    cut = crop.apply(image, size)
    assert cut.shape == (size, size, 3)
    assert blob_centre(cut[..., 0].astype(float)) == pytest.approx(crop.to_crop(point, size), abs=0.1)
    assert crop.to_image(crop.to_crop(point, size), size) == pytest.approx(point, abs=1e-9)


def test_positive_roll_rights_a_head_tilted_clockwise() -> None:
    chin = np.array([100.0, 100.0]) + 50 * np.array([-np.sin(0.4), np.cos(0.4)])  # x right, y down, tilted by 0.4
    assert Crop((100, 100), 100, roll=0.4).to_crop(chin, 100) == pytest.approx([50.0, 100.0])


def test_whole_pixels_are_copied() -> None:
    image = np.random.default_rng(0).integers(0, 256, (80, 90, 3)).astype(np.uint8)
    assert np.array_equal(Crop((40, 32), 64).apply(image, 64), image[0:64, 8:72])


def test_outside_is_black() -> None:
    image = np.full((50, 50, 3), 200, np.uint8)
    cut = Crop((0, 0), 40).apply(image, 40)
    assert (cut[:19, :] == 0).all() and (cut[21:, 21:] == 200).all()
    assert not Crop((500, 500), 40).apply(image, 40).any()


@pytest.mark.parametrize(("side", "size"), [(40.0, 32), (40.0, 80), (80.0, 24)])
def test_outside_the_outermost_pixels_may_go_on(side: float, size: int) -> None:
    image = np.random.default_rng(0).integers(100, 256, (100, 100, 3)).astype(np.uint8)
    crop = Crop((8.0, 50.0), side)
    assert crop.leaves(image) and not Crop((50.0, 50.0), 100.0).leaves(image)
    black, continued = (crop.apply(image, size, each) for each in (False, True))
    edge = (side / 2 - 8) * size / side  # where the image begins
    outside, inside = int(edge) - 3, int(edge) + 4
    assert not black[:, :outside].any() and continued.min() > 50
    assert (continued[:, :outside] == continued[:, :1]).all()
    assert np.array_equal(black[:, inside:], continued[:, inside:])


def test_shrinking_averages() -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    cut = Crop((256, 256), 400).apply(stripes, 50)
    assert np.abs(cut.astype(int) - 127).max() <= 3


def test_shrinking_matches_area_resizing() -> None:
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (256, 256, 3)).astype(np.uint8), (0, 0), 3)
    cut = Crop((128, 128), 256).apply(image, 64)
    assert np.abs(cut.astype(int) - cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)).max() <= 1


@pytest.mark.parametrize("size", [64, 224])
def test_paste_back_puts_the_crop_where_it_was(size: int) -> None:
    y, x = np.mgrid[0:200, 0:240]
    image = np.stack([x, y, (x + y) / 2], -1).astype(np.uint8)
    crop = Crop((120.5, 101.0), 110.0, 0.2)
    back = crop.paste_back(image, crop.apply(image, size))
    assert np.abs(back.astype(int) - image).max() <= 4
    changed = crop.paste_back(image, np.full((size, size, 3), 255, np.uint8))
    assert np.array_equal(changed[0, 0], image[0, 0]) and (changed[101, 120] == 255).all()
    outside = np.abs(crop.to_crop(np.stack([x, y], -1).astype(float) + 0.5, 1.0) - 0.5).max(-1) > 0.52
    assert np.array_equal(changed[outside], image[outside])


def test_real_clips_match_this_crop(real_ground: Path) -> None:
    """They were prepared with this crop: the crop of their landmarks is about the whole image."""
    centres, sides = [], []
    for shard in list_shards(str(real_ground / "data" / "clips")):
        for row in read_clips(shard):
            crop = Crop.from_landmarks(row.landmarks[0])
            centres.append(crop.center)
            sides.append(crop.side)
    assert np.median(sides) == pytest.approx(256, abs=1)
    assert np.median(centres, axis=0) == pytest.approx([128, 128], abs=1)
