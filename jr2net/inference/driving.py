"""Driving a source face: by named coefficients, another face, or the frames of a capture or a video."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from jr2net.data.importing.following import Box, CutDetector
from jr2net.expressions.tracks import Track
from jr2net.face.parameters import FaceParameters
from jr2net.images.face_detector import FaceDetector
from jr2net.images.photo import photo_format
from jr2net.images.video import VideoError, VideoLimits, VideoShape, at_rate, probe_video, read_frames
from jr2net.inference.messages import FaceArrays, Fit, to_face_arrays, to_parameters
from jr2net.inference.photo import NoFaceError, Photo
from jr2net.inference.smoothing import CropSmoother, FaceSmoother
from jr2net.render.scene import recombine

MAX_FPS = 30.0
"""Highest frame rate of generated videos; faster captures and videos are subsampled."""

_EASING_S = 0.3
_FORGOTTEN_S = 2.0  # a person who is lost for longer may be another one
_SAME_PERSON = 1.0  # greatest ``_apart``


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


@dataclass(frozen=True)
class _Seen:
    """Of a located frame: whether a shot begins with it, and whether its face was not seen for a while before it."""

    begins: bool = False
    found_again: bool = False


@dataclass
class VideoTracker:
    """Tracks one person's face in a driving video, frame by frame and in order.

    source  the face that is driven
    fps     rate of the frames that are passed

    Frames without a face hold the face before, at the beginning the first one that is seen; when the face is found
    again, the held one passes into it. A cut begins smoothing and relative motion anew.
    """

    source: FaceArrays
    fps: float
    options: DrivingOptions
    frames: int = field(default=0, init=False)
    unseen: int = field(default=0, init=False)
    cuts: int = field(default=0, init=False)
    _last: Photo | None = field(default=None, init=False)
    _origin: FaceParameters | None = field(default=None, init=False)
    _seen: deque[_Seen] = field(default_factory=deque, init=False)
    _lost: int = field(default=0, init=False)
    _cut: bool = field(default=False, init=False)
    _held: FaceArrays | None = field(default=None, init=False)
    _last_target: FaceArrays | None = field(default=None, init=False)
    _easing: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._smooth_crop, self._smooth_face = CropSmoother(self.fps), FaceSmoother(self.fps)
        self._is_cut = CutDetector()

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
            raise NoFaceError(f"driving: no face was found in any of {self.frames} frames; use a video that shows one")

    def update(self, fit: Fit) -> FaceArrays:
        """The target face of the next frame: the source face, driven by the fitted one."""
        seen = self._seen.popleft() if self._seen else _Seen()
        if seen.begins:
            self._smooth_face, self._origin = FaceSmoother(self.fps), None
        face = to_parameters([fit.face])
        if self.options.smooth:
            face = self._smooth_face(face)
        self._origin = self._origin or face
        if self.options.relative:
            face = _add_change(self._origin, face, to_parameters([self.source]))
        target = apply_driving(self.source, to_face_arrays(face), self.options)
        return self._eased(target, seen.found_again)

    def _find(self, frame: np.ndarray, detector: FaceDetector | None) -> Photo | None:
        """The face of the person that is followed; the largest at first, after a cut, and after a long loss."""
        try:
            found = Photo.from_image(frame, detector=detector, name="driving")
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

    def _eased(self, target: FaceArrays, found_again: bool) -> FaceArrays:
        """The target; after a gap, on the way to it from the one that was held."""
        length = max(1, round(_EASING_S * self.fps))
        if found_again:
            self._held, self._easing = self._last_target, length
        if self._held is not None and self._easing > 0:
            done = 1 - self._easing / (length + 1)
            weight = np.float32(done * done * (3 - 2 * done))
            target = {name: self._held[name] + weight * (value - self._held[name]) for name, value in target.items()}
            self._easing -= 1
        self._last_target = target
        return target


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


def _add_change(origin: FaceParameters, face: FaceParameters, source: FaceParameters) -> FaceParameters:
    """The driving face with the source's expression and pose plus their change since ``origin``."""
    return face.replace(
        expression=(source.expression + face.expression - origin.expression).clamp(0, 1),
        rotation=source.rotation + face.rotation - origin.rotation,
        translation=source.translation + face.translation - origin.translation,
    )
