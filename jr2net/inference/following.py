"""One person's face through the frames of a video, and its pose in the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from jr2net.data.importing.following import Box, CutDetector, centre_in, faces_around
from jr2net.images.crop import Crop
from jr2net.images.face_detector import UPRIGHT, Face, FaceDetector, detector_for_frames
from jr2net.images.own_detector import OwnDetector
from jr2net.inference.confidence import confidence
from jr2net.inference.messages import FaceArrays
from jr2net.inference.photo import NoFaceError, Photo
from jr2net.inference.smoothing import CropSmoother

_FORGOTTEN_S = 2.0  # a person who is lost for longer may be another one
_SEARCH_S = 0.5  # between searches of the whole picture for a small or tilted face, while none is seen
_EAGER = 3  # frames without the face that are all searched so
_SAME_PERSON = 1.0  # greatest ``_apart``


@dataclass(frozen=True)
class FaceChoice:
    """Which of several faces in a video is meant, at the first frame that shows it.

    index  of the face, starting at 0, the largest first
    box    or its (left, top, right, bottom) in pixels, from the brows to the chin
    """

    index: int = 0
    box: Box | None = None

    @staticmethod
    def of(face: int = 0, box: Sequence[float] | None = None) -> FaceChoice:
        """Raises NoFaceError for an index below 0 or a box without area."""
        if face < 0:
            raise NoFaceError(f"face {face}: indices start at 0, the largest first")
        try:
            return FaceChoice(face, None if box is None else Face.from_box(box).box)
        except ValueError as error:
            raise NoFaceError(str(error)) from None


LARGEST = FaceChoice()


@dataclass(frozen=True)
class FollowedFrame:
    """photo: the frame with the person's face; None: it is not seen. begins: whether a cut lies before the frame, or
    another person may be followed from here on."""

    photo: Photo | None
    begins: bool = False


class FaceFollower:
    """Finds the same person's face in the frames of a video, one per call in order.

    rate    frames per second
    choice  which face
    name    of the video, as errors call it
    smooth  whether the crop moves smoothly

    ``frames`` were passed so far, in ``unseen`` of which the person was not seen. ``own``: whether faces are found by
    the package's own detector.

    Nobody else is taken for the person until a cut, or until it was not seen for two seconds; then the largest face
    counts again, or the one of the chosen index if there are so many. Raises NoFaceError if there is no detector.
    """

    def __init__(
        self,
        detector: FaceDetector | None,
        rate: float = 30.0,
        choice: FaceChoice = LARGEST,
        name: str = "video",
        smooth: bool = True,
    ) -> None:
        if detector is None:
            raise NoFaceError(f"{name}: a video needs a face detector, and none is installed here")
        self.own = isinstance(detector, OwnDetector)
        self.thorough, self.fast = detector, detector_for_frames(detector) or detector
        self._glance: FaceDetector = getattr(detector, "glance", self.fast)
        self.rate, self.choice, self.name, self.smooth = rate, choice, name, smooth
        self._is_cut, self._smooth = CutDetector(), CropSmoother(rate)
        self._box: Box | None = None
        self._roll, self._width = 0.0, 0
        self._chosen, self._faces_found, self._lost = False, 0, 0
        self.frames = self.unseen = 0

    def __call__(self, image: np.ndarray) -> FollowedFrame:
        self.frames += 1
        self._fit_size(image)
        begins = self._is_cut(image) and self._chosen
        forgotten = self._box is not None and self._lost > _FORGOTTEN_S * self.rate
        if begins or forgotten:
            self._box, self._smooth = None, CropSmoother(self.rate)
        faces = self._faces(image)
        face = self._person(faces)
        if face is None:
            self._lost, self.unseen = self._lost + 1, self.unseen + 1
            return FollowedFrame(None, begins)
        begins = begins or (self._chosen and self._box is None)
        if not self._chosen:
            self._chosen, self._faces_found = True, len(faces)
        self._box, self._roll, self._lost = face.box, face.roll(), 0
        crop = self._smooth(face.crop()) if self.smooth else face.crop()
        return FollowedFrame(Photo(image, face, crop, tuple(faces), self.name), begins)

    def check_found(self) -> None:
        """To be called at the end of the frames. Raises NoFaceError if none of them shows the face."""
        if self._chosen:
            return
        of_them = f"{self.name}: none of its {self.frames} frames shows"
        if self.choice.box is not None:
            raise NoFaceError(f"{of_them} a face in the box; give another box")
        if self.choice.index:
            raise NoFaceError(f"{of_them} {self.choice.index + 1} faces; indices start at 0, the largest first")
        raise NoFaceError(f"{of_them} a face; use a video that shows one from the front")

    def confidence(self, photo: Photo, landmarks: np.ndarray) -> float:
        """The probability in [0, 1] that a frame's crop holds a face that a fit describes, whose landmarks are (68, 2)
        in pixels of the frame."""
        return confidence(photo.image, photo.crop, landmarks, photo.face if self.own else None)

    def notes(self) -> tuple[str, ...]:
        """Which of several faces is followed; nothing where its box was given."""
        if self._faces_found < 2 or self.choice.box is not None:
            return ()
        return (f"face {self.choice.index} of {self._faces_found} is followed, 0 is the largest",)

    def _faces(self, image: np.ndarray) -> list[Face]:
        """The faces around the place where the person was last, or is to be; if it is not there, those of the picture,
        the largest first."""
        before = self._box if self._chosen else self.choice.box
        due = self._lost % max(1, round(_SEARCH_S * self.rate)) == 0
        look = self.fast if due or self._lost < _EAGER else self._glance
        if before is not None:
            near = faces_around(look, image, before, roll=self._roll if abs(self._roll) >= UPRIGHT else 0.0)
            if self._person(near) is not None:
                return near
        faces = look(image)
        if self._box is not None or self.fast is self.thorough or (self.own and not faces):
            return faces
        # At first small faces beside a large one may be meant; heads upside down are searched for now and then.
        return self.thorough(image) if (not self._chosen if faces else due) else faces

    def _fit_size(self, image: np.ndarray) -> None:
        """Brings the person's last place to the size of the frame, which may change within a video."""
        scale, self._width = image.shape[1] / (self._width or image.shape[1]), image.shape[1]
        if scale != 1 and self._box is not None:
            self._box = Face(self._box).scaled(scale).box
            self._smooth = CropSmoother(self.rate)

    def _person(self, faces: Sequence[Face]) -> Face | None:
        before, box = self._box, self.choice.box
        if before is not None:
            near = [face for face in faces if _apart(face.box, before) < _SAME_PERSON]
            return min(near, key=lambda face: _apart(face.box, before), default=None)
        if self._chosen:
            return faces[min(self.choice.index, len(faces) - 1)] if faces else None
        if box is not None:
            return next((face for face in faces if centre_in(face.box, box)), None)
        return faces[self.choice.index] if self.choice.index < len(faces) else None


def _apart(a: Box, b: Box) -> float:
    """How far apart two boxes are, in sides of the second, with the logarithm of the ratio of their sides."""
    sides = [max(right - left, bottom - top, 1.0) for left, top, right, bottom in (a, b)]
    distance = np.hypot((a[0] + a[2] - b[0] - b[2]) / 2, (a[1] + a[3] - b[1] - b[3]) / 2)
    return float(distance / sides[1] + abs(np.log2(sides[0] / sides[1])))


@dataclass
class PictureCamera:
    """The camera of the whole picture: its principal point is the middle, its focal length that of the first crop.

    focal_ratio: focal length of a crop's camera as a multiple of its side.
    """

    focal_ratio: float
    _focal: float = field(default=0.0, init=False)

    @property
    def focal(self) -> float:
        """In pixels of the picture; 0 before the first face."""
        return self._focal

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
