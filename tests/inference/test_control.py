"""What the controls of a reenactment change, on plain numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jr2net.expressions.live_link import to_csv
from jr2net.expressions.tracks import Track, parse_csv
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.inference.animation import at_instants
from jr2net.inference.control import FACE_REGIONS, ControlError, DrivingOptions, drive, region_of, turned
from jr2net.inference.driving import capture_faces, reference_frame, shows_head
from jr2net.inference.messages import FaceArrays


def face(pose: float = 0.0, light: float = 0.0, rest: float = 0.0, **coefficients: float) -> FaceArrays:
    expression = np.array([coefficients.get(name, rest) for name in ARKIT_NAMES], np.float32)
    depth = np.float32([0, 0, 1000])
    return {
        "expression": expression,
        "rotation": np.full(3, pose, np.float32),
        "translation": depth + np.float32(100 * pose),
        "light": np.full((9, 3), light, np.float32),
    }


def value(result: FaceArrays, name: str) -> float:
    return float(result["expression"][ARKIT_NAMES.index(name)])


SOURCE = face(0.1, 0.2, 0.2)
DRIVING = face(0.5, 0.7, 0.6)


def test_every_coefficient_has_a_region() -> None:
    regions = [region_of(name) for name in ARKIT_NAMES]
    assert {region: regions.count(region) for region in FACE_REGIONS} == {"eyes": 14, "brows": 5, "mouth": 32}
    assert region_of("cheekPuff") == region_of("noseSneerLeft") == region_of("jawOpen") == "mouth"


@pytest.mark.parametrize(
    ("regions", "changed", "pose"),
    [
        ("eyes", {"eyes"}, False),
        (" Brows , mouth ", {"brows", "mouth"}, False),
        (["mouth", "pose"], {"mouth"}, True),
        ("pose", set(), True),
        ("all", set(FACE_REGIONS), True),
    ],
)
def test_the_rest_remains_the_sources_own(regions, changed: set[str], pose: bool) -> None:
    result = drive(SOURCE, DRIVING, DrivingOptions(regions=regions))
    for name, number in zip(ARKIT_NAMES, result["expression"], strict=True):
        assert number == np.float32(0.6 if region_of(name) in changed else 0.2)
    assert np.array_equal(result["rotation"], (DRIVING if pose else SOURCE)["rotation"])
    assert np.array_equal(result["light"], SOURCE["light"])


@pytest.mark.parametrize(("strength", "expected"), [(0, 0.2), (0.5, 0.4), (1, 0.6), (2, 1.0), ("1.5", 0.8)])
def test_the_strength_multiplies_the_change(strength, expected: float) -> None:
    result = drive(SOURCE, DRIVING, DrivingOptions(strength=strength, regions="all"))
    assert result["expression"] == pytest.approx(np.full(51, expected), abs=1e-6)
    assert result["rotation"] == pytest.approx(np.full(3, 0.1 + 0.4 * float(strength)), abs=1e-6)


def test_relative_motion_begins_at_the_reference() -> None:
    reference = face(0.3, 0, 0.5)
    result = drive(SOURCE, DRIVING, DrivingOptions(relative=True, pose=True, strength=2, light=True), reference)
    assert result["expression"] == pytest.approx(np.full(51, 0.2 + 2 * 0.1), abs=1e-6)
    assert result["rotation"] == pytest.approx(np.full(3, 0.1 + 2 * 0.2), abs=1e-6)
    assert np.array_equal(result["light"], DRIVING["light"])


def test_the_head_never_comes_behind_the_camera() -> None:
    near = {**DRIVING, "translation": np.float32([0, 0, 200])}
    assert drive(SOURCE, near, DrivingOptions(pose=True, strength=2))["translation"][2] == pytest.approx(505)


def test_the_head_turns_by_degrees_from_its_pose() -> None:
    options = DrivingOptions(pitch=-10, yaw="20", roll=45)
    result = drive(SOURCE, DRIVING, options)
    assert result["rotation"] == pytest.approx(0.1 + np.radians([-10, 20, 45]), abs=1e-6)
    assert np.array_equal(result["translation"], SOURCE["translation"]) and options.affects_whole_crop
    assert drive(SOURCE, DRIVING, DrivingOptions(yaw=20, pose=True))["rotation"][1] == pytest.approx(
        0.5 + math.radians(20)
    )
    steep = turned(face(pose=1.2), DrivingOptions(yaw=45, roll=45))["rotation"]
    assert steep == pytest.approx([1.2, math.radians(80), 1.2 + math.radians(45)], abs=1e-6)


@pytest.mark.parametrize(
    ("driving", "reference", "expected"),
    [
        (0.3, 0.3, 0.2),  # at rest: the source's own
        (0.0, 0.3, 0.0),
        (1.0, 0.3, 1.0),
        (0.65, 0.3, 0.6),
        (0.15, 0.3, 0.1),
        (0.0, None, 0.2),  # without a reference 0 is rest
        (0.5, None, 0.6),
        (1.0, 1.0, 0.2),
    ],
)
def test_lids_are_mapped_to_the_sources_range(driving: float, reference: float | None, expected: float) -> None:
    source = face(rest=0.2)
    at_rest = None if reference is None else face(rest=reference)
    result = drive(source, face(rest=driving), DrivingOptions(retarget="eyes"), at_rest)
    assert value(result, "eyeBlinkLeft") == pytest.approx(expected, abs=1e-5)
    assert value(result, "jawOpen") == pytest.approx(driving) == value(result, "eyeLookUpLeft")  # as they are
    both = drive(source, face(rest=driving), DrivingOptions(retarget="both"), at_rest)
    assert value(both, "jawOpen") == value(both, "eyeBlinkLeft") == pytest.approx(expected, abs=1e-5)


def test_a_relative_change_downwards_is_mapped_too() -> None:
    options = DrivingOptions(retarget="lips", relative=True)
    assert value(drive(face(jawOpen=0.4), face(jawOpen=-0.5), options), "jawOpen") == pytest.approx(0.2)


def test_a_closed_mouth_to_begin_with() -> None:
    source = face(jawOpen=0.4, mouthLowerDownLeft=0.3, mouthSmileLeft=0.5)
    options = DrivingOptions(close_mouth=True, relative=True)
    result = drive(source, face(jawOpen=0.1), options)
    assert value(result, "jawOpen") == pytest.approx(0.1) and value(result, "mouthLowerDownLeft") == 0
    assert value(result, "mouthSmileLeft") == 0.5
    assert value(drive(source, DRIVING, DrivingOptions(close_mouth=True, regions="eyes")), "jawOpen") == 0
    assert value(source, "jawOpen") == np.float32(0.4)


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        ({"regions": "nose"}, "regions: 'nose' is unknown; give one or more of eyes, brows, mouth, pose or all"),
        ({"regions": ""}, "regions: '' is unknown"),
        ({"regions": []}, "regions: give one or more of"),
        ({"regions": 3}, "regions: give one or more of"),
        ({"regions": ["eyes", None]}, "regions: 'None' is unknown"),
        ({"strength": 2.1}, "strength: '2.1' is not a number from 0 to 2"),
        ({"strength": "much"}, "strength: 'much' is not a number"),
        ({"strength": float("nan")}, "strength: 'nan'"),
        ({"strength": True}, "strength: 'True'"),
        ({"yaw": 46}, "yaw: '46' is not a number from -45 to 45 degrees"),
        ({"pitch": "-inf"}, "pitch: '-inf'"),
        ({"roll": None}, "roll: 'None'"),
        ({"retarget": "nose"}, "retarget: 'nose' is unknown; give none, lips, eyes or both"),
        ({"retarget": ["eyes"]}, "retarget: "),
        ({"reference": "last"}, "reference: 'last' is unknown; give first, neutral or an instant of the driving"),
        ({"reference": -1}, "reference: '-1'"),
        ({"reference": "inf"}, "reference: 'inf'"),
    ],
)
def test_bad_values_are_named_with_what_is_allowed(controls: dict, words: str) -> None:
    with pytest.raises(ControlError) as error:
        DrivingOptions(**controls)
    assert str(error.value).startswith(words)


def test_an_expression_has_neither_pose_nor_light() -> None:
    with pytest.raises(ControlError, match="pose and light: a capture drives the expression alone; omit them"):
        DrivingOptions(light=True, regions="pose,eyes").of_expression("a capture drives")
    with pytest.raises(ControlError, match="light: a capture drives the expression and head alone; omit it"):
        DrivingOptions(light=True, regions="pose,eyes").of_expression("a capture drives", head=True)
    assert DrivingOptions(regions="all").of_expression("a capture drives", head=True).takes_pose
    assert DrivingOptions(regions="all").of_expression("").regions == FACE_REGIONS
    assert not DrivingOptions(regions="all").of_expression("").affects_whole_crop


def test_the_head_of_a_capture_turns_the_head() -> None:
    rotation = np.linspace(-0.3, 0.4, 90).reshape(30, 3)
    content = to_csv(np.zeros((30, 51), np.float32), rotation, np.arange(30) / 30, 30.0)
    faces = capture_faces(track := parse_csv(content, "take.csv"))
    assert shows_head(track)
    np.testing.assert_allclose(np.stack([face["rotation"] for face in faces]), rotation, atol=1e-5)
    result = drive(SOURCE, faces[9], DrivingOptions(pose=True))
    assert np.array_equal(result["rotation"], faces[9]["rotation"])
    assert np.array_equal(result["translation"], SOURCE["translation"])
    relative = drive(SOURCE, faces[9], DrivingOptions(pose=True, relative=True), faces[0])
    assert relative["rotation"] == pytest.approx(SOURCE["rotation"] + rotation[9] - rotation[0], abs=1e-5)
    still = parse_csv(to_csv(np.zeros((30, 51), np.float32), 0 * rotation, np.arange(30) / 30, 30.0), "take.csv")
    assert not shows_head(still) and "rotation" not in capture_faces(still)[0]


def take() -> Track:
    """Two seconds: a smile that fades to nothing at 1 s, in a frame that shows no face, and is least in the next."""
    expression = np.full((60, 51), 0.3, np.float32)
    expression[:, ARKIT_NAMES.index("eyeLookUpLeft")] = 0.0
    expression[30], expression[31] = 0.0, 0.1
    expression[31, ARKIT_NAMES.index("eyeLookUpLeft")] = 1.0  # the gaze is no expression
    return Track("take", expression, 30.0, seen=np.arange(60) != 30)


def test_the_reference_of_a_capture_is_first_neutral_or_an_instant() -> None:
    references = {
        reference: reference_frame(take(), DrivingOptions(reference=reference))
        for reference in ("first", "neutral", 1.0, "0.5")
    }
    assert references == {"first": 0, "neutral": 31, 1.0: 30, "0.5": 15}
    with pytest.raises(ControlError, match=r"reference: 2 s lies beyond the driving's end; it lasts 2.00 s"):
        reference_frame(take(), DrivingOptions(reference=2))


def test_a_driving_follows_the_instants_of_the_source_and_begins_anew() -> None:
    def first(count: int, items: list[int], rate: float, wanted: float) -> list[int]:
        return [item for _, item in zip(range(count), at_instants(items, rate, wanted), strict=False)]

    assert first(7, [0, 1, 2], 25, 25) == [0, 1, 2, 0, 1, 2, 0]
    assert first(6, [0, 1, 2, 3], 50, 25) == [0, 2, 0, 2, 0, 2]
    assert first(8, [0, 1, 2], 15, 30) == [0, 0, 1, 1, 2, 2, 0, 0]
    assert first(3, [5], 0, 25) == [5, 5, 5]
