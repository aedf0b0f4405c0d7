import numpy as np
import pytest

from jr2net.images.face_detector import Face
from jr2net.inference.photo import NoFaceError, Photo

PHOTO = np.random.default_rng(0).integers(0, 255, (80, 120, 3), np.uint8)
FACES = [Face((10, 10, 60, 70)), Face((70, 20, 100, 50))]


def test_the_largest_face_is_the_default():
    assert Photo.from_image(PHOTO, detector=lambda photo: FACES).face is FACES[0]
    second = Photo.from_image(PHOTO, face=1, detector=lambda photo: FACES)
    assert second.face is FACES[1] and second.faces_found == 2
    with pytest.raises(NoFaceError, match="face 2 was requested, but 2 were found"):
        Photo.from_image(PHOTO, face=2, detector=lambda photo: FACES)


def test_a_box_needs_no_detector():
    photo = Photo.from_image(PHOTO, box=(10, 10, 60, 70))
    assert photo.crop == FACES[0].crop() and photo.faces_found == 0
    crop = photo.crop_tensor(32)
    assert crop.shape == (1, 3, 32, 32) and crop.min() >= 0 and crop.max() <= 1


def test_without_a_detector_or_a_face_the_error_names_the_remedy():
    with pytest.raises(NoFaceError, match="box=left,top,right,bottom"):
        Photo.from_image(PHOTO)
    with pytest.raises(NoFaceError, match="no face was found"):
        Photo.from_image(PHOTO, detector=lambda photo: [])


@pytest.mark.parametrize("box", [(200, 10, 260, 70), (0, -50, 40, -10), (0, 0, 5000, 5000)])
def test_boxes_outside_the_image_are_rejected(box):
    with pytest.raises(NoFaceError, match=r"120 × 80 pixels"):
        Photo.from_image(PHOTO, box=box)
