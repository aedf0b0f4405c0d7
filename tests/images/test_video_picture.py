"""Frames look as players show them: turned, mirrored, with square pixels, in the right colours, HDR as SDR."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest

from jr2net.images.tone_mapping import to_sdr
from jr2net.images.video import VideoLimits, probe_video, read_video
from jr2net.images.video_picture import to_picture, turned

LIMITS = VideoLimits(seconds=60, pixels=640 * 640, frames=2000)
ONE = 65536
IMAGE = np.arange(6).reshape(2, 3)


@pytest.mark.parametrize(
    ("abcd", "shown"),
    [
        ((1, 0, 0, 1), [[0, 1, 2], [3, 4, 5]]),
        ((-1, 0, 0, 1), [[2, 1, 0], [5, 4, 3]]),  # mirrored, as selfies are
        ((1, 0, 0, -1), [[3, 4, 5], [0, 1, 2]]),
        ((-1, 0, 0, -1), [[5, 4, 3], [2, 1, 0]]),
        ((0, 1, -1, 0), [[3, 0], [4, 1], [5, 2]]),  # a quarter turn clockwise, as of an upright telephone
        ((0, -1, 1, 0), [[2, 5], [1, 4], [0, 3]]),
        ((0, 1, 1, 0), [[0, 3], [1, 4], [2, 5]]),
        ((0, -1, -1, 0), [[5, 2], [4, 1], [3, 0]]),
    ],
)
def test_every_display_matrix(abcd: tuple[int, ...], shown: list[list[int]]) -> None:
    a, b, c, d = (value * ONE for value in abcd)
    assert turned(IMAGE, np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30])).tolist() == shown


def test_a_damaged_matrix_turns_nothing() -> None:
    assert turned(IMAGE, np.zeros(5)) is IMAGE


def red_frame(matrix: int, full: bool, side: int = 32) -> av.VideoFrame:
    """A frame whose YUV values are those of (200, 60, 40) by a matrix and a range."""
    picture = np.full((side, side, 3), (200, 60, 40), np.uint8)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
        format="yuv420p",
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=2,
        dst_color_range=2 if full else 1,
    )
    frame.colorspace, frame.color_range = matrix, 2 if full else 1
    return frame


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 5, 9])
def test_matrices_and_ranges(matrix: int, full: bool) -> None:
    assert np.abs(to_picture(red_frame(matrix, full)).astype(int) - (200, 60, 40)).max() <= 4


def test_an_unnamed_matrix_is_guessed_by_the_size() -> None:
    for side, matrix in ((32, 5), (720, 1)):
        frame = red_frame(matrix, False, side)
        frame.colorspace = 2
        assert np.abs(to_picture(frame).astype(int) - (200, 60, 40)).max() <= 4


def test_pixels_that_are_not_square() -> None:
    frame = av.VideoFrame.from_ndarray(np.full((30, 40, 3), 90, np.uint8), format="rgb24")
    assert to_picture(frame, 1.5).shape == (30, 60, 3)
    assert to_picture(frame, 1e4).shape == (30, 40, 3)


def hlg(light: np.ndarray) -> np.ndarray:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(light <= 1 / 12, np.sqrt(3 * light), a * np.log(np.maximum(12 * light - b, 1e-9)) + c)


def pq(light: np.ndarray) -> np.ndarray:
    power = (light * 203 / 10000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


@pytest.mark.parametrize("transfer", [16, 18])
def test_greys_below_the_highlights_keep_their_brightness(transfer: int) -> None:
    codes = np.array([40, 90, 150, 200])
    light = (codes / 255) ** 2.2
    signal = pq(light) if transfer == 16 else hlg((light * 203 / 1000) ** (1 / 1.2))
    picture = (signal[None, :, None].repeat(3, 2) * 65535).astype(np.uint16)
    mapped = to_sdr(lambda: picture, transfer, 9)
    assert mapped is not None and np.abs(mapped.astype(int) - codes[None, :, None]).max() <= 2


def test_highlights_rise_to_white_and_sdr_is_left_alone() -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)[None, :, None].repeat(3, 2)
    mapped = to_sdr(lambda: ramp, 18, 9)
    assert mapped is not None and (np.diff(mapped[0, :, 0].astype(int)) >= 0).all() and mapped[0, -1, 0] >= 254
    assert to_sdr(lambda: ramp, 1, 1) is None and to_sdr(lambda: ramp, 2, 2) is None


def test_bt2020_without_hdr_gains_saturation() -> None:
    picture = np.full((2, 2, 3), (40000, 20000, 20000), np.uint16)
    mapped = to_sdr(lambda: picture, 14, 9)
    assert mapped is not None and mapped[0, 0, 0] > 40000 >> 8 and mapped[0, 0, 1] < 20000 >> 8


def test_public_cases(real_ground: Path) -> None:
    folder = real_ground / "cases" / "vid"
    sdr, hdr = (
        next(read_video((folder / name).read_bytes(), LIMITS)) for name in ("fps_29.97.mp4", "hlg_10bit_hevc.mov")
    )
    assert np.abs(hdr.astype(int) - sdr).mean() < 10 and hdr.std() > 47
    content = (folder / "selfie_mirrored_header.mp4").read_bytes()
    selfie = next(read_video(content, LIMITS))
    with av.open(io.BytesIO(content)) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(selfie[:, ::-1].astype(int) - stored).mean() < 1
    assert probe_video(content, LIMITS).height == 400
