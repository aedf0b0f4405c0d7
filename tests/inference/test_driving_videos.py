"""Driving videos: gaps are held and eased, cuts begin anew, one person is followed, rates are constant."""

from __future__ import annotations

import numpy as np
import pytest

from jr2net.face.parameters import FaceParameters
from jr2net.images.face_detector import Face
from jr2net.images.video import VideoShape
from jr2net.inference.control import DrivingOptions
from jr2net.inference.driving import VideoTracker, film_rate
from jr2net.inference.following import FaceChoice, FaceFollower
from jr2net.inference.messages import FaceArrays, Fit, ModelInfo
from jr2net.inference.photo import NoFaceError, Photo

GREY, WHITE = np.full((64, 96, 3), 60, np.uint8), np.full((64, 96, 3), 220, np.uint8)
LEFT, RIGHT = Face((4, 4, 34, 34)), Face((50, 4, 92, 46))


def face(jaw: float) -> FaceArrays:
    sizes = {"identity": 4, "albedo": 4, "expression": 51, "rotation": 3, "translation": 3, "light": 27}
    known = FaceParameters.__dataclass_fields__
    return {name: np.full(size, jaw, np.float32) for name, size in sizes.items() if name in known}


def fit(jaw: float) -> Fit:
    return Fit(face(jaw), np.zeros((68, 2), np.float32), ModelInfo("recnet", "", 64, 4.0))


SHOWN: list[Face] = []
"""The faces of the frame that is searched."""


def tracker(**options: bool) -> VideoTracker:
    return VideoTracker(10, DrivingOptions(smooth=False, **options), lambda image: list(SHOWN))


def located(tracker: VideoTracker, frames: list[tuple[np.ndarray, list[Face]]]) -> list[list[Photo]]:
    photos = []
    for image, faces in frames:
        SHOWN[:] = faces
        photos.append(tracker.locate(image))
    return photos


def test_a_late_face_stands_for_the_frames_before_it() -> None:
    late = tracker()
    assert [len(photos) for photos in located(late, [(GREY, []), (GREY, []), (GREY, [LEFT]), (GREY, [LEFT])])] == [
        0,
        0,
        3,
        1,
    ]
    late.finish()
    assert late.notes() == ("2 of 4 frames show no face; the face before is held",)


def test_a_video_without_any_face_is_refused_at_its_end() -> None:
    none = tracker()
    located(none, [(GREY, [])] * 3)
    with pytest.raises(NoFaceError, match="none of its 3 frames shows a face"):
        none.finish()


def test_a_face_that_is_found_again_is_eased_into() -> None:
    again = tracker()
    located(again, [(GREY, [LEFT]), (GREY, []), *[(GREY, [LEFT])] * 5])
    jaws = [float(again.track(fit(jaw))["expression"][0]) for jaw in (0.0, 0.0, 0.8, 0.8, 0.8, 0.8, 0.8)]
    assert jaws[1] == 0 and 0 < jaws[2] < jaws[3] < jaws[4] < 0.8 and jaws[5] == pytest.approx(0.8)


def test_a_cut_begins_relative_motion_anew() -> None:
    cut = tracker(relative=True)
    located(cut, [(GREY, [LEFT]), (GREY, [LEFT]), (WHITE, [RIGHT]), (WHITE, [RIGHT])])
    changes = []
    for jaw in (0.1, 0.3, 0.6, 0.7):
        moved = cut.track(fit(jaw))
        assert cut.reference is not None
        changes.append(float((moved["expression"] - cut.reference["expression"])[0]))
    assert changes == pytest.approx([0, 0.2, 0, 0.1], abs=1e-6)
    assert cut.notes() == ("1 cut, after which motion begins anew",)


def test_doubtful_frames_are_counted_once_each() -> None:
    """A face that is held counts no further, and one that stands for frames before it at its own instant."""
    doubted = tracker()
    located(doubted, [(GREY, []), (GREY, []), (GREY, [LEFT]), (GREY, []), (GREY, [LEFT]), (GREY, [LEFT])])
    for sure in (0.2, 0.2, 0.2, 0.2, 0.9, float("nan")):
        doubted.track(fit(0.1), sure)
    assert doubted.notes()[1].startswith("1 of 6 driving frames have a confidence below 0.5 (the first at 0.2 s): ")


def test_a_reference_that_is_set_holds_beyond_cuts() -> None:
    cut = tracker(relative=True)
    cut.set_reference(face(0.25))
    located(cut, [(GREY, [LEFT]), (WHITE, [RIGHT])])
    for jaw in (0.1, 0.6):
        cut.track(fit(jaw))
    assert cut.cuts == 1 and cut.reference is not None and cut.reference["expression"][0] == 0.25


