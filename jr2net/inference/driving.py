"""Driving a source face: by named coefficients, another face, or the frames of a capture or a video."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from jr2net.expressions.tracks import Track
from jr2net.face.parameters import FaceParameters
from jr2net.images.face_detector import FaceDetector, detector_for_frames
from jr2net.images.photo import photo_format
from jr2net.images.video import VideoError
from jr2net.inference.messages import FaceArrays, Fit, to_face_arrays, to_parameters
from jr2net.inference.photo import NoFaceError, Photo
from jr2net.inference.smoothing import CropSmoother, FaceSmoother
from jr2net.render.scene import recombine

MAX_FPS = 30.0
"""Highest frame rate of generated videos; faster captures and videos are subsampled."""


@dataclass(frozen=True)
class DrivingOptions:
    """What is transferred from the driving face to the source besides its expression, and how.

    pose      transfer the head's rotation and translation
    light     transfer the light
    relative  add the change since the first frame to the source's own expression and pose; for a single set of
              coefficients: add them to the source's own
    smooth    smooth the faces of a driving video over time
    """

    pose: bool = False
    light: bool = False
    relative: bool = False
    smooth: bool = True

    @property
    def affects_whole_crop(self) -> bool:
        """Whether the image changes beyond the face, as it does with another pose or light."""
        return self.pose or self.light


def apply_expression(source: FaceArrays, expression: np.ndarray, relative: bool = False) -> FaceArrays:
    """The source face with coefficients (51,) instead of its own, or added to its own and clamped to [0, 1]."""
    target = (source["expression"] + expression).clip(0, 1) if relative else expression
    return {**source, "expression": target.astype(np.float32)}


def apply_driving(source: FaceArrays, driving: FaceArrays, options: DrivingOptions) -> FaceArrays:
    """The source face with the driving face's expression and, depending on the options, its pose and light."""
    return to_face_arrays(recombine(to_parameters([source]), to_parameters([driving]), options.pose, options.light))


def frame_step(fps: float) -> int:
    """The subsampling step that brings a frame rate down to about ``MAX_FPS``: every n-th frame is used."""
    return max(1, round(fps / MAX_FPS))


def faces_from_capture(track: Track, source: FaceArrays, relative: bool = False) -> Iterator[FaceArrays]:
    """The source face with the coefficients of every ``frame_step(track.fps)``-th frame of a capture."""
    first = track.expression[0] if relative else 0
    for expression in track.expression[:: frame_step(track.fps)]:
        yield apply_expression(source, expression - first, relative)


@dataclass
class VideoTracker:
    """Tracks the face of a driving video, frame by frame and in order.

    source  the face that is driven
    fps     rate of the frames that are passed, after subsampling

    A frame without a face repeats the previous one.
    """

    source: FaceArrays
    fps: float
    options: DrivingOptions
    _last: Photo | None = field(default=None, init=False)
    _origin: FaceParameters | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._smooth_crop, self._smooth_face = CropSmoother(self.fps), FaceSmoother(self.fps)

    def locate(self, frame: np.ndarray, detector: FaceDetector | None) -> Photo:
        """The frame (H, W, 3) uint8 with its largest face. Raises NoFaceError if the first frame shows none."""
        try:
            found = Photo.from_image(frame, detector=detector_for_frames(detector), name="driving, first frame")
        except NoFaceError as error:
            if self._last is None:
                raise NoFaceError(error.message(None)) from None
            return self._last
        crop = self._smooth_crop(found.crop) if self.options.smooth else found.crop
        self._last = Photo(frame, found.face, crop, found.faces)
        return self._last

    def update(self, fit: Fit) -> FaceArrays:
        """The target face of the next frame: the source face, driven by the fitted one."""
        face = to_parameters([fit.face])
        if self.options.smooth:
            face = self._smooth_face(face)
        self._origin = self._origin or face
        if self.options.relative:
            face = _add_change(self._origin, face, to_parameters([self.source]))
        return apply_driving(self.source, to_face_arrays(face), self.options)


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


def _add_change(origin: FaceParameters, face: FaceParameters, source: FaceParameters) -> FaceParameters:
    """The driving face with the source's expression and pose plus their change since ``origin``."""
    return face.replace(
        expression=(source.expression + face.expression - origin.expression).clamp(0, 1),
        rotation=source.rotation + face.rotation - origin.rotation,
        translation=source.translation + face.translation - origin.translation,
    )
