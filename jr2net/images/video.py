"""Decodes videos of strangers frame by frame, and encodes frames as H.264 MP4 in chunks."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Literal

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from jr2net.errors import UserError
from jr2net.images.animated import WebPAnimation, is_transparent
from jr2net.images.mark import Mark
from jr2net.images.signatures import file_format
from jr2net.images.sound import Sound
from jr2net.images.video_file import CONTAINERS, VideoFile, container_format, is_cut_off
from jr2net.images.video_notes import with_notes
from jr2net.images.video_pace import duration, frame_rate, instants_of, late_start, pace
from jr2net.images.video_picture import display_matrix, to_picture

_PACED_FRAMES = 2000  # of a video, whose instants tell its pace
_COVER, _DEFAULT = Disposition.attached_pic, Disposition.default
_FRAGMENT_US = 250_000  # of a film that is written: whoever receives it sees how far it is
_STREAMS, _PAUSE_S = ("mpegts", "mpeg", "flv"), 60.0  # send frames throughout: a longer pause is none
_LAST_S = 1.0  # the longest time that the last frame is shown


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


NO_LIMITS = VideoLimits(seconds=float("inf"), pixels=2**28, frames=2**62)
"""For a person's own videos, which are read as they are decoded, whatever their length."""


@dataclass(frozen=True)
class VideoShape:
    """What is known of a video before it is decoded.

    width, height  as shown (upright)
    fps            frames per second; of a variable rate: the average
    frames         number of frames; 0: not said
    seconds        duration; 0: not said
    regular        whether the frames are equally spaced
    """

    width: int
    height: int
    fps: float
    frames: int = 0
    seconds: float = 0.0
    regular: bool = True


@dataclass(frozen=True)
class VideoFrame:
    """A frame of a video: seconds since the first one, and its image (H, W, 3) uint8 RGB, as players show it."""

    seconds: float
    image: np.ndarray


Video = bytes | str | Path | VideoFile
"""The bytes of a video, its path or URI, or ``VideoFile``."""


def probe_video(video: Video, limits: VideoLimits) -> VideoShape:
    """Reads the header and the first frame. Raises VideoError for anything but a video within the limits, and
    StorageError."""
    file = VideoFile.of(video)
    if container_format(file.head) == "webp":
        return _webp_shape(_open_webp(file, limits))
    with _open_container(file, limits) as container:
        stream = _stream(container)
        first = next(container.decode(stream), None)
        if first is None:
            raise VideoError("broken", "no frame of the video can be decoded; send the whole file")
        height, width = to_picture(first, _aspect(stream), display_matrix(first)).shape[:2]
    with _open_container(file, limits) as container:
        stream = _stream(container)
        said, seconds = frame_rate(stream), duration(container, stream) - late_start(container)
        instants = list(islice(instants_of(container, stream), _PACED_FRAMES))
        fps, regular = pace(instants, said)
        counted = len(instants) if len(instants) < _PACED_FRAMES and not regular else round(seconds * fps)
        return VideoShape(width, height, fps, stream.frames or counted, seconds, regular)


def read_video(video: Video, limits: VideoLimits) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) uint8 RGB of a video, one at a time, however long it is. Raises VideoError and StorageError."""
    return (frame.image for frame in read_frames(video, limits))


def read_frames(video: Video, limits: VideoLimits) -> Iterator[VideoFrame]:
    """As ``read_video``, with the instant at which each frame is shown; instants never fall."""
    file = VideoFile.of(video)
    if container_format(file.head) == "webp":
        yield from _webp_frames(file, limits)
        return
    with _open_container(file, limits) as container:
        stream = _stream(container)
        interval, said, aspect = 1 / frame_rate(stream), duration(container, stream), _aspect(stream)
        first: float | None = None
        jumps = container_format(file.head) in _STREAMS
        shown, offset, fallen, matrix = -interval, 0.0, 0, None
        for number, frame in enumerate(container.decode(stream)):
            if number >= limits.frames:
                raise VideoError("large", f"the video has more than {limits.frames} frames; cut it")
            if frame.width * frame.height > limits.pixels:  # a stream may change its size between frames
                raise VideoError("large", f"frames of {frame.width} × {frame.height}; shrink the video")
            matrix = display_matrix(frame) if number == 0 else matrix
            first = frame.time if first is None else first
            seconds = shown + interval if frame.time is None or first is None else frame.time - first + offset
            if said and seconds > said + 1:  # a damaged instant, which would hold the picture for hours
                seconds = shown + interval
            if jumps and number and seconds > shown + _PAUSE_S:  # the recorder's clock was set, or began anew
                offset += shown + interval - seconds
                seconds = shown + interval
            fallen = fallen + 1 if seconds < shown - interval else 0
            if fallen:  # of one frame it is damage, of more another video that was appended
                offset += (fallen > 1) * (shown + interval - seconds)
                seconds = shown + interval
            if seconds > limits.seconds:
                raise VideoError("large", f"the video lasts more than {limits.seconds:g} s; cut it")
            shown = max(shown, seconds, 0.0)
            yield VideoFrame(shown, to_picture(frame, aspect, matrix))


def up_to_damage(video: Video, limits: VideoLimits, ended: list[str]) -> Iterator[VideoFrame]:
    """``read_frames`` until the video is damaged or exceeds the limits; the reason is then added to ``ended``, and at
    the end whether the video's transparency was left out."""
    file, number = VideoFile.of(video), 0
    try:
        for frame in read_frames(file, limits):
            number += 1
            yield frame
    except VideoError as error:
        ended.append(f"it ends early, after {number} frames: {error}")
        return
    if is_cut_off(file):
        ended.append("it ends early: the file is cut off")
    if _is_transparent(file, limits):
        ended.append("its transparency was left out")


