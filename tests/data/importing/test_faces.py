"""Faces found, followed and judged: poses, clips, crops, gates, duplicates."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from miniatures import find_red, landmarks_of, picture

from jr2net.data.importing.duplicates import BITS, clip_hash, find_duplicates, perceptual_hash
from jr2net.data.importing.following import Follower, Sight, overlap
from jr2net.data.importing.pose import five_of, head_rotation, landmarks_from_five, mean_face
from jr2net.data.importing.settings import Gates
from jr2net.data.importing.shots import failed_gate, sharpness, shots, smoothed_crops
from jr2net.data.readers.layout import Frame
from jr2net.images.crop import Crop


def turned(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """The mean face's landmarks in a picture, by rotations about one axis each."""
    points = mean_face()
    for (i, j), angle in zip(((1, 2), (2, 0), (0, 1)), (pitch, yaw, roll)):
        a, b = points[:, i].copy(), points[:, j].copy()
        points = points.copy()
        points[:, i], points[:, j] = np.cos(angle) * a - np.sin(angle) * b, np.sin(angle) * a + np.cos(angle) * b
    return points[:, :2] * [1.3, -1.3] + [200, 180]


@pytest.mark.parametrize("pose", [(0, 0, 0), (0.3, 0, 0), (0, 0.9, 0), (0, 0, -0.5), (-0.2, -0.6, 0.3)])
def test_the_pose_of_a_turned_face_is_found(pose: tuple[float, float, float]) -> None:
    landmarks = turned(*pose)
    assert head_rotation(landmarks) == pytest.approx(pose, abs=1e-6)
    assert head_rotation(five_of(landmarks)) == pytest.approx(pose, abs=1e-6)
    assert landmarks_from_five(five_of(landmarks)) == pytest.approx(landmarks, abs=1e-3)


def test_the_pose_does_without_some_landmarks() -> None:
    landmarks = turned(0, 0.4, 0)
    landmarks[3:9] = np.nan
    assert head_rotation(landmarks) == pytest.approx((0, 0.4, 0), abs=1e-6)


def test_gates_name_what_is_wrong() -> None:
    gates = Gates(size=50, yaw=60)
    assert failed_gate(turned(0, 0.5, 0), gates) == ""
    assert failed_gate(turned(0, -1.2, 0), gates) == "profile"
    assert failed_gate(turned(0, 0, 0) / 10, gates) == "small"


def test_sharpness_falls_with_blur_and_with_enlargement() -> None:
    sharp = picture(128, 128, (64, 64, 80))
    small = cv2.resize(cv2.resize(sharp, (24, 24), interpolation=cv2.INTER_AREA), (128, 128))
    for worse in (cv2.GaussianBlur(sharp, (0, 0), 3), small):
        assert sharpness(worse) < 0.4 * sharpness(sharp)
    dark = (sharp * 0.5).astype(np.uint8)
    assert sharpness(dark) == pytest.approx(sharpness(sharp), rel=0.1)


def follow(frames: list[Frame], still: bool = False) -> list[Sight]:
    follower = Follower(find_red, still)
    return [follower(frame) for frame in frames]


def test_one_face_is_followed_though_a_larger_one_appears() -> None:
    frames = []
    for number in range(6):
        image = picture(240, 120, (40 + number, 60, 50))
        if number > 2:
            image[20:100, 140:220] = picture(80, 80, (40, 40, 70))
        frames.append(Frame(number, image))
    sights = follow(frames)
    assert not any(sight.begins for sight in sights)
    assert [sight.landmarks[:, 0].mean() for sight in sights if sight.landmarks is not None] == pytest.approx(
        np.arange(40, 46), abs=2
    )


def test_a_cut_and_another_face_begin_clips() -> None:
    room = [Frame(n, picture(160, 120, (60, 60, 50), seed=1)) for n in range(4)]
    bright = [Frame(n, 255 - picture(160, 120, None, seed=5)) for n in range(4, 6)]
    for frame in bright:
        frame.image[35:85, 35:85] = picture(50, 50, (25, 25, 50))
    elsewhere = [Frame(n, picture(160, 120, (120, 60, 50), seed=1)) for n in range(6, 8)]
    clips = shots(follow(room + bright + elsewhere), rate=25)
    assert [[sight.number for sight in clip] for clip in clips] == [[0, 1, 2, 3], [4, 5], [6, 7]]


