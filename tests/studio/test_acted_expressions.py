"""People who show captured expressions: the largest ones, as they were captured, with their truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jr2net.config import StudioConfig
from jr2net.expressions.tracks import Track, TrackError, write_track
from jr2net.face.model import FaceModel
from jr2net.studio.acting import act_captured, largest_frames
from jr2net.studio.film import film_people


def ramp(frames: int, seen: np.ndarray | None = None) -> Track:
    """Expressions that grow from frame to frame."""
    strength = np.arange(frames, dtype=np.float32)[:, None] / frames
    return Track("ramp", np.repeat(strength, 51, 1), 60.0, seen=seen)


def test_the_largest_quarter_of_the_frames_is_acted() -> None:
    assert largest_frames(ramp(20)).tolist() == [15, 16, 17, 18, 19]
    assert largest_frames(ramp(1)).tolist() == [0]


def test_frames_without_a_face_are_not_acted() -> None:
    seen = np.arange(20) < 12
    assert largest_frames(ramp(20, seen)).tolist() == [9, 10, 11]


def test_expressions_are_as_captured() -> None:
    track = ramp(40)
    numbers, expression = act_captured(np.random.default_rng(0), 3, [track])
    assert (np.diff(numbers) > 0).all() and numbers.min() >= 30
    assert np.array_equal(expression, track.expression[numbers])
    numbers, _ = act_captured(np.random.default_rng(0), 3, [ramp(4)])
    assert numbers.tolist() == [3, 3, 3], "a capture that is too short repeats itself"


def test_the_truth_of_captured_people_is_the_capture(procedural_model: FaceModel, tmp_path: Path) -> None:
    write_track(str(tmp_path / "take.parquet"), ramp(40))
    config = StudioConfig(test_frames=2, captures=str(tmp_path / "take.parquet"))
    (row,) = film_people(procedural_model, config, 0, 5, 1, "captured", 32)
    assert row.truth is not None and row.identity == "studio-captured-0-000005"
    assert row.truth.expression == pytest.approx(ramp(40).expression[row.frame])


def test_captured_people_need_captures(procedural_model: FaceModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"need data\.studio\.captures"):
        next(film_people(procedural_model, StudioConfig(), 0, 0, 1, "captured", 32))
    absent = StudioConfig(captures=str(tmp_path / "absent.csv"))
    with pytest.raises((TrackError, OSError, Exception), match=r"absent\.csv"):
        next(film_people(procedural_model, absent, 0, 0, 1, "captured", 32))


def test_a_real_capture_has_large_expressions(procedural_model: FaceModel, real_ground: Path) -> None:
    captures = real_ground / "data" / "captures" / "S88-001.csv"
    if not captures.is_file():
        pytest.skip(f"no capture: {captures} does not exist")
    config = StudioConfig(test_frames=3, captures=str(captures))
    rows = list(film_people(procedural_model, config, 0, 0, 2, "captured", 32))
    natural = list(film_people(procedural_model, config, 0, 0, 2, "natural", 32))
    shown, usual = (np.mean([row.truth.expression.sum(1) for row in each if row.truth]) for each in (rows, natural))
    assert shown > 1.5 * usual
