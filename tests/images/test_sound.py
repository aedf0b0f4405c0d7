"""The sound of a video is in the video made of it: from the same instant, as long, copied where MP4 holds it."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from jr2net.images.sound import Sound, first_with_sound
from jr2net.images.video import encode_mp4
from jr2net.images.video_file import VideoFile

RATE = 48000


def video_with_tone(codec: str, form: str, begins: float = 0.0, seconds: float = 2.0) -> bytes:
    """A black video of 2 s with silence and then, from 1.0 s on, a tone; its frames begin at an instant."""
    out = io.BytesIO()
    with av.open(out, "w", format=form) as container:
        picture = container.add_stream("libx264", rate=10)
        picture.width = picture.height = 32
        picture.pix_fmt = "yuv420p"
        picture.codec_context.time_base = Fraction(1, 1000)
        audio = container.add_stream(codec, rate=RATE)
        audio.layout = "mono"
        for number in range(round(seconds * 10)):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = round((begins + number / 10) * 1000), Fraction(1, 1000)
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        time = np.arange(round((begins + seconds) * RATE)) / RATE
        tone = (0.5 * np.sin(2 * np.pi * 440 * time) * (time >= 1.0)).astype(np.float32)
        layout = audio.codec_context.format.name
        resampler = av.AudioResampler(format=layout, layout="mono", rate=RATE, frame_size=audio.frame_size or 1024)
        samples = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
        samples.sample_rate, samples.pts, samples.time_base = RATE, 0, Fraction(1, RATE)
        for part in [*resampler.resample(samples), *resampler.resample(None)]:
            container.mux(audio.encode(part))
        container.mux(audio.encode(None))
    return out.getvalue()


def made(sound: Sound | None, frames: int = 20) -> bytes:
    return b"".join(encode_mp4([np.zeros((32, 32, 3), np.uint8)] * frames, 10, None, sound))


def onset_and_end(content: bytes) -> tuple[str, float, float]:
    """The codec of a video's sound, when a tone begins in it, and when it ends, in seconds."""
    with av.open(io.BytesIO(content)) as container:
        codec = container.streams.audio[0].codec_context.name
        onset, end = None, 0.0
        for frame in container.decode(audio=0):
            loud = np.abs(frame.to_ndarray().astype(np.float64)).max() > 0.1
            onset = frame.time if loud and onset is None else onset
            end = frame.time + frame.samples / frame.sample_rate
    return codec, -1.0 if onset is None else onset, end


@pytest.mark.parametrize(
    ("codec", "form", "kept"),
    [
        ("aac", "mp4", "aac"),
        ("aac", "mpegts", "aac"),
        ("libopus", "matroska", "opus"),
        ("pcm_s16le", "mov", "aac"),
        ("flac", "matroska", "aac"),
    ],
)
def test_sound_is_kept_in_time(codec: str, form: str, kept: str) -> None:
    name, onset, end = onset_and_end(made(Sound(video_with_tone(codec, form))))
    assert name == kept and onset == pytest.approx(1.0, abs=0.06) and end == pytest.approx(2.0, abs=0.1)


def test_sound_begins_with_the_first_frame() -> None:
    _, onset, _ = onset_and_end(made(Sound(video_with_tone("aac", "matroska", begins=0.5))))
    assert onset == pytest.approx(0.5, abs=0.06)


def test_sound_ends_with_the_video() -> None:
    _, _, end = onset_and_end(made(Sound(video_with_tone("aac", "mp4")), frames=13))
    assert end == pytest.approx(1.3, abs=0.06)


@pytest.mark.parametrize("content", [b"", b"nonsense", made(None), video_with_tone("aac", "mp4")[:700]])
def test_without_sound_there_is_none(content: bytes) -> None:
    with av.open(io.BytesIO(made(Sound(content)))) as container:
        assert not container.streams.audio and sum(1 for _ in container.decode(video=0)) == 20


def test_a_silent_video_takes_the_sound_of_the_next() -> None:
    silent, loud = VideoFile.of(made(None)), VideoFile.of(video_with_tone("aac", "mp4"))
    assert first_with_sound(silent, loud) is loud and first_with_sound(loud, silent) is loud
    assert first_with_sound(None, silent) is None
