"""A run of consecutive frames of one clip: encoded images, landmarks and, if known, the ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jr2net.face.landmarks import LANDMARKS
from jr2net.storage.parquet import ShardError


@dataclass(frozen=True)
class ClipTruth:
    """Ground truth of one row of T frames filmed by the studio; float32 arrays as in ``FaceParameters``.

    identity (K,), albedo (A,), expression (T, 51), rotation (T, 3), translation (T, 3), light (T, 9, 3)
    keypoints (T, 70, 2): fractions of the image's side, see ``face.landmarks``; shards do not hold them
    """

    identity: np.ndarray
    albedo: np.ndarray
    expression: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    light: np.ndarray
    keypoints: np.ndarray | None = None


@dataclass(frozen=True)
class ClipRow:
    """A run of T frames of one clip.

    frame      (T,) int32           frame numbers in the footage, ascending
    images     T × bytes            square JPEG or PNG
    landmarks  (T, 68, 2) float32   pixels of the stored image, NaN where undetected
    matte      T × bytes            grey PNG of the image's side, 255 where it shows the person; None: unknown
    expression (T, 51) float32      what images were made from, or a capture says; None: not known, or in ``truth``
    """

    clip_id: str
    identity: str
    fps: float
    frame: np.ndarray
    images: tuple[bytes, ...]
    landmarks: np.ndarray
    truth: ClipTruth | None = None
    license: str = ""
    matte: tuple[bytes, ...] | None = None
    expression: np.ndarray | None = None

    def __post_init__(self) -> None:
        count = len(self.images)
        if len(self.frame) != count or self.landmarks.shape != (count, LANDMARKS, 2):
            raise ShardError(
                f"clip {self.clip_id!r}: {count} images, {len(self.frame)} frame numbers and landmarks of shape "
                f"{self.landmarks.shape}; expected one number and 68 × 2 landmarks per image"
            )
        if self.matte is not None and len(self.matte) != count:
            raise ShardError(f"clip {self.clip_id!r}: {count} images and {len(self.matte)} mattes; expected as many")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def encoded_bytes(self) -> int:
        """Size of the encoded images and mattes."""
        return sum(map(len, self.images)) + sum(map(len, self.matte or ()))
