"""One person's face through the frames of a video, and its pose in the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from jr2net.data.importing.following import Box, Follower, box_of
from jr2net.data.readers.layout import Frame
from jr2net.images.crop import Crop
from jr2net.images.face_detector import Face, FaceDetector, detector_for_frames
from jr2net.images.video import VideoFrame
from jr2net.inference.messages import FaceArrays
from jr2net.inference.photo import Photo
from jr2net.inference.smoothing import CropSmoother

_CROP_RATE = 30.0  # frames a second that the crop's smoothing assumes


@dataclass(frozen=True)
class FollowedFrame:
    """photo: the frame with the person's face; None: it is not seen. begins: whether a cut lies before the frame."""

    seconds: float
    photo: Photo | None
    begins: bool


class FaceFollower:
    """Finds the same person's face in the frames of a video, one per call in order.

    face  index of the face in the first frame that shows so many, starting at 0, the largest first
    box   or its (left, top, right, bottom) there, in pixels
    """

    def __init__(self, detector: FaceDetector, face: int = 0, box: Sequence[float] | None = None) -> None:
        self.detector, self.face, self.box = detector, face, None if box is None else cast(Box, tuple(box))
        self._follow, self._number = Follower(detector_for_frames(detector), still=False), 0
        self._smooth: CropSmoother | None = None

    def __call__(self, frame: VideoFrame) -> FollowedFrame:
        number, self._number = self._number, self._number + 1
        if self.box is None and self._smooth is None and self.face:
            faces = self.detector(frame.image)
            if len(faces) <= self.face:
                return FollowedFrame(frame.seconds, None, False)
            self.box = faces[self.face].box
        sight = self._follow(Frame(number, frame.image, box=self.box if self._smooth is None else None))
        if sight.landmarks is None:
            return FollowedFrame(frame.seconds, None, sight.begins)
        begins = sight.begins and self._smooth is not None
        if begins or self._smooth is None:
            self._smooth = CropSmoother(_CROP_RATE)
        face = Face(box_of(sight.landmarks), landmarks=sight.landmarks)
        return FollowedFrame(frame.seconds, Photo(frame.image, face, self._smooth(face.crop())), begins)


@dataclass
class PictureCamera:
    """The camera of the whole picture: its principal point is the middle, its focal length that of the first crop.

    focal_ratio: focal length of a crop's camera as a multiple of its side.
    """

    focal_ratio: float
    _focal: float = field(default=0.0, init=False)

    def place(self, face: FaceArrays, photo: Photo) -> FaceArrays:
        """The face, fitted to the crop of a photo, with the pose that it has in the picture: a crop may be turned, lies
        aside, and its camera has a focal length of its own."""
        crop: Crop = photo.crop
        height, width = photo.image.shape[:2]
        own = self.focal_ratio * crop.side
        self._focal = self._focal or own
        pitch, yaw, roll = face["rotation"].tolist()
        x, y, z = face["translation"].tolist()
        cosine, sine = np.cos(crop.roll), np.sin(crop.roll)
        x, y = cosine * x - sine * y, sine * x + cosine * y
        x, y = x + (crop.center[0] - width / 2) * z / own, y + (crop.center[1] - height / 2) * z / own
        return {
            **face,
            "rotation": np.array([pitch, yaw, roll - crop.roll], np.float32),
            "translation": np.array([x, y, z * self._focal / own], np.float32),
        }
