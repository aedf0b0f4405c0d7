"""Videos of every container, from the memory, a path or a spool; what is cut off is said."""

from __future__ import annotations

import gc
import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from jr2net.images.photo import photo_format
from jr2net.images.video import NO_LIMITS, Video, VideoError, encode_mp4, probe_video, read_frames, up_to_damage
from jr2net.images.video_file import VideoFile, container_format, is_video
from jr2net.storage import StorageError
from serve.uploads import SPOOLED_BYTES, as_video, new_spool

IMAGES = [np.full((48, 64, 3), 40 + 20 * n, np.uint8) for n in range(8)]
MP4 = b"".join(encode_mp4(IMAGES, 25, None))


def in_container(name: str, codec: str, layout: str = "yuv420p") -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=name) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, layout
        for image in IMAGES:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return out.getvalue()


def gif(frames: int) -> bytes:
    out = io.BytesIO()
    first, *others = (Image.fromarray(image) for image in IMAGES[:frames])
    first.save(out, "GIF", save_all=True, append_images=others, duration=40)
    return out.getvalue()


def levels(video: Video) -> list[int]:
    return [round(float(frame.image.mean())) for frame in read_frames(video, NO_LIMITS)]


@pytest.mark.parametrize(
    ("name", "codec", "layout"),
    [("avi", "mjpeg", "yuvj420p"), ("avi", "mpeg4", "yuv420p"), ("mov", "mjpeg", "yuvj420p"), ("mpegts", "libx264",
     "yuv420p"), ("flv", "flv", "yuv420p"), ("asf", "wmv2", "yuv420p"), ("mpeg", "mpeg2video", "yuv420p"),
     ("matroska", "libx264", "yuv420p"), ("mp4", "libx264", "yuv420p10le")],
)  # fmt: skip
def test_containers_are_read(name: str, codec: str, layout: str) -> None:
    content = in_container(name, codec, layout)
    assert is_video(VideoFile.of(content)) and levels(content) == pytest.approx([40 + 20 * n for n in range(8)], abs=6)
    assert probe_video(content, NO_LIMITS).fps == pytest.approx(25)


def test_a_gif_is_a_video_where_it_moves() -> None:
    assert levels(gif(8)) == pytest.approx([40 + 20 * n for n in range(8)], abs=6)
    assert [is_video(VideoFile.of(gif(frames))) for frames in (1, 8)] == [False, True]
    assert photo_format(gif(8)) == "GIF" and not is_video(VideoFile.of(gif(8)[:20]))


def test_early_quicktime_has_no_ftyp() -> None:
    content = in_container("mov", "mjpeg", "yuvj420p")
    size = int.from_bytes(content[:4], "big")
    assert content[4:8] == b"ftyp" and container_format(content[size:]) == "mp4"


@pytest.mark.parametrize(
    "content", [b"", b"RIFF\0\0\0\0WAVEfmt ", b"ID3\3", b"G" + bytes(2000), b"#EXTM3U\n", b"\0" * 64]
)
def test_other_files_are_no_videos(content: bytes) -> None:
    assert container_format(content) is None and not is_video(VideoFile.of(content))
    with pytest.raises(VideoError, match="not a video that is read"):
        probe_video(content, NO_LIMITS)


@pytest.mark.parametrize(
    ("start", "name"), [(b"\x1f\x8b\x08", "GZIP"), (b"\xff\xd8\xff\xe0", "JPEG"), (b"%PDF", "PDF")]
)
def test_files_that_are_known_are_named(start: bytes, name: str) -> None:
    with pytest.raises(VideoError, match=f"{name}, not a video that is read"):
        probe_video(start + bytes(50), NO_LIMITS)


def test_the_remedy_suits_what_is_no_video() -> None:
    for content, words in ((b"", "an empty file, .*; send its content"), (b"\x1f\x8b\x08", "GZIP, .*; unpack it")):
        with pytest.raises(VideoError, match=words):
            probe_video(content, NO_LIMITS)


def test_a_path_and_a_spool_are_read_by_several_readers_at_once(tmp_path: Path) -> None:
    (tmp_path / "clip").write_bytes(MP4)
    spool = new_spool()
    spool.write(MP4 + b"\0\0\0\x08free" + (SPOOLED_BYTES + 8).to_bytes(4, "big") + b"free" + bytes(SPOOLED_BYTES))
    expected = levels(MP4)
    for video in (str(tmp_path / "clip"), tmp_path / "clip", as_video(spool)):
        file = VideoFile.of(video)
        first, second = read_frames(file, NO_LIMITS), read_frames(file, NO_LIMITS)
        assert [(round(a.image.mean()), round(b.image.mean())) for a, b in zip(first, second)] == [
            (level, level) for level in expected
        ]
    with pytest.raises(StorageError, match=r"gone\.mp4: .*no such file"):
        probe_video(tmp_path / "gone.mp4", NO_LIMITS)


def test_a_small_upload_stays_in_memory() -> None:
    spool = new_spool()
    spool.write(MP4)
    assert as_video(spool).read() == MP4 and levels(as_video(spool)) == levels(MP4)


def test_what_is_cut_off_or_damaged_is_said() -> None:
    whole: list[str] = []
    assert len(list(up_to_damage(MP4, NO_LIMITS, whole))) == 8 and whole == []
    cut: list[str] = []
    assert 0 < len(list(up_to_damage(MP4[: len(MP4) * 9 // 10], NO_LIMITS, cut))) <= 8
    assert len(cut) == 1 and cut[0].startswith("it ends early")
    refused: list[str] = []
    assert list(up_to_damage(MP4[:60], NO_LIMITS, refused)) == [] and refused[0].startswith("it ends early, after 0 f")


def test_a_video_that_is_appended_goes_on_in_time() -> None:
    clip = in_container("mpegts", "libx264")
    frames = list(read_frames(clip + clip, NO_LIMITS))
    assert np.allclose([frame.seconds for frame in frames], [n / 25 for n in range(16)], atol=2e-3)


def test_frames_of_another_size_are_fitted_into_a_film() -> None:
    wide, tall = np.full((48, 64, 3), 200, np.uint8), np.full((96, 64, 3), 200, np.uint8)
    film = b"".join(encode_mp4([wide, tall, wide[:30]], 25, None))
    shown = [frame.image for frame in read_frames(film, NO_LIMITS)]
    assert [image.shape for image in shown] == [(48, 64, 3)] * 3
    assert shown[1][:, :14].max() < 30 and shown[1][:, 20:44].min() > 170
    assert shown[2][:7].max() < 30 and shown[2][12:36].min() > 170


def test_the_best_of_several_streams_is_read() -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream, side in zip(streams, (16, 64)):
            stream.width, stream.height, stream.pix_fmt = side, side, "yuv420p"
        for _ in range(3):
            for stream, side in zip(streams, (16, 64)):
                image = np.zeros((side, side, 3), np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode(None))
    assert [frame.image.shape for frame in read_frames(out.getvalue(), NO_LIMITS)] == [(64, 64, 3)] * 3


def test_frames_do_not_stay_in_memory() -> None:
    alive: list[int] = []
    gc.collect()
    gc.disable()
    try:
        for _ in read_frames(MP4, NO_LIMITS):
            alive.append(sum(type(thing) is av.VideoFrame for thing in gc.get_objects()))
    finally:
        gc.enable()
    assert len(alive) == 8 and max(alive) <= 5
