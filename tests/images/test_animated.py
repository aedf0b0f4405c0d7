"""Pictures that move are videos (GIF, APNG, WebP, AVIF), with the instants of their frames; as photos, their first."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from jr2net.images.photo import read_photo
from jr2net.images.video import NO_LIMITS, VideoError, VideoLimits, at_rate, probe_video, read_frames, up_to_damage
from jr2net.images.video_file import VideoFile, is_cut_off, is_video

KINDS = ["GIF", "PNG", "WEBP", "AVIF"]
SHOWN_MS = [40, 40, 200, 40, 500, 40]


def animation(kind: str, shown_ms: Sequence[int] = SHOWN_MS, mode: str = "RGB", side: int = 64, **options) -> bytes:
    """Frames that become brighter by 30 from one to the next."""
    out, opaque = io.BytesIO(), (90, 120) if mode == "RGB" else (90, 120, 160)
    images = [Image.new(mode, (side, 48), (40 + 30 * n % 200, *opaque)) for n in range(len(shown_ms))]
    durations = {"duration": [*shown_ms]} if len(shown_ms) > 1 else {}
    images[0].save(out, kind, save_all=True, append_images=images[1:], **durations, **options)
    return out.getvalue()


def read(content: bytes) -> tuple[list[float], list[str]]:
    """The instants of the frames, and why they ended early."""
    ended: list[str] = []
    return [round(frame.seconds, 3) for frame in up_to_damage(content, NO_LIMITS, ended)], ended


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_that_moves_is_a_video(kind: str) -> None:
    content = animation(kind)
    frames = list(read_frames(content, NO_LIMITS))
    assert is_video(VideoFile.of(content)) and read(content) == ([0.0, 0.04, 0.08, 0.28, 0.32, 0.82], [])
    assert [frame.image[20, 20, 0] for frame in frames] == pytest.approx([40 + 30 * n for n in range(6)], abs=4)
    shape = probe_video(content, NO_LIMITS)
    assert (shape.width, shape.height, shape.regular) == (64, 48, False)
    assert [frame.image[20, 20, 0] for frame in at_rate(frames, 25)][6:9] == pytest.approx([100, 130, 160], abs=4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_that_does_not_move_is_none(kind: str) -> None:
    still = animation(kind, [40])
    assert not is_video(VideoFile.of(still)) and not is_video(VideoFile.of(still[:30]))
    assert read_photo(still).notes == ()
    assert read_photo(animation(kind)).notes == ("the first of its 6 images was taken",)


def test_a_long_colour_profile_before_the_announcement() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("history", "edited " * 3000)
    assert is_video(VideoFile.of(animation("PNG", pnginfo=text)))
    assert is_video(VideoFile.of(animation("WEBP", icc_profile=bytes(20_000))))


@pytest.mark.parametrize("kind", KINDS)
def test_where_it_is_cut_off_is_said(kind: str) -> None:
    content = animation(kind, [40] * 12)
    assert not is_cut_off(VideoFile.of(content))
    for part in (0.95, 0.7):
        cut = content[: round(len(content) * part)]
        assert is_cut_off(VideoFile.of(cut))
        instants, ended = read(cut)
        assert (kind == "AVIF" or instants) and len(ended) == 1 and ended[0].startswith("it ends early")
    with pytest.raises(VideoError) as error:
        probe_video(content[: 20 if kind == "GIF" else 60], NO_LIMITS)
    assert error.value.kind == "broken"


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparency_that_is_left_out_is_said(kind: str) -> None:
    instants, ended = read(animation(kind, mode="RGBA"))
    assert len(instants) == 6 and ended == ["its transparency was left out"]
    opaque = [Image.new("RGBA", (64, 48), (40, 90 + 40 * n, 120, 255)) for n in range(3)]
    out = io.BytesIO()
    opaque[0].save(out, kind, save_all=True, append_images=opaque[1:], duration=40)
    assert read(out.getvalue())[1] == []


@pytest.mark.parametrize("kind", KINDS)
def test_limits_are_enforced(kind: str) -> None:
    content = animation(kind, [1000] * 6)
    for limits in (VideoLimits(seconds=3), VideoLimits(pixels=1000), VideoLimits(frames=4)):
        with pytest.raises(VideoError) as error:
            list(read_frames(content, limits))
        assert error.value.kind == "large"


def test_frames_that_are_shown_for_no_time_are_shown_as_browsers_do() -> None:
    assert read(animation("WEBP", [0, 10, 20, 40]))[0] == [0.0, 0.1, 0.2, 0.22]


def test_damage_within_is_said() -> None:
    content = bytearray(animation("WEBP", [40] * 12, side=200, lossless=True))
    at = [n for n in range(len(content)) if content[n : n + 4] == b"ANMF"][6]
    content[at + 44 : at + 48] = b"\xff" * 4
    instants, ended = read(bytes(content))
    assert len(instants) == 6 and ended[0].startswith("it ends early, after 6 frames: the video is damaged")


def test_random_damage_decodes_or_raises_video_error() -> None:
    rng = np.random.default_rng(0)
    for number in range(120):
        content = bytearray(animation(KINDS[number % 4], [40] * 3))
        for position in rng.integers(8, len(content), 6):
            content[position] = rng.integers(256)
        try:
            is_cut_off(VideoFile.of(bytes(content)))
            list(read_frames(bytes(content), VideoLimits()))
        except VideoError:
            continue


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_the_pictures_of_a_long_one_do_not_stay_in_memory(kind: str) -> None:
    content = animation(kind, [20, 30] * 150, side=512)
    frames = read_frames(content, NO_LIMITS)
    next(frames)
    tracemalloc.start()
    count = sum(1 for _ in frames)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 299 and peak < 20 * 48 * 512 * 3