def test_a_short_loss_does_not_end_a_clip_and_a_long_one_does() -> None:
    def clips(lost: int) -> list[list[int]]:
        seen = [*range(3), *range(3 + lost, 6 + lost)]
        face = landmarks_of((50, 50, 40))
        sights = [Sight(number, face if number in seen else None) for number in range(6 + lost)]
        return [[sight.number for sight in clip] for clip in shots(sights, rate=25)]

    assert clips(3) == [[0, 1, 2, 6, 7, 8]]
    assert clips(10) == [[0, 1, 2], [13, 14, 15]]


def test_a_box_tells_which_face_is_meant() -> None:
    image = picture(240, 120, (40, 60, 50))
    image[20:100, 140:220] = picture(80, 80, (40, 40, 70))
    (sight,) = follow([Frame(0, image, box=(10, 30, 70, 90))])
    assert sight.landmarks is not None and sight.landmarks[:, 0].mean() == pytest.approx(40, abs=2)
    assert follow([Frame(0, image, box=(80, 30, 130, 90))])[0].landmarks is None


def test_five_points_choose_the_detected_face_or_are_fitted() -> None:
    image = picture(240, 120, (40, 60, 50))
    image[20:100, 140:220] = picture(80, 80, (40, 40, 70))
    near = five_of(landmarks_of((41, 60, 50)))
    (sight,) = follow([Frame(0, image, points=near)], still=True)
    assert sight.landmarks == pytest.approx(landmarks_of((40, 60, 50)), abs=3)
    elsewhere = five_of(landmarks_of((100, 60, 30)))
    (sight,) = follow([Frame(0, image, points=elsewhere)], still=True)
    assert sight.landmarks is not None
    assert five_of(sight.landmarks) == pytest.approx(elsewhere, abs=3)
    assert sight.landmarks == pytest.approx(landmarks_from_five(elsewhere))


def test_crops_of_a_video_are_smooth_and_follow_the_face() -> None:
    rng = np.random.default_rng(0)
    path = [landmarks_of((80 + n, 60, 50)) + rng.normal(0, 1, (1, 2)).astype(np.float32) for n in range(60)]
    raw = [Crop.from_landmarks(points) for points in path]
    smooth = smoothed_crops(path, np.arange(60) / 25)

    def jitter(crops: list[Crop]) -> float:
        return float(np.std(np.diff([crop.center[0] for crop in crops])))

    assert jitter(smooth) < 0.2 * jitter(raw)
    assert all(abs(a.center[0] - b.center[0]) < 5 for a, b in zip(smooth, raw))
    assert all(a.center[0] <= b.center[0] + 0.5 for a, b in pairwise(smooth))


def test_a_tilted_head_is_turned_upright_for_a_whole_clip() -> None:
    tilted = [landmarks_of((0, 0, 50)) @ np.array([[0.0, 1.0], [-1.0, 0.0]], np.float32) + 100 for _ in range(3)]
    assert {round(crop.roll, 3) for crop in smoothed_crops(tilted, np.arange(3) / 25)} == {round(np.pi / 2, 3)}


def test_boxes_overlap() -> None:
    assert overlap((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 10, 10), (20, 0, 30, 10)) == 0


def hashed(*images: np.ndarray) -> str:
    return clip_hash([perceptual_hash(image) for image in images])


def test_duplicates_are_found_after_storing_anew_and_the_largest_is_kept() -> None:
    people = [picture(128, 128, (64, 64, 70), seed=seed) for seed in range(6)]
    stored = cv2.imdecode(cv2.imencode(".jpg", people[2], [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_COLOR)
    smaller = cv2.resize(cv2.resize(people[4], (90, 90), interpolation=cv2.INTER_AREA), (128, 128))
    hashes = [hashed(image) for image in [*people, stored, smaller]]
    assert find_duplicates(hashes, [70] * 6 + [90, 40]) == {2: 6, 7: 4}


def test_clips_that_begin_alike_are_no_duplicates() -> None:
    a, b, c = (picture(128, 128, (64, 64, 70), seed=seed) for seed in range(3))
    assert find_duplicates([hashed(a, b), hashed(a, c)], [1, 1]) == {} == find_duplicates([], [])
    assert find_duplicates([hashed(a, b), hashed(a, b)], [1, 1]) == {1: 0}


def test_duplicates_agree_with_a_comparison_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    bits = rng.random((200, BITS)) < 0.5
    for number in range(100, 200):  # some near one of the first hundred
        bits[number] = bits[number - 100]
        flipped = rng.choice(BITS, rng.integers(0, 16), replace=False)
        bits[number, flipped] ^= True
    distance = (bits[:100, None] != bits[None, 100:]).sum(-1)
    expected = {100 + n: n for n in range(100) if distance[n, n] <= 8}
    assert find_duplicates([clip_hash([row]) for row in bits], [1.0] * 200) == expected
