"""Face detection: faces and landmarks are found; without the optional extra the error names the remedy."""

from __future__ import annotations

import numpy as np
import pytest

from jr2net.config import StudioConfig
from jr2net.face.procedural import build_procedural_face
from jr2net.images import mediapipe_detector
from jr2net.images.arrays import decode_image
from jr2net.images.crop import Crop
from jr2net.images.face_detector import (
    DETECTORS,
    DetectorError,
    Face,
    FaceDetector,
    detector_for_frames,
    load_face_detector,
)
from jr2net.studio.film import film_people

PLAIN = StudioConfig(test_frames=2, variety=0.0, detector_shrink=0.0, detector_noise=0.0)


@pytest.fixture(scope="module", params=DETECTORS)
def detector(request: pytest.FixtureRequest) -> FaceDetector:
    try:
        return load_face_detector(request.param)
    except DetectorError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def portrait() -> tuple[np.ndarray, np.ndarray]:
    """A synthetic person, (256, 256, 3), and the true 68 landmarks."""
    (row,) = film_people(build_procedural_face(), PLAIN, seed=5, first=0, count=1, kind="natural", size=256)
    image = decode_image(row.images[0])
    assert image is not None
    return image, row.landmarks[0]


def _error(face: Face, truth: np.ndarray) -> float:
    """Mean distance of the landmarks over that of the outer eye corners."""
    assert face.landmarks is not None
    distance = np.linalg.norm(face.landmarks - truth, axis=1).mean()
    return float(distance / np.linalg.norm(truth[36] - truth[45]))


def test_a_face_is_found_with_its_landmarks(detector, portrait):
    image, truth = portrait
    (face,) = detector(image)
    assert _error(face, truth) < 0.1
    assert face.box == pytest.approx((*face.landmarks.min(0), *face.landmarks.max(0)), abs=1e-2)
    wanted = Crop.from_landmarks(truth)
    assert face.crop().side == pytest.approx(wanted.side, rel=0.1)
    assert face.crop().center == pytest.approx(wanted.center, abs=0.05 * wanted.side)


def test_a_small_face_in_a_large_image_is_found(detector, portrait):
    image, truth = portrait
    large = np.full((1600, 2400, 3), 90, np.uint8)
    large[700:956, 1800:2056] = image
    (face,) = detector(large)
    assert _error(face, truth + np.array([1800, 700])) < 0.1


def test_a_head_on_its_side_is_cropped_upright(detector, portrait):
    image, _ = portrait
    turned = np.ascontiguousarray(np.rot90(image, -1))
    (face,) = detector(turned)
    assert face.roll() == pytest.approx(np.pi / 2, abs=0.2)
    upright = face.crop().apply(turned, 256)
    (again,) = detector(upright)
    assert abs(again.roll()) < 0.2


def test_a_head_upside_down_is_found_with_its_landmarks(detector, portrait):
    image, truth = portrait
    (face,) = detector(np.ascontiguousarray(np.rot90(image, 2)))
    assert abs(face.roll()) == pytest.approx(np.pi, abs=0.2)
    assert _error(face, 256 - truth) < 0.1


def test_a_small_face_beside_a_large_one_is_found(detector, portrait):
    image, truth = portrait
    both = np.full((512, 900, 3), 90, np.uint8)
    both[:, 388:] = np.repeat(np.repeat(image, 2, 0), 2, 1)
    both[200:328, 40:168] = image[::2, ::2]
    large, small = detector(both)
    assert large.box[0] > 388 and _error(small, truth / 2 + np.array([40, 200])) < 0.1
    frames = detector_for_frames(detector)
    assert frames is not None and frames(both)[0].box == pytest.approx(large.box, abs=5)
    assert detector_for_frames(None) is None and detector_for_frames(_error) is _error


def test_faces_are_sorted_by_size(detector, portrait):
    image, _ = portrait
    both = np.full((256, 512, 3), 90, np.uint8)
    both[64:192, :128] = image[::2, ::2]
    both[:, 256:] = image
    faces = detector(both)
    assert [face.box[0] > 256 for face in faces] == [True, False]
    assert faces[0].area > faces[1].area


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 4000, 3), (300, 200, 3)])
def test_images_without_faces_give_an_empty_list(detector, shape):
    assert detector(np.zeros(shape, np.uint8)) == []


def test_missing_models_raise_with_the_remedy(monkeypatch, tmp_path):
    monkeypatch.delenv(mediapipe_detector.MODELS_VARIABLE, raising=False)
    monkeypatch.setattr(mediapipe_detector.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DetectorError, match="make detector"):
        load_face_detector("mediapipe")
    with pytest.raises(DetectorError, match=r"face_detection_short_range\.tflite: does not exist"):
        load_face_detector("mediapipe", tmp_path)
    monkeypatch.setenv("JR2NET_DETECTOR", "mediapipe")
    with pytest.raises(DetectorError, match="make detector"):
        load_face_detector()
    monkeypatch.setenv("JR2NET_DETECTOR", "their")
    with pytest.raises(DetectorError, match="JR2NET_DETECTOR=their: there is no such detector; give own or mediapipe"):
        load_face_detector()


def test_a_box_is_cropped_like_landmarks():
    box = Face.from_box([10, 20, 110, 140])
    assert box.landmarks is None and box.score == 1
    assert box.crop() == Crop.from_landmarks(np.array([[10.0, 20], [110, 140]]))


@pytest.mark.parametrize("box", [(0, 0, 0, 10), (5, 5, 1, 10), (0, 0, float("nan"), 9), (0, 0, float("inf"), 9)])
def test_boxes_without_area_raise(box):
    with pytest.raises(ValueError, match="left, top, right, bottom"):
        Face.from_box(box)
