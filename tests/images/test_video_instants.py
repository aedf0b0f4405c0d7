"""Frames keep their instants, whatever their pace, and come at a constant rate where one is asked for."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from jr2net.images.video import VideoFrame, VideoLimits, at_rate, probe_video, read_frames

LIMITS = VideoLimits(seconds=60, pixels=640 * 640, frames=2000)


def video_at(instants: Sequence[float], form: str = "mp4") -> bytes:
    """A video whose n-th frame is shown at an instant, and has the grey value 20 + 4 n."""
    out = io.BytesIO()
    with av.open(out, "w", format=form) as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.options = {"crf": "10", "preset": "ultrafast", "bf": "2"}
        for number, instant in enumerate(instants):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 + 4 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(instant * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


def steps(*runs: tuple[int, float]) -> list[float]:
    """Instants: runs of so many frames at so many frames per second."""
    intervals = [1 / fps for count, fps in runs for _ in range(count)]
    return [0.0, *np.cumsum(intervals)[:-1]]


@pytest.mark.parametrize("form", ["mp4", "mov", "matroska"])
def test_instants_of_a_variable_rate_are_kept(form: str) -> None:
    instants = steps((5, 10), (20, 60))
    content = video_at(instants, form)
    frames = list(read_frames(content, LIMITS))
    assert [frame.seconds for frame in frames] == pytest.approx(instants, abs=2e-3)
    assert not probe_video(content, LIMITS).regular


@pytest.mark.parametrize(("fps", "form"), [(10, "mp4"), (29.97, "matroska"), (50, "matroska"), (60, "mp4")])
def test_a_constant_rate_is_seen_as_such(fps: float, form: str) -> None:
    shape = probe_video(video_at(steps((40, fps)), form), LIMITS)
    assert shape.regular and shape.fps == pytest.approx(fps, rel=0.03)


def test_a_recorder_whose_clock_was_set_holds_no_picture_for_an_hour() -> None:
    instants = [n / 25 + 3600 * (n > 5) for n in range(10)]
    frames = list(read_frames(video_at(instants, "mpegts"), VideoLimits(seconds=1e6, pixels=10**6)))
    assert [frame.seconds for frame in frames] == pytest.approx([n / 25 for n in range(10)], abs=5e-3)
    recorded = list(read_frames(video_at(instants, "matroska"), VideoLimits(seconds=1e6, pixels=10**6)))
    assert recorded[-1].seconds == pytest.approx(instants[-1], abs=5e-3)  # a screen may stand still for so long


def test_the_pace_of_a_screen_that_stands_still_now_and_then() -> None:
    shape = probe_video(video_at([0, 0.04, 0.08, *(30 + n / 25 for n in range(30))], "matroska"), LIMITS)
    assert not shape.regular and shape.fps > 12 and shape.frames == 33


def test_a_stream_that_begins_late_begins_at_zero() -> None:
    frames = list(read_frames(video_at([2.0 + n / 25 for n in range(5)], "matroska"), LIMITS))
    assert frames[0].seconds == 0 and frames[-1].seconds == pytest.approx(4 / 25, abs=2e-3)


@pytest.mark.parametrize("form", ["matroska", "mp4", "mov", "mpegts"])
def test_the_time_before_a_late_begin_counts_nowhere(form: str) -> None:
    late = video_at([100 + n / 25 for n in range(50)], form)
    shape = probe_video(late, LIMITS)  # which a minute exceeds
    assert shape.seconds == pytest.approx(2, abs=0.1) and shape.frames == pytest.approx(50, abs=2)
    assert len(list(read_frames(late, LIMITS))) == 50


@pytest.mark.parametrize(
    ("instants", "fps", "shown"),
    [
        ([0, 0.1, 0.2], 10, [0, 1, 2]),
        ([0, 0.033, 0.067, 0.1], 30, [0, 1, 2, 3]),  # rounded to milliseconds
        ([n / 60 for n in range(6)], 30, [0, 2, 4]),
        ([0, 0.5, 0.6], 10, [0, 0, 0, 0, 0, 1, 2]),
        ([0, 0, 0.1], 10, [1, 2]),
        ([0], 30, [0]),
        ([], 30, []),
    ],
)
def test_frames_at_a_constant_rate(instants: list[float], fps: float, shown: list[int]) -> None:
    frames = [VideoFrame(instant, np.full((1, 1, 3), number)) for number, instant in enumerate(instants)]
    steady = list(at_rate(iter(frames), fps))
    assert [int(frame.image.max()) for frame in steady] == shown
    assert [frame.seconds for frame in steady] == pytest.approx([n / fps for n in range(len(shown))])


def test_public_case_of_a_variable_rate(real_ground: Path) -> None:
    content = (real_ground / "cases" / "vid" / "vfr_10_then_60.mp4").read_bytes()
    frames = list(at_rate(read_frames(content, LIMITS), 30))
    assert len(frames) == pytest.approx(6 * 30, abs=2)
