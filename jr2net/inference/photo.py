"""A photo with one selected face: the face's box and the crop that the networks get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from jr2net import storage
from jr2net.errors import UserError
from jr2net.images.arrays import to_tensor
from jr2net.images.crop import Crop
from jr2net.images.face_detector import Face, FaceDetector, load_face_detector
from jr2net.images.photo import MAX_PIXELS, PhotoError, read_photo


class NoFaceError(UserError, ValueError):
    """The requested face was not found in a photo. The message names the remedy.

    reason   what is wrong, and a remedy
    instead  how a remedy goes on that consists in giving the face's box; empty: a box does not help
    """

    def __init__(self, reason: str, instead: str = "") -> None:
        self.reason, self.instead = reason, instead
        super().__init__(self.message("box="))

    def message(self, option: str | None) -> str:
        """The message for callers who give a box by ``option``, e.g. ``--box``; None: for those who cannot give one."""
        if not self.instead or option is None:
            return self.reason
        return f"{self.reason}{self.instead} {option}left,top,right,bottom in pixels, from the brows to the chin"


@dataclass(frozen=True)
class Photo:
    """One face of a photo.

    image  (H, W, 3) uint8 RGB, upright
    face   the selected face: its box, the detector's score and, if it was detected, 68 landmarks
    crop   the square around the face that the networks get
    faces  all faces that the detector found, the largest first; empty if the caller gave the box
    name   what error messages call the photo
    notes  what of the file was left out or had to be assumed (``DecodedPhoto``)
    """

    image: np.ndarray
    face: Face
    crop: Crop
    faces: tuple[Face, ...] = ()
    name: str = "image"
    notes: tuple[str, ...] = ()
    _crops: dict[tuple[int, bool], np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def open(
        source: str | Path | bytes,
        face: int = 0,
        box: Sequence[float] | None = None,
        detector: FaceDetector | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> Photo:
        """Reads a photo (a path, an ``s3://`` URI or the file's bytes) and locates the face in it.

        face      index of the face, starting at 0, the largest first
        box       (left, top, right, bottom) of the face in pixels of the upright photo, from the brows to the chin;
                  no detector is needed then
        detector  the default is the installed one (``jr2net.images.face_detector``)

        Raises PhotoError if the file is not a photo, StorageError if it cannot be read, NoFaceError if the face is
        not found.
        """
        content, name = (source, "image") if isinstance(source, bytes) else (storage.read_bytes(str(source)), source)
        try:
            decoded = read_photo(content, max_pixels)
        except PhotoError as error:
            raise PhotoError(error.kind, f"{name}: {error}") from None
        if box is None and detector is None:
            detector = installed_detector()
        return Photo.from_image(decoded.pixels, face, box, detector, str(name), decoded.notes)

    @staticmethod
    def from_image(
        image: np.ndarray,
        face: int = 0,
        box: Sequence[float] | None = None,
        detector: FaceDetector | None = None,
        name: str = "image",
        notes: tuple[str, ...] = (),
    ) -> Photo:
        """A photo from a decoded image (H, W, 3) uint8 RGB, upright. Without ``box`` a detector is needed."""
        if box is not None:
            return replace(_photo_with_box(image, box, name), notes=notes)
        if detector is None:
            raise NoFaceError(f"{name}: no face detector is installed here", "; give the face's box:")
        faces = detector(image)
        if not faces:
            raise NoFaceError(
                f"{name}: no face was found. Use a photo that shows one from the front", ", or give its box:"
            )
        if not 0 <= face < len(faces):
            raise NoFaceError(
                f"{name}: face {face} was requested, but {len(faces)} were found; indices start at 0, the largest first"
            )
        return Photo(image, faces[face], faces[face].crop(), tuple(faces), name, notes)

    @property
    def index(self) -> int | None:
        """Which of ``faces`` was taken; None if the caller gave the box."""
        return next((number for number, face in enumerate(self.faces) if face is self.face), None)

    @property
    def faces_found(self) -> int:
        """Number of faces that the detector found; 0 if the caller gave the box."""
        return len(self.faces)

    def shrunk(self, longest_side: int) -> Photo:
        """The photo with its longest side at most ``longest_side`` pixels, and the same face."""
        image, scale = shrink_to(self.image, longest_side)
        if scale == 1:
            return self
        faces = tuple(face.scaled(scale) for face in self.faces)
        face = self.face.scaled(scale) if self.index is None else faces[self.index]
        return Photo(image, face, self.crop.scaled(scale), faces, self.name, self.notes)

    def crop_image(self, size: int, continued: bool = False) -> np.ndarray:
        """(size, size, 3) uint8: the crop at the input size of a network; cached.

        continued: beyond the photo its outermost pixels go on, instead of black. Reenactors are given such crops: when
        the head moves, they draw in the photo what lay outside of it.
        """
        key = size, continued and self.crop.leaves(self.image)
        if key not in self._crops:
            self._crops[key] = self.crop.apply(self.image, *key)
        return self._crops[key]

    def crop_tensor(self, size: int) -> Tensor:
        """The crop as (1, 3, size, size) float32 in [0, 1]."""
        return to_tensor([self.crop_image(size)])


def shrink_to(image: np.ndarray, longest_side: int) -> tuple[np.ndarray, float]:
    """The image with its longest side at most ``longest_side`` pixels, and the scale (at most 1)."""
    scale = longest_side / max(image.shape[:2])
    if scale >= 1:
        return image, 1.0
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), scale


def _photo_with_box(image: np.ndarray, box: Sequence[float], name: str) -> Photo:
    try:
        face = Face.from_box(box)
    except ValueError as error:
        raise NoFaceError(f"{name}: {error}") from None
    height, width = image.shape[:2]
    left, top, right, bottom = face.box
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        raise NoFaceError(f"{name}: box {[*face.box]} lies outside the image of {width} × {height} pixels")
    if max(right - left, bottom - top) > 4 * max(width, height):
        raise NoFaceError(f"{name}: box {[*face.box]} is far larger than the image of {width} × {height} pixels")
    return Photo(image, face, face.crop(), (), name)


@lru_cache(maxsize=1)
def installed_detector() -> FaceDetector:
    """The default face detector of this environment (``load_face_detector``), loaded once."""
    return load_face_detector()