def _is_transparent(video: VideoFile, limits: VideoLimits) -> bool:
    """Whether its pixels have an opacity: of ProRes 4444 in their format, of WebM in a second stream beside each frame,
    which its header says; of APNG and WebP in the first frame, because their headers say what may be. A GIF's is in its
    palette, used or not, and is not told."""
    kind = container_format(video.head)
    if kind in ("gif", "webp", "apng"):
        with video.open() as file:
            return kind != "gif" and is_transparent(file)
    with suppress(VideoError), _open_container(video, limits) as container:
        stream = _stream(container)
        parts = stream.codec_context.format.components if stream.codec_context.format else ()
        return stream.metadata.get("alpha_mode") == "1" or any(part.is_alpha for part in parts)
    return False


def at_rate(frames: Iterable[VideoFrame], fps: float) -> Iterator[VideoFrame]:
    """Frames at a constant rate: at every instant the picture that is shown then, repeated or left out as need be.

    A picture counts as shown up to 0.4 of an interval before its instant, so that instants that are rounded, as
    Matroska's are to milliseconds, neither repeat nor skip one.
    """
    number, held, interval = 0, None, 1 / fps
    for frame in frames:
        while held is not None and frame.seconds > (number + 0.4) / fps:
            yield VideoFrame(number / fps, held.image)
            number += 1
        interval = min(frame.seconds - held.seconds, _LAST_S) if held is not None else interval
        held = frame
    while held is not None and (number + 0.1) / fps < held.seconds + interval:  # as long as the one before it
        yield VideoFrame(number / fps, held.image)
        number += 1


