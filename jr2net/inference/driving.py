"""Driving a source face: by named coefficients, another face, or the frames of a capture or a video."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from jr2net.expressions.tracks import Track
from jr2net.images.face_detector import FaceDetector
from jr2net.images.photo import photo_format
from jr2net.images.video import VideoError
from jr2net.inference.control import ControlError, DrivingOptions, amount_of_expression
from jr2net.inference.messages import FaceArrays, Fit, to_face_arrays, to_parameters
from jr2net.inference.photo import NoFaceError, Photo
from jr2net.inference.smoothing import CropSmoother, FaceSmoother

MAX_FPS = 30.0
"""Highest frame rate of generated videos; faster captures and videos are subsampled."""


def frame_step(fps: float) -> int:
    """The subsampling step that brings a frame rate down to about ``MAX_FPS``: every n-th frame is used."""
    return max(1, round(fps / MAX_FPS))


def reference_frame(track: Track, options: DrivingOptions) -> int:
    """The number of a capture's frame of reference. Raises ControlError if the capture is shorter."""
    if options.reference == "first":
        return 0
    if options.reference == "neutral":
        seen = track.seen_frames
        return int(seen[amount_of_expression(track.expression[seen]).argmin()])
    number = round(options.reference * track.fps)
    if number >= len(track):
        raise ControlError(
            f"reference: {options.reference:g} s lies beyond the driving's end; it lasts {len(track) / track.fps:.2f} s"
        )
    return number


@dataclass
class VideoTracker:
    """Tracks the face of a driving video, frame by frame and in order.

    fps        rate of the frames that are passed, after subsampling
    reference  the driving face that motion is relative to, for the caller to set
    name       of the video, as errors call it

    A frame without a face repeats the previous one.
    """

    fps: float
    options: DrivingOptions
    reference: FaceArrays | None = None
    name: str = "driving"
    _last: Photo | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._smooth_crop, self._smooth_face = CropSmoother(self.fps), FaceSmoother(self.fps)

    def locate(self, frame: np.ndarray, detector: FaceDetector | None) -> Photo:
        """The frame (H, W, 3) uint8 with its largest face. Raises NoFaceError if the first frame shows none."""
        try:
            found = Photo.from_image(frame, detector=detector, name=f"{self.name}, first frame")
        except NoFaceError as error:
            if self._last is None:
                raise NoFaceError(error.message(None)) from None
            return self._last
        crop = self._smooth_crop(found.crop) if self.options.smooth else found.crop
        self._last = Photo(frame, found.face, crop, found.faces)
        return self._last

    def track(self, fit: Fit) -> FaceArrays:
        """The driving face of the next frame, smoothed."""
        return to_face_arrays(self._smooth_face(to_parameters([fit.face]))) if self.options.smooth else fit.face


def next_frame(frames: Iterator[np.ndarray], step: int) -> np.ndarray | None:
    """The next frame of a video, after which ``step`` - 1 are skipped; None at the end or if the rest is damaged."""
    try:
        frame = next(frames, None)
        for _ in range(step - 1):
            next(frames, None)
    except VideoError:
        return None
    return frame


def subsample(frames: Iterator[np.ndarray], step: int) -> Iterator[np.ndarray]:
    """Every ``step``-th frame of a video, up to its end or to damaged data."""
    while (frame := next_frame(frames, step)) is not None:
        yield frame


def is_video(content: bytes) -> bool:
    """Whether a file's first bytes are those of an MP4, MOV, WebM or Matroska video."""
    return (content[4:8] == b"ftyp" and not photo_format(content)) or content[:4] == b"\x1a\x45\xdf\xa3"