def test_the_same_person_is_followed() -> None:
    followed = tracker()
    photos = located(followed, [(GREY, [LEFT]), (GREY, [RIGHT, LEFT]), (GREY, [RIGHT]), (GREY, [RIGHT, LEFT])])
    assert [photo.face.box for group in photos for photo in group] == [LEFT.box] * 4
    assert followed.unseen == 1


def test_a_face_is_followed_where_the_frames_change_their_size() -> None:
    followed = tracker()
    larger, face = np.full((128, 192, 3), 60, np.uint8), RIGHT.scaled(2)
    photos = located(followed, [(GREY, [RIGHT, LEFT]), (larger, [LEFT.scaled(2), face])])
    assert photos[1][0].face.box == face.box and followed.unseen == 0


def test_after_a_cut_the_index_counts_again() -> None:
    shown = {60: [RIGHT, LEFT], 220: [RIGHT, LEFT], 0: [RIGHT]}
    follow = FaceFollower(lambda image: shown[int(image[0, 0, 0])], 10, FaceChoice.of(1))
    photos = [follow(image).photo for image in (GREY, WHITE, np.zeros_like(GREY))]
    assert [photo.face.box for photo in photos if photo is not None] == [LEFT.box, LEFT.box, RIGHT.box]


class Detector:
    """Finds a head upside down, and a small face beside a large one, only where it is thorough."""

    def __init__(self, faces: list[Face], fast: list[Face]) -> None:
        self.faces, self.found, self.calls = faces, fast, 0

    def __call__(self, image: np.ndarray) -> list[Face]:
        self.calls += 1
        return self.faces

    def fast(self, image: np.ndarray) -> list[Face]:
        return self.found


def test_a_small_face_beside_a_large_one_is_chosen_by_a_thorough_search() -> None:
    detector = Detector([RIGHT, LEFT], [RIGHT])
    follow = FaceFollower(detector, 10, FaceChoice.of(1))
    first = follow(GREY).photo
    assert first is not None and first.face is LEFT and detector.calls == 1
    assert follow.notes() == ("face 1 of 2 is followed, 0 is the largest",)
    assert follow(GREY).photo is None and detector.calls == 1  # the other one is nobody's stand-in


def test_heads_upside_down_are_searched_for_now_and_then() -> None:
    detector = Detector([], [])
    follow = FaceFollower(detector, 10)
    for _ in range(12):
        follow(GREY)
    assert detector.calls == 3
    with pytest.raises(NoFaceError, match="video: none of its 12 frames shows a face"):
        follow.check_found()


def test_a_face_that_is_gone_is_searched_for_now_and_then() -> None:
    class Glancing(Detector):
        """Sees small faces only where it does more than glance."""

        looks, near = 0, [RIGHT]

        def fast(self, image: np.ndarray) -> list[Face]:
            self.looks += 1
            return self.found or self.near

        def glance(self, image: np.ndarray) -> list[Face]:
            return self.near if image.shape == GREY.shape else []

    detector = Glancing([RIGHT], [RIGHT])
    follow = FaceFollower(detector, 10)
    assert follow(GREY).photo is not None
    detector.faces = detector.found = detector.near = []
    for _ in range(100):
        assert follow(GREY).photo is None
    assert detector.looks < 60, "of 100 frames 3 and every fifth, near the last place and everywhere"
    detector.near = [RIGHT]
    assert follow(GREY).photo is not None, "a large face is seen at once"
    detector.near = []
    for _ in range(7):
        follow(GREY)
    detector.faces = detector.found = [LEFT]
    assert any(follow(GREY).photo for _ in range(30)), "a small one soon"


def test_a_choice_that_is_impossible_is_refused() -> None:
    with pytest.raises(NoFaceError, match="face -1: indices start at 0"):
        FaceChoice.of(-1)
    with pytest.raises(NoFaceError, match="give left, top, right, bottom"):
        FaceChoice.of(box=(5, 5, 5, 9))
    with pytest.raises(NoFaceError, match="none of its 1 frames shows a face in the box"):
        boxed = FaceFollower(lambda image: [LEFT], choice=FaceChoice.of(box=(50, 4, 92, 46)))
        boxed(GREY)
        boxed.check_found()
    with pytest.raises(NoFaceError, match="a video needs a face detector"):
        FaceFollower(None)


@pytest.mark.parametrize(
    ("fps", "regular", "rate"),
    [(10, True, 10), (29.97, True, 29.97), (30, True, 30), (50, True, 25), (59.94, True, 29.97), (120, True, 30),
     (90, True, 30), (40, True, 30), (34, False, 30), (8, False, 30)],
)  # fmt: skip
def test_rates_of_films(fps: float, regular: bool, rate: float) -> None:
    assert film_rate(VideoShape(64, 64, fps, regular=regular)) == pytest.approx(rate)
