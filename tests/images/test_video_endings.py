"""Videos that end early, in every container that says how long it is, and those that have an opacity."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
from PIL import Image

from jr2net.images.video import NO_LIMITS, up_to_damage
from jr2net.images.video_file import VideoFile, is_cut_off


def film(container: str, codec: str, pixels: str = "yuv420p", live: bool = False, frames: int = 24) -> bytes:
    out, options = io.BytesIO(), {"live": "1"} if live else {}
    with av.open(out, "w", format=container, options=options) as writer:
        stream = writer.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for n in range(frames):
            colours = np.random.default_rng(n).integers(0, 255, (48, 64, 4), np.uint8)
            writer.mux(stream.encode(av.VideoFrame.from_ndarray(colours, format="rgba").reformat(format=pixels)))
        writer.mux(stream.encode(None))
    return out.getvalue()


def read(content: bytes) -> tuple[int, list[str]]:
    said: list[str] = []
    return len(list(up_to_damage(content, NO_LIMITS, said))), said


@pytest.mark.parametrize(
    ("container", "codec", "live"),
    [("webm", "libvpx-vp9", False), ("webm", "libvpx", True), ("matroska", "libx264", False), ("avi", "mpeg4", False),
     ("mp4", "libx264", False)],
)  # fmt: skip
def test_a_file_that_is_cut_off_is_read_to_its_end_and_said(container: str, codec: str, live: bool) -> None:
    whole = film(container, codec, live=live)
    count, said = read(whole)
    assert count == 24 and not said
    if container == "mp4":  # its index is at the end: without it nothing can be read
        assert is_cut_off(VideoFile.of(whole[:-40]))
        return
    for part in (0.5, 0.8, 0.97):
        count, said = read(whole[: int(len(whole) * part)])
        assert 0 < count < 24 + (part > 0.9) and len(said) == 1 and said[0].startswith("it ends early"), part


@pytest.mark.parametrize(
    ("container", "codec", "pixels"),
    [("webm", "libvpx-vp9", "yuva420p"), ("mov", "prores_ks", "yuva444p10le"), ("mov", "png", "rgba")],
)
def test_transparency_that_is_left_out_is_said(container: str, codec: str, pixels: str) -> None:
    assert read(film(container, codec, pixels)) == (24, ["its transparency was left out"])


def test_nothing_is_said_of_a_gif() -> None:
    frames = [Image.fromarray(np.full((48, 64, 3), 20 * n, np.uint8)) for n in range(5)]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=100)
    assert read(out.getvalue()) == (5, [])