class Mp4Writer:
    """Encodes a fragmented H.264 MP4 frame by frame; players can start before it is complete.

    Sides are cropped to even numbers for chroma subsampling. ``mark`` is written to the container's metadata, ``sound``
    is added as the frames are.
    """

    def __init__(
        self, width: int, height: int, fps: float, mark: Mark | None, crf: int = 18, sound: Sound | None = None
    ) -> None:
        self.sound, self.fps, self.frames = sound, fps, 0
        self.width, self.height = width - width % 2, height - height % 2
        self.out = _Buffer()
        options = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": str(_FRAGMENT_US)}
        self.container = av.open(self.out, "w", format="mp4", container_options=options)
        if mark is not None:
            self.container.metadata.update({"comment": mark.sentence, "encoder": mark.software})
        self.stream = self.container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        self.stream.width, self.stream.height, self.stream.pix_fmt = self.width, self.height, "yuv420p"
        self.stream.codec_context.gop_size = max(1, round(fps))
        self.stream.codec_context.thread_count = 1
        self.stream.options = {"crf": str(crf), "preset": "veryfast", "tune": "zerolatency"}
        if sound is not None:
            sound.add_to(self.container)

    def add(self, frame: np.ndarray) -> bytes:
        """Encodes a frame (H, W, 3) uint8 RGB; returns the bytes that are ready, possibly none.

        One of another size than the first is fitted into the film, with black borders.
        """
        height, width = frame.shape[:2]
        if (height - height % 2, width - width % 2) != (self.height, self.width):
            frame = _fitted(frame, self.height, self.width)
        even = np.ascontiguousarray(frame[: self.height, : self.width])
        self.container.mux(self.stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        self.frames += 1
        if self.sound is not None:
            self.sound.mux_until(self.container, self.frames / self.fps)
        return self.out.take()

    def finish(self, notes: Sequence[str] = ()) -> bytes:
        """Closes the file and returns its last bytes. notes: kept in the file (``jr2net.images.video_notes``)."""
        self.container.mux(self.stream.encode(None))
        self.container.close()
        if self.sound is not None:
            self.sound.close()
        return with_notes(self.out.take(), notes)


def encode_mp4(
    frames: Iterable[np.ndarray], fps: float, mark: Mark | None, sound: Sound | None = None
) -> Iterator[bytes]:
    """Encodes frames (H, W, 3) uint8 RGB of one size as the chunks of an MP4; without frames there are none."""
    writer = None
    for frame in frames:
        writer = writer or Mp4Writer(frame.shape[1], frame.shape[0], fps, mark, sound=sound)
        if chunk := writer.add(frame):
            yield chunk
    if writer is not None:
        yield writer.finish()


def _fitted(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The whole image in the middle of a black one of this size."""
    scale = min(height / image.shape[0], width / image.shape[1])
    rows, columns = (max(1, min(limit, round(scale * side))) for side, limit in zip(image.shape, (height, width)))
    fitted, top, left = np.zeros((height, width, 3), np.uint8), (height - rows) // 2, (width - columns) // 2
    fitted[top : top + rows, left : left + columns] = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    return fitted


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


def _open_webp(video: VideoFile, limits: VideoLimits) -> WebPAnimation:
    """Raises VideoError for one that exceeds the limits, or has no complete frame."""
    try:
        with video.open() as file:
            animation = WebPAnimation.of(file)
    except ValueError:
        raise _broken() from None
    _check_sizes(limits, animation.width, animation.height, animation.seconds, len(animation.instants))
    return animation


def _webp_shape(animation: WebPAnimation) -> VideoShape:
    frames, seconds = len(animation.instants), animation.seconds
    fps, regular = pace(animation.instants, frames / seconds)
    return VideoShape(animation.width, animation.height, fps, frames, seconds, regular)


def _webp_frames(video: VideoFile, limits: VideoLimits) -> Iterator[VideoFrame]:
    animation = _open_webp(video, limits)
    try:
        with video.open() as file:
            for seconds, image in zip(animation.instants, animation.frames(file)):
                yield VideoFrame(seconds, image)
    except (OSError, ValueError):
        raise _broken() from None


@contextmanager
def _open_container(video: VideoFile, limits: VideoLimits) -> Iterator[InputContainer]:
    """Opens the container and checks its header. The format is chosen by the first bytes, never probed by the library:
    some of its formats (playlists) open other files."""
    kind = container_format(video.head)
    if kind is None:
        name = file_format(video.head) if video.head else "an empty file"
        remedy = "unpack it" if name in ("GZIP", "ZIP") else "convert it" if video.head else "send its content"
        raise VideoError("format", f"{name}{', ' * bool(name)}not a video that is read ({CONTAINERS}); {remedy}")
    try:
        with video.open() as file, av.open(file, "r", format=kind) as container:
            _check(container, limits, kind)
            _stream(container).codec_context.thread_count = 1
            yield container
    except (av.error.FFmpegError, ValueError, IndexError, OverflowError) as error:
        if isinstance(error, VideoError):
            raise
        raise _broken() from None


def _broken() -> VideoError:
    return VideoError("broken", "the video is damaged or truncated; send the whole file")


def _check(container: InputContainer, limits: VideoLimits, kind: str) -> None:
    if not container.streams.video:
        raise VideoError("format", "the file holds no video stream")
    stream = _stream(container)
    if stream.codec_context is None:
        raise VideoError("format", "no decoder is known for the video stream; convert it to H.264")
    width, height = stream.codec_context.width, stream.codec_context.height
    said = 0.0 if kind in _STREAMS else (container.duration or 0) / av.time_base  # of them it is from the first clock
    _check_sizes(limits, width, height, said - late_start(container), stream.frames)


def _check_sizes(limits: VideoLimits, width: int, height: int, seconds: float, frames: int) -> None:
    if width * height > limits.pixels:
        raise VideoError("large", f"frames of {width} × {height}; shrink the video to {limits.pixels} pixels a frame")
    if seconds > limits.seconds:
        raise VideoError("large", f"the video lasts {seconds:.0f} s; cut it to {limits.seconds:g} s")
    if frames > limits.frames:
        raise VideoError("large", f"the video has {frames} frames; cut it to {limits.frames}")


def _stream(container: InputContainer) -> VideoStream:
    """The video itself beside a cover; of several the default one, then the largest, then that of the most frames."""

    def rank(stream: VideoStream) -> tuple[bool, bool, int, int]:
        codec = stream.codec_context
        area = codec.width * codec.height if codec is not None else 0
        return not stream.disposition & _COVER, bool(stream.disposition & _DEFAULT), area, stream.frames

    return max(container.streams.video, key=rank)


def _aspect(stream) -> float:
    """Width of a pixel over its height."""
    return float(stream.sample_aspect_ratio or 1) or 1.0
