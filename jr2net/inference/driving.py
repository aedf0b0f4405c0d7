"""Driving a source face: by named coefficients, another face, or the frames of a capture or a video."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from jr2net.expressions.live_link import head_rotation
from jr2net.expressions.tracks import Track
from jr2net.images.face_detector import FaceDetector
from jr2net.images.video import (
    NO_LIMITS,
    Video,
    VideoError,
    VideoLimits,
    VideoShape,
    at_rate,
    probe_video,
    up_to_damage,
)
from jr2net.images.video_file import VideoFile
from jr2net.inference.confidence import Doubts
from jr2net.inference.control import ControlError, DrivingOptions, amount_of_expression
from jr2net.inference.following import LARGEST, FaceChoice, FaceFollower
from jr2net.inference.messages import FaceArrays, Fit, to_face_arrays, to_parameters
from jr2net.inference.photo import Photo
from jr2net.inference.smoothing import FaceSmoother

MAX_FPS = 30.0
"""Highest frame rate of generated videos; faster captures and videos are subsampled."""

_EASING_S = 0.3
_HEAD = ("headYaw", "headPitch", "headRoll")  # of ``Track.extra``


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


def shows_head(track: Track) -> bool:
    """Whether a capture holds the head's angles; many have columns for them that are 0 throughout."""
    return all(name in track.extra for name in _HEAD) and any(track.extra[name].any() for name in _HEAD)


def capture_faces(track: Track) -> list[FaceArrays]:
    """Each frame's expression, and the head's rotation where the capture holds it; where the head is, none does."""
    faces: list[FaceArrays] = [{"expression": expression} for expression in track.expression]
    if not shows_head(track):
        return faces
    rotations = head_rotation(np.stack([track.extra[name] for name in _HEAD], -1)).astype(np.float32)
    return [{**face, "rotation": rotation} for face, rotation in zip(faces, rotations, strict=True)]


@dataclass(frozen=True)
class _Seen:
    """Of a located frame: whether a shot begins with it, whether its face was not seen for a while before it, and its
    number in the video where it shows the face itself."""

    begins: bool = False
    found_again: bool = False
    number: int | None = None


class VideoTracker:
    """The driving faces of one person in a video, frame by frame and in order.

    fps       rate of the frames that are passed
    detector, choice, name    as of ``FaceFollower``

    Frames without a face hold the face before, at the beginning the first one that is seen; when the face is found
    again, the held one passes into it. A cut begins smoothing and relative motion anew. Raises NoFaceError if there is
    no detector.
    """

    def __init__(
        self,
        fps: float,
        options: DrivingOptions,
        detector: FaceDetector | None,
        choice: FaceChoice = LARGEST,
        name: str = "driving",
    ) -> None:
        self.fps, self.options = fps, options
        self.reference: FaceArrays | None = None
        """The driving face that motion is relative to; None: that of the first frame, after a cut of the next one."""
        self.frames = self.unseen = self.cuts = 0
        self._follow = FaceFollower(detector, fps, choice, name, options.smooth)
        self._smooth, self._reference_is_set = FaceSmoother(fps), False
        self._last: Photo | None = None
        self._seen: deque[_Seen] = deque()
        self._lost, self._cut = 0, False
        self._doubts = Doubts()
        self._held: FaceArrays | None = None
        self._last_face: FaceArrays | None = None
        self._easing = 0

    def set_reference(self, face: FaceArrays) -> None:
        """The driving face that motion is relative to, in all shots."""
        self.reference, self._reference_is_set = face, True

    def notes(self) -> tuple[str, ...]:
        """What was found in the frames so far."""
        gaps = f"{self.unseen} of {self.frames} frames show no face; the face before is held" if self.unseen else ""
        cuts = f"{self.cuts} cut{'s' * (self.cuts > 1)}, after which motion begins anew" if self.cuts else ""
        doubts = self._doubts.notes(self.frames, "driving frames")
        return tuple(note for note in (*self._follow.notes(), gaps, *doubts, cuts) if note)

    def locate(self, frame: np.ndarray) -> list[Photo]:
        """The frame (H, W, 3) uint8 with the face that is followed: one photo for each frame of the film.

        None before a face is seen; with the first one, that for each frame until then.
        """
        self.frames += 1
        followed = self._follow(frame)
        if followed.begins:
            self.cuts, self._cut = self.cuts + 1, True
        if followed.photo is None:
            self.unseen, self._lost = self.unseen + 1, self._lost + 1
            if self._last is None:
                return []
            self._seen.append(_Seen())
            return [self._last]
        first, waiting = self._last is None, self._lost
        self._last = followed.photo
        copies = waiting + 1 if first else 1
        number = self.frames - 1
        self._seen += [_Seen(self._cut, waiting > 0 and not first, number), *[_Seen()] * (copies - 1)]
        self._cut, self._lost = False, 0
        return [self._last] * copies

    def finish(self) -> None:
        """To be called at the end of the frames. Raises NoFaceError if none of them shows the face."""
        self._follow.check_found()

    def confidence(self, photo: Photo, landmarks: np.ndarray) -> float:
        """``FaceFollower.confidence``."""
        return self._follow.confidence(photo, landmarks)

    def track(self, fit: Fit, sure: float = math.nan) -> FaceArrays:
        """The driving face of the next frame, smoothed; after a gap, on the way to it from the one that was held.

        sure: the fit's ``confidence``; NaN: not known
        """
        seen = self._seen.popleft() if self._seen else _Seen()
        if seen.number is not None:
            self._doubts.add(seen.number / self.fps, sure)
        if seen.begins:
            self._smooth = FaceSmoother(self.fps)
            self.reference = self.reference if self._reference_is_set else None
        face = to_face_arrays(self._smooth(to_parameters([fit.face]))) if self.options.smooth else fit.face
        face = self._eased(face, seen.found_again)
        self.reference = self.reference or face
        return face

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


@dataclass(frozen=True)
class Clip:
    """A video that is read as about ``count`` frames (0: not said) at the constant rate of a film, as often as needed.

    name   of the video, as errors call it
    ended  why its frames ended early, if they did
    """

    video: VideoFile
    name: str
    limits: VideoLimits
    fps: float
    count: int
    ended: list[str] = field(default_factory=list)

    @staticmethod
    def open(video: Video, name: str, limits: VideoLimits = NO_LIMITS) -> Clip:
        """Raises VideoError for anything but a video within the limits."""
        file = VideoFile.of(video)
        try:
            shape = probe_video(file, limits)
        except VideoError as error:
            raise VideoError(error.kind, f"{name}: {error}") from None
        fps = film_rate(shape)
        count = round(shape.seconds * fps) or round(shape.frames * fps / shape.fps)
        return Clip(file, name, limits, fps, count)

    def frames(self) -> Iterator[np.ndarray]:
        """(H, W, 3) uint8 each, up to where the video is damaged or exceeds the limits."""
        self.ended.clear()
        frames = up_to_damage(self.video, self.limits, self.ended)
        return (frame.image for frame in at_rate(frames, self.fps))


def film_rate(shape: VideoShape) -> float:
    """The video's own rate if it is constant and at most ``MAX_FPS``, else a half or a third of it, or ``MAX_FPS``."""
    for divisor in (1, 2, 3, 4) if shape.regular else ():
        if MAX_FPS * 0.75 <= shape.fps / divisor <= MAX_FPS * 1.01 or (divisor == 1 and shape.fps <= MAX_FPS):
            return shape.fps / divisor
    return MAX_FPS
