"""Decodes uploaded videos frame by frame, and encodes frames as H.264 MP4 in chunks."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import numpy as np
from av.container import InputContainer

from jr2net.errors import UserError
from jr2net.images.mark import Mark


class VideoError(UserError, ValueError):
    """A video that cannot be used. ``kind``: 'format' is not supported, 'large' is too long or has too many pixels,
    'broken' is damaged."""

    def __init__(self, kind: Literal["format", "large", "broken"], message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class VideoLimits:
    """Upper bounds: duration in seconds, pixels per frame, number of frames."""

    seconds: float = 60.0
    pixels: int = 1920 * 1088
    frames: int = 1800


@dataclass(frozen=True)
class VideoShape:
    """What a video's header says: its size as shown (upright), frames per second, number of frames (0: not said)."""

    width: int
    height: int
    fps: float
    frames: int = 0


def probe_video(content: bytes, limits: VideoLimits) -> VideoShape:
    """Reads the header and the first frame. Raises VideoError for anything but a video within the limits."""
    with _open_container(content, limits) as container:
        stream = container.streams.video[0]
        first = next(container.decode(stream), None)
        if first is None:
            raise VideoError("broken", "no frame of the video can be decoded; send the whole file")
        height, width = _upright(first).shape[:2]
        return VideoShape(width, height, _frame_rate(stream), stream.frames)


@dataclass(frozen=True)
class VideoFrame:
    """A frame of a video: seconds since the first one, and its image (H, W, 3) uint8 RGB, upright."""

    seconds: float
    image: np.ndarray


def read_video(content: bytes, limits: VideoLimits) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) uint8 RGB of an MP4, MOV, WebM or Matroska video, one at a time. Raises VideoError."""
    return (frame.image for frame in read_frames(content, limits))


def read_frames(content: bytes, limits: VideoLimits) -> Iterator[VideoFrame]:
    """As ``read_video``, with the instant at which each frame is shown. Raises VideoError."""
    with _open_container(content, limits) as container:
        stream = container.streams.video[0]
        first, before, interval = None, 0.0, 1 / _frame_rate(stream)
        for number, frame in enumerate(container.decode(stream)):
            if number >= limits.frames:
                raise VideoError("large", f"the video has more than {limits.frames} frames; cut it")
            if frame.width * frame.height > limits.pixels:  # a stream may change its size between frames
                raise VideoError("large", f"frames of {frame.width} × {frame.height}; shrink the video")
            first = frame.time if first is None else first
            seconds = before + interval if frame.time is None or first is None else frame.time - first
            before = 0.0 if number == 0 else max(before, seconds)
            yield VideoFrame(before, _upright(frame))


class Mp4Writer:
    """Encodes a fragmented H.264 MP4 frame by frame; players can start before it is complete.

    Sides are cropped to even numbers for chroma subsampling. ``mark`` is written to the container's metadata.
    """

    def __init__(self, width: int, height: int, fps: float, mark: Mark | None, crf: int = 18) -> None:
        self.width, self.height = width - width % 2, height - height % 2
        self.out = _Buffer()
        options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
        self.container = av.open(self.out, "w", format="mp4", container_options=options)
        if mark is not None:
            self.container.metadata.update({"comment": mark.sentence, "encoder": mark.software})
        self.stream = self.container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        self.stream.width, self.stream.height, self.stream.pix_fmt = self.width, self.height, "yuv420p"
        self.stream.codec_context.gop_size = max(1, round(fps))
        self.stream.codec_context.thread_count = 1
        self.stream.options = {"crf": str(crf), "preset": "veryfast", "tune": "zerolatency"}

    def add(self, frame: np.ndarray) -> bytes:
        """Encodes a frame (H, W, 3) uint8 RGB; returns the bytes that are ready, possibly none."""
        even = np.ascontiguousarray(frame[: self.height, : self.width])
        self.container.mux(self.stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        return self.out.take()

    def finish(self) -> bytes:
        """Closes the file and returns its last bytes."""
        self.container.mux(self.stream.encode(None))
        self.container.close()
        return self.out.take()


def encode_mp4(frames: Iterable[np.ndarray], fps: float, mark: Mark | None) -> Iterator[bytes]:
    """Encodes frames (H, W, 3) uint8 RGB of one size as the chunks of an MP4; without frames there are none."""
    writer = None
    for frame in frames:
        writer = writer or Mp4Writer(frame.shape[1], frame.shape[0], fps, mark)
        if chunk := writer.add(frame):
            yield chunk
    if writer is not None:
        yield writer.finish()


class _Buffer(io.RawIOBase):
    """A non-seekable buffer for the muxer's output."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.buffer += data
        return len(data)

    def take(self) -> bytes:
        chunk, self.buffer = bytes(self.buffer), bytearray()
        return chunk


@contextmanager
def _open_container(content: bytes, limits: VideoLimits) -> Iterator[InputContainer]:
    """Opens the container and checks its header. The format is chosen by the first bytes, never probed by the library:
    some of its formats (playlists) open other files."""
    kind = "mp4" if content[4:8] == b"ftyp" else "matroska" if content[:4] == b"\x1a\x45\xdf\xa3" else None
    if kind is None:
        raise VideoError("format", "not an MP4, MOV, WebM or Matroska video; convert it")
    try:
        with av.open(io.BytesIO(content), "r", format=kind) as container:
            _check(container, limits)
            container.streams.video[0].codec_context.thread_count = 1
            yield container
    except (av.error.FFmpegError, ValueError, IndexError, OverflowError) as error:
        if isinstance(error, VideoError):
            raise
        raise VideoError("broken", "the video is damaged or truncated; send the whole file") from None


def _check(container: InputContainer, limits: VideoLimits) -> None:
    if not container.streams.video:
        raise VideoError("format", "the file holds no video stream")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise VideoError("format", "no decoder is known for the video stream; convert it to H.264")
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > limits.pixels:
        raise VideoError("large", f"frames of {width} × {height}; shrink the video to {limits.pixels} pixels a frame")
    seconds = (container.duration or 0) / av.time_base
    if seconds > limits.seconds:
        raise VideoError("large", f"the video lasts {seconds:.0f} s; cut it to {limits.seconds:g} s")
    if stream.frames > limits.frames:
        raise VideoError("large", f"the video has {stream.frames} frames; cut it to {limits.frames}")


def _frame_rate(stream) -> float:
    rate = float(stream.average_rate or stream.guessed_rate or 25)
    return rate if 1 <= rate <= 120 else 25.0


def _upright(frame: av.VideoFrame) -> np.ndarray:
    """The frame (H, W, 3) uint8 RGB with the rotation of the header applied, as players do."""
    turns = round((getattr(frame, "rotation", 0) or 0) / 90)
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
