"""Driving a source face: by named coefficients, another face, or the frames of a capture or a video."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from jr2net.data.importing.following import Box, CutDetector
from jr2net.expressions.tracks import Track
from jr2net.images.face_detector import FaceDetector, detector_for_frames
from jr2net.images.photo import photo_format
from jr2net.images.video import VideoError, VideoLimits, VideoShape, at_rate, probe_video, read_frames
from jr2net.inference.control import ControlError, DrivingOptions, amount_of_expression
from jr2net.inference.messages import FaceArrays, Fit, to_face_arrays, to_parameters
from jr2net.inference.photo import NoFaceError, Photo
from jr2net.inference.smoothing import CropSmoother, FaceSmoother

MAX_FPS = 30.0
"""Highest frame rate of generated videos; faster captures and videos are subsampled."""

_EASING_S = 0.3
_FORGOTTEN_S = 2.0  # a person who is lost for longer may be another one
_SAME_PERSON = 1.0  # greatest ``_apart``


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


@dataclass(frozen=True)
class _Seen:
    """Of a located frame: whether a shot begins with it, and whether its face was not seen for a while before it."""

    begins: bool = False
    found_again: bool = False


@dataclass
class VideoTracker:
    """Tracks one person's face in a driving video, frame by frame and in order.

    fps        rate of the frames that are passed
    reference  the driving face that motion is relative to; None: that of the first frame, after a cut of the next one
    name       of the video, as errors call it

    Frames without a face hold the face before, at the beginning the first one that is seen; when the face is found
    again, the held one passes into it. A cut begins smoothing and relative motion anew.
    """

    fps: float
    options: DrivingOptions
    reference: FaceArrays | None = None
    name: str = "driving"
    frames: int = field(default=0, init=False)
    unseen: int = field(default=0, init=False)
    cuts: int = field(default=0, init=False)
    _last: Photo | None = field(default=None, init=False)
    _seen: deque[_Seen] = field(default_factory=deque, init=False)
    _lost: int = field(default=0, init=False)
    _cut: bool = field(default=False, init=False)
    _held: FaceArrays | None = field(default=None, init=False)
    _last_face: FaceArrays | None = field(default=None, init=False)
    _easing: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._smooth_crop, self._smooth_face = CropSmoother(self.fps), FaceSmoother(self.fps)
        self._is_cut, self._reference_is_set = CutDetector(), self.reference is not None

    def set_reference(self, face: FaceArrays) -> None:
        """The driving face that motion is relative to, in all shots."""
        self.reference, self._reference_is_set = face, True

    def notes(self) -> tuple[str, ...]:
        """What was found in the frames so far."""
        gaps = f"{self.unseen} of {self.frames} frames show no face; the face before is held" if self.unseen else ""
        cuts = f"{self.cuts} cut{'s' * (self.cuts > 1)}, after which motion begins anew" if self.cuts else ""
        return tuple(note for note in (gaps, cuts) if note)

    def locate(self, frame: np.ndarray, detector: FaceDetector | None) -> list[Photo]:
        """The frame (H, W, 3) uint8 with the face that is followed: one photo for each frame of the film.

        None before a face is seen; with the first one, that for each frame until then. Raises NoFaceError if there is
        no detector.
        """
        self.frames += 1
        if self._is_cut(frame) and self._last is not None:
            self.cuts, self._cut = self.cuts + 1, True
        found = self._find(frame, detector)
        if found is None:
            self.unseen, self._lost = self.unseen + 1, self._lost + 1
            if self._last is None:
                return []
            self._seen.append(_Seen())
            return [self._last]
        first, waiting = self._last is None, self._lost
        if self._cut:
            self._smooth_crop = CropSmoother(self.fps)
        crop = self._smooth_crop(found.crop) if self.options.smooth else found.crop
        self._last = Photo(frame, found.face, crop, found.faces)
        copies = waiting + 1 if first else 1
        self._seen += [_Seen(self._cut, waiting > 0 and not first), *[_Seen()] * (copies - 1)]
        self._cut, self._lost = False, 0
        return [self._last] * copies

    def finish(self) -> None:
        """To be called at the end of the frames. Raises NoFaceError if none of them shows a face."""
        if self._last is None:
            raise NoFaceError(
                f"{self.name}: no face was found in any of {self.frames} frames; use a video that shows one"
            )

    def track(self, fit: Fit) -> FaceArrays:
        """The driving face of the next frame, smoothed; after a gap, on the way to it from the one that was held."""
        seen = self._seen.popleft() if self._seen else _Seen()
        if seen.begins:
            self._smooth_face = FaceSmoother(self.fps)
            self.reference = self.reference if self._reference_is_set else None
        face = to_face_arrays(self._smooth_face(to_parameters([fit.face]))) if self.options.smooth else fit.face
        face = self._eased(face, seen.found_again)
        self.reference = self.reference or face
        return face

    def _find(self, frame: np.ndarray, detector: FaceDetector | None) -> Photo | None:
        """The face of the person that is followed; the largest at first, after a cut, and after a long loss."""
        try:
            found = Photo.from_image(frame, detector=detector_for_frames(detector), name=self.name)
        except NoFaceError as error:
            if detector is None:
                raise NoFaceError(error.message(None)) from None
            return None
        if self._last is None or self._cut or self._lost > _FORGOTTEN_S * self.fps:
            return found
        before = self._last.face.box
        near = [face for face in found.faces if _apart(face.box, before) < _SAME_PERSON]
        if not near:
            return None
        face = min(near, key=lambda face: _apart(face.box, before))
        return Photo(frame, face, face.crop(), found.faces, found.name)

    def _eased(self, face: FaceArrays, found_again: bool) -> FaceArrays:
        """The face; after a gap, on the way to it from the one that was held."""
        length = max(1, round(_EASING_S * self.fps))
        if found_again:
            self._held, self._easing = self._last_face, length
        if self._held is not None and self._easing > 0:
            done = 1 - self._easing / (length + 1)
            weight = np.float32(done * done * (3 - 2 * done))
            face = {name: self._held[name] + weight * (value - self._held[name]) for name, value in face.items()}
            self._easing -= 1
        self._last_face = face
        return face


def film_frames(content: bytes, limits: VideoLimits) -> tuple[float, int, Iterator[np.ndarray]]:
    """The frames of a driving video at the constant rate of the film: the rate, their number (0: not said), and the
    frames (H, W, 3) uint8. Raises VideoError at once if it is no video; data that is damaged later ends it."""
    shape = probe_video(content, limits)
    fps = film_rate(shape)

    def frames() -> Iterator[np.ndarray]:
        with suppress(VideoError):
            yield from (frame.image for frame in at_rate(read_frames(content, limits), fps))

    return fps, round(shape.seconds * fps) or round(shape.frames * fps / shape.fps), frames()


def film_rate(shape: VideoShape) -> float:
    """The video's own rate if it is constant and at most ``MAX_FPS``, else a half or a third of it, or ``MAX_FPS``."""
    for divisor in (1, 2, 3, 4) if shape.regular else ():
        if MAX_FPS * 0.75 <= shape.fps / divisor <= MAX_FPS * 1.01 or (divisor == 1 and shape.fps <= MAX_FPS):
            return shape.fps / divisor
    return MAX_FPS


def is_video(content: bytes) -> bool:
    """Whether a file's first bytes are those of an MP4, MOV, WebM or Matroska video."""
    return (content[4:8] == b"ftyp" and not photo_format(content)) or content[:4] == b"\x1a\x45\xdf\xa3"


def _apart(a: Box, b: Box) -> float:
    """How far apart two boxes are, in sides of the second, with the logarithm of the ratio of their sides."""
    sides = [max(right - left, bottom - top, 1.0) for left, top, right, bottom in (a, b)]
    distance = np.hypot((a[0] + a[2] - b[0] - b[2]) / 2, (a[1] + a[3] - b[1] - b[3]) / 2)
    return float(distance / sides[1] + abs(np.log2(sides[0] / sides[1])))
