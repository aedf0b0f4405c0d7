"""A photo and the face in it that is meant: which one, where, and what of it the networks see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from jr2net.errors import UserError
from jr2net.images.arrays import to_tensor
from jr2net.images.crop import Crop
from jr2net.images.face_detector import Face, FaceDetector


class NoFaceError(UserError, ValueError):
    """A photo in which the face that is asked for is not found; the message says what to do."""


@dataclass(frozen=True)
class Portrait:
    """One face of a photo.

    photo  (H, W, 3) uint8 RGB, upright
    face   which one
    crop   the square around it that the networks see
    found  how many faces the detector saw; 0 where the caller gave the box
    """

    photo: np.ndarray
    face: Face
    crop: Crop
    found: int
    _cuts: dict[int, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def cut(self, size: int) -> np.ndarray:
        """(size, size, 3) uint8: what a network of that size is shown. Cut once, however often it is asked for."""
        if size not in self._cuts:
            self._cuts[size] = self.crop.apply(self.photo, size)
        return self._cuts[size]

    def picture(self, size: int) -> Tensor:
        """The same as (1, 3, size, size) in [0, 1]."""
        return to_tensor([self.cut(size)])


def take_portrait(
    photo: np.ndarray, detector: FaceDetector | None, box: Sequence[float] | None = None, which: int = 0
) -> Portrait:
    """The face in a caller's ``box`` (left, top, right, bottom), or the detector's ``which``-th by size (0: largest).

    Raises NoFaceError; ValueError for a box that is none.
    """
    if box is not None:
        face = Face.from_box(box)
        height, width = photo.shape[:2]
        left, top, right, bottom = face.box
        if left >= width or top >= height or right <= 0 or bottom <= 0:
            raise ValueError(f"box {[*face.box]} lies outside the picture of {width} × {height} pixels")
        if max(right - left, bottom - top) > 4 * max(width, height):
            raise ValueError(f"box {[*face.box]} is far larger than the picture of {width} × {height} pixels")
        return Portrait(photo, face, face.crop(), 0)
    if detector is None:
        raise NoFaceError(
            "no face detector is installed here: say where the face is with box=left,top,right,bottom in pixels, from "
            "the brows to the chin"
        )
    faces = detector(photo)
    if not faces:
        raise NoFaceError(
            "no face was found; send a picture in which one is seen from the front, or say where it is with "
            "box=left,top,right,bottom in pixels, from the brows to the chin"
        )
    if which >= len(faces):
        raise NoFaceError(f"face {which} was asked for, and {len(faces)} found; they are counted from 0, largest first")
    return Portrait(photo, faces[which], faces[which].crop(), len(faces))
