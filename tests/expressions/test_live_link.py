"""CSV files as Live Link Face writes them: read again, they are what was written."""

from __future__ import annotations

import numpy as np
import pytest

from jr2net.expressions.live_link import CSV_SHAPES, PACKET_SHAPES, eye_angles, head_angles, timecode, to_csv
from jr2net.expressions.tracks import parse_csv
from jr2net.face.arkit import ARKIT_NAMES


def moving(frames: int) -> np.ndarray:
    phase = np.linspace(0, 7, frames)[:, None] + np.arange(51)
    return (0.5 + 0.4 * np.sin(phase)).astype(np.float32)


RATES = [
    5,
    7.5,
    8,
    10,
    12,
    12.5,
    13.7,
    15,
    16,
    18,
    20,
    22.3,
    24000 / 1001,
    24,
    25,
    27.1,
    30000 / 1001,
    30,
    33,
    40,
    48,
    50,
]


@pytest.mark.parametrize("fps", [*RATES, 60000 / 1001, 60])
def test_a_capture_is_read_as_it_was_written(fps: float) -> None:
    expression, seconds = moving(400), np.arange(400) / fps
    track = parse_csv(to_csv(expression, np.zeros((400, 3)), seconds, fps), "take.csv")
    assert len(track) / track.fps == pytest.approx(400 / fps, rel=3e-3) and track.seen is None
    at = np.arange(len(track)) / track.fps
    expected = np.stack([np.interp(at, seconds, column) for column in expression.T], 1)
    assert np.abs(track.expression - expected)[: len(track) - 1].max() < 0.01


@pytest.mark.parametrize("fps", [*RATES, 60000 / 1001, 60])
@pytest.mark.parametrize("length", [0.6, 1.0])
def test_a_short_capture_is_read_as_it_was_written(fps: float, length: float) -> None:
    frames = max(3, round(length * fps))
    expression = moving(frames)
    track = parse_csv(to_csv(expression, np.zeros((frames, 3)), np.arange(frames) / fps, fps), "take.csv")
    assert track.fps == pytest.approx(fps, rel=0.01) and np.abs(track.expression - expression).max() < 1e-5


def test_a_frame_without_a_face_is_a_gap() -> None:
    expression = moving(90)
    expression[30:40] = np.nan
    content = to_csv(expression, np.zeros((90, 3)), np.arange(90) / 30, 30.0)
    lines = content.decode().splitlines()
    assert lines[31] == "00:00:01:00.000,0" and lines[30].startswith("00:00:00:29.000,61,")
    track = parse_csv(content, "take.csv")
    assert len(track) == 90 and track.seen is not None and not track.seen[31:39].any()
    assert "10 show no face" in " ".join(track.notes)


def test_the_order_of_columns_is_the_apps() -> None:
    assert len(CSV_SHAPES) == len(PACKET_SHAPES) == 52 and sorted(CSV_SHAPES) == sorted(PACKET_SHAPES)
    assert CSV_SHAPES[14:18] == ("JawForward", "JawRight", "JawLeft", "JawOpen")
    assert PACKET_SHAPES[14:18] == ("JawForward", "JawLeft", "JawRight", "JawOpen")
    expression = np.zeros((1, 51), np.float32)
    expression[0, ARKIT_NAMES.index("jawLeft")] = 0.75
    header, row = to_csv(expression, np.zeros((1, 3)), np.zeros(1), 30.0).decode().splitlines()
    assert dict(zip(header.split(","), row.split(",")))["JawLeft"] == "0.750000"


def test_angles_have_the_apps_signs() -> None:
    np.testing.assert_allclose(head_angles(np.array([[0.1, 0.2, 0.3]])), [[-0.2, 0.1, -0.3]])
    expression = np.zeros((1, 51), np.float32)
    for name in ("eyeLookOutLeft", "eyeLookInRight", "eyeLookDownLeft"):
        expression[0, ARKIT_NAMES.index(name)] = 1
    left_yaw, left_pitch, _, right_yaw, right_pitch, _ = eye_angles(expression)[0]
    assert left_yaw < 0 and right_yaw < 0, "both look to the subject's left"
    assert left_pitch > 0 and right_pitch == 0


@pytest.mark.parametrize(
    ("seconds", "fps", "expected"),
    [
        (0.0, 30, "00:00:00:00.000"),
        (3661.5, 30, "01:01:01:15.000"),
        (30 / 29.97, 30000 / 1001, "00:00:01:00.030"),
        (0.99999, 30, "00:00:01:00.000"),
        (86400.0, 60, "00:00:00:00.000"),
        (0.1, 10, "00:00:00:03.000"),
        (0.08, 12.5, "00:00:00:02.000"),
        (1.0, 13.7, "00:00:01:00.000"),
    ],
)
def test_timecodes(seconds: float, fps: float, expected: str) -> None:
    assert timecode(seconds, fps) == expected
