"""What is pasted stays where it belongs, and a generated crop that changes nothing gives the photo back."""

from dataclasses import replace

import numpy as np
import pytest

from jr2net.face.camera import Camera
from jr2net.images.crop import Crop
from jr2net.inference.compositing import composite, draw_mesh, paste
from jr2net.inference.messages import GeneratedCrop

SMALL = 32


def _photo(height: int = 240, width: int = 320) -> np.ndarray:
    """Soft colours with fine stripes, which 32 pixels cannot hold."""
    y, x = np.mgrid[:height, :width]
    soft = np.stack([60 + x / 4, 80 + y / 4, 120 - x / 8], -1)
    return (soft + 20 * np.sin(1.3 * x)[..., None]).clip(0, 255).astype(np.uint8)


def _still(photo: np.ndarray, crop: Crop) -> GeneratedCrop:
    """A crop that moves nothing: what a perfect generator gives back for the source's own expression."""
    y, x = np.mgrid[:SMALL, :SMALL] + 0.5
    disc = (((x - 16) ** 2 + (y - 16) ** 2) < 100).astype(np.float32)
    return GeneratedCrop(crop.apply(photo, SMALL), np.stack([x, y], -1).astype(np.float32), disc, disc, 0 * disc)


@pytest.mark.parametrize("roll", [0.0, 0.6])
def test_fine_detail_of_the_photo_survives(roll):
    photo, crop = _photo(), Crop((150.0, 120.0), 160.0, roll)
    generated = _still(photo, crop)
    result = composite(photo, crop, generated, whole=False)
    middle = np.s_[100:140, 130:170]
    assert np.abs(result[middle].astype(int) - photo[middle]).mean() < 5
    nothing_known = GeneratedCrop(
        generated.image, generated.position, 0 * generated.covisible, generated.changed, generated.kept
    )
    blurred = composite(photo, crop, nothing_known, whole=False)
    assert np.abs(blurred[middle].astype(int) - photo[middle]).mean() > 10


def test_beyond_the_face_no_pixel_changes():
    photo, crop = _photo(), Crop((150.0, 120.0), 160.0)
    generated = _still(photo, crop)
    black = GeneratedCrop(
        0 * generated.image, generated.position, 0 * generated.covisible, generated.changed, generated.kept
    )
    result = composite(photo, crop, black, whole=False)
    y, x = np.mgrid[:240, :320]
    distance = np.hypot(x - 150, y - 120) / 5  # in pixels of the crop
    assert np.array_equal(result[distance > 15], photo[distance > 15])
    assert result[distance < 8].max() < 10
    whole = composite(photo, crop, black, whole=True)
    assert whole[60, 150].max() < 10 and np.array_equal(whole[:, 240:], photo[:, 240:])


def test_what_the_reenactor_kept_stays_the_photos_own():
    photo, crop = _photo(), Crop((150.0, 120.0), 160.0)
    generated = _still(photo, crop)
    kept = np.zeros((SMALL, SMALL), np.float32)
    kept[:, : SMALL // 2] = 1
    result = composite(photo, crop, replace(generated, image=0 * generated.image, kept=kept), whole=True)
    assert np.array_equal(result[:, :145], photo[:, :145])
    assert np.abs(result[120, 170:200].astype(int) - photo[120, 170:200]).mean() > 50


def test_pasting_is_the_same_wherever_the_square_reaches():
    photo = _photo()
    for crop in (Crop((10.0, 20.0), 90.0, 0.3), Crop((310.5, 230.25), 64.0), Crop((-500.0, 0.0), 50.0)):
        picture = np.full((64, 64, 3), 200, np.uint8)
        assert np.abs(paste(photo, crop, picture).astype(int) - crop.paste_back(photo, picture)).max() <= 1


def test_a_mesh_is_drawn_where_the_face_is(toy_model):
    photo, crop, camera = _photo(), Crop((150.0, 120.0), 160.0), Camera.default(SMALL)
    drawn = draw_mesh(photo, crop, toy_model, toy_model.neutral(1), camera)
    assert np.abs(drawn[120, 150].astype(int) - photo[120, 150]).max() > 15
    assert np.array_equal(drawn[:30], photo[:30]) and drawn.shape == photo.shape
