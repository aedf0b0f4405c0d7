import numpy as np
import pytest

from jr2net.images.face_detector import Face
from jr2net.inference.portrait import NoFaceError, take_portrait

PHOTO = np.random.default_rng(0).integers(0, 255, (80, 120, 3), np.uint8)
FACES = [Face((10, 10, 60, 70)), Face((70, 20, 100, 50))]


def test_the_largest_face_is_taken_unless_another_is_asked_for():
    assert take_portrait(PHOTO, lambda photo: FACES).face is FACES[0]
    second = take_portrait(PHOTO, lambda photo: FACES, which=1)
    assert second.face is FACES[1] and second.found == 2
    with pytest.raises(NoFaceError, match="face 2 was asked for, and 2 found"):
        take_portrait(PHOTO, lambda photo: FACES, which=2)


def test_a_box_needs_no_detector():
    portrait = take_portrait(PHOTO, None, (10, 10, 60, 70))
    assert portrait.crop == FACES[0].crop() and portrait.found == 0
    picture = portrait.picture(32)
    assert picture.shape == (1, 3, 32, 32) and picture.min() >= 0 and picture.max() <= 1


def test_without_a_detector_or_a_face_the_remedy_is_named():
    with pytest.raises(NoFaceError, match="box=left,top,right,bottom"):
        take_portrait(PHOTO, None)
    with pytest.raises(NoFaceError, match="no face was found"):
        take_portrait(PHOTO, lambda photo: [])


@pytest.mark.parametrize("box", [(200, 10, 260, 70), (0, -50, 40, -10), (0, 0, 5000, 5000)])
def test_boxes_outside_the_picture_are_refused(box):
    with pytest.raises(ValueError, match=r"120 × 80 pixels"):
        take_portrait(PHOTO, None, box)
