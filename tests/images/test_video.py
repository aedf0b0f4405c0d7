"""Videos round-trip; limits are enforced before decoding; only video formats are opened."""

from __future__ import annotations

import contextlib
import io

import av
import numpy as np
import pytest

from jr2net.images.mark import SOURCE_TYPE, Mark
from jr2net.images.video import Mp4Writer, VideoError, VideoLimits, encode_mp4, probe_video, read_video
from jr2net.images.video_notes import read_notes

LIMITS = VideoLimits(seconds=5, pixels=200 * 200, frames=50)


def _frames(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    ramp = np.linspace(0, 200, width).astype(np.uint8)
    return [np.repeat(np.roll(ramp, 4 * n)[None, :, None], height, 0).repeat(3, 2) for n in range(count)]


def _video(count: int = 10, fps: float = 25, **size) -> bytes:
    return b"".join(encode_mp4(_frames(count, **size), fps, Mark("abc")))


def test_frames_round_trip():
    shape = probe_video(_video(), LIMITS)
    assert (shape.width, shape.height, shape.fps) == (64, 48, 25)
    frames = list(read_video(_video(), LIMITS))
    assert len(frames) == 10
    assert np.abs(frames[3].astype(int) - _frames(10)[3]).mean() < 6


def test_odd_sides_are_cropped():
    shape = probe_video(_video(height=47, width=63), LIMITS)
    assert (shape.width, shape.height) == (62, 46)


def test_the_first_chunks_are_playable():
    chunks = list(encode_mp4(_frames(60), 25, Mark("abc")))
    assert len(chunks) > 3
    started = b"".join(chunks[: len(chunks) // 2])
    with av.open(io.BytesIO(started), "r", format="mp4") as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert next(container.decode(video=0)).width == 64


def test_the_container_declares_itself_synthetic():
    with av.open(io.BytesIO(_video()), "r", format="mp4") as container:
        assert SOURCE_TYPE in container.metadata["comment"] and "model abc" in container.metadata["comment"]


def test_notes_are_kept_in_the_file_before_its_index():
    writer = Mp4Writer(64, 48, 25, None)
    content = b"".join([writer.add(np.zeros((48, 64, 3), np.uint8)), writer.finish(["3 of 9 frames", "one cut ×"])])
    assert read_notes(content) == ["3 of 9 frames", "one cut ×"] and content.rindex(b"mfra") > content.rindex(b"uuid")
    assert len(list(read_video(content, LIMITS))) == 1
    assert read_notes(_video()) == [] and read_notes(b"") == [] and read_notes(content[:-200]) == []


def test_limits_are_enforced():
    with pytest.raises(VideoError, match="shrink the video") as raised:
        probe_video(_video(height=240, width=320), LIMITS)
    assert raised.value.kind == "large"
    with pytest.raises(VideoError, match="more than 50 frames"):
        list(read_video(_video(60), LIMITS))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "format"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "format"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "format"),
        (_video()[:40], "format"),
        (_video(10)[:1200], "broken"),
        (b"\0\0\0\x18ftypmp42" + bytes(200), "broken"),
        (b"\x1a\x45\xdf\xa3" + bytes(100), "broken"),
    ],
)
def test_other_or_damaged_files_raise(content, kind):
    with pytest.raises(VideoError) as raised:
        probe_video(content, LIMITS)
    assert raised.value.kind == kind


def test_random_damage_decodes_or_raises_video_error():
    generator, whole = np.random.default_rng(0), _video(5)
    for _ in range(40):
        damaged = bytearray(whole)
        for offset in generator.integers(8, len(whole), 20):
            damaged[offset] = generator.integers(256)
        with contextlib.suppress(VideoError):
            for frame in read_video(bytes(damaged), LIMITS):
                assert frame.dtype == np.uint8


def test_without_frames_there_is_no_video():
    assert isinstance(b"".join(encode_mp4([], 25, None)), bytes)
