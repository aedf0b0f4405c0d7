"""What is wrong with a dataset's files: the error, and the checks that several readers share."""

from __future__ import annotations

import numpy as np

from jr2net.errors import UserError
from jr2net.face.landmarks import LANDMARKS, LEFT_EYE, MOUTH, RIGHT_EYE

FIVE_POINTS = 5
"""The subject's right eye, left eye, nose, right and left corner of the mouth (left to right in a picture)."""

_WEB_PAGE = (b"<!doctype html", b"<html", b"<head", b"<script")
_FLATTEST = 0.02


class DatasetError(UserError, ValueError):
    """A file of a dataset that cannot be used. The message names the file, the field and the remedy.

    reason: a few words, by which such files are counted.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def refuse_web_page(content: bytes, name: str) -> None:
    """Raises DatasetError where a file's content is HTML: what a server sends instead of a file that it refuses."""
    if content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_WEB_PAGE):
        raise DatasetError(
            "web page",
            f"{name}: is a web page and not the file of this name: the server refused the download (a quota, a login); "
            "download it again",
        )


def check_points(points: np.ndarray, name: str, width: int | None = None, height: int | None = None) -> np.ndarray:
    """Landmarks (68, 2) or (5, 2) as float32; NaN points are accepted.

    Raises DatasetError where they are of another number, not those of a face (columns swapped, left and right
    exchanged), or far outside of a picture of ``width`` × ``height`` pixels.
    """
    points = np.asarray(points, np.float32)
    if points.shape not in ((LANDMARKS, 2), (FIVE_POINTS, 2)):
        count = points.shape[0] if points.ndim else 0
        raise DatasetError("number of landmarks", f"{name}: has {count} landmarks; 68 (iBUG) or 5 are read")
    found = points[np.isfinite(points).all(-1)].astype(np.float64)
    if len(found) < FIVE_POINTS or np.ptp(found, 0).max() < 1:
        raise DatasetError("implausible landmarks", f"{name}: landmarks are missing or in one place; correct the file")
    if width is not None and height is not None:
        low, high = np.array([-0.5 * width, -0.5 * height]), np.array([1.5 * width, 1.5 * height])
        centre = found.mean(0)
        if (centre < 0).any() or (centre > (width, height)).any() or (found < low).any() or (found > high).any():
            raise DatasetError(
                "landmarks outside",
                f"{name}: landmarks lie outside of the picture of {width} × {height} pixels: they belong to another "
                "size or crop of it (aligned and in-the-wild pictures differ), or x and y are swapped",
            )
    if handedness(points) < -_FLATTEST:
        raise DatasetError(
            "implausible landmarks",
            f"{name}: the landmarks are those of a mirrored face: x and y, or left and right, are swapped; correct the "
            "columns",
        )
    return points


def handedness(points: np.ndarray) -> float:
    """Twice the signed area of the triangle of right eye, left eye and mouth (the subject's), over its longest side's
    square: positive for a face in a picture, negative for one that is mirrored or has x and y swapped, near 0 in
    profile. Landmarks are (68, 2) or (5, 2); a head's roll does not matter.
    """
    if len(points) == LANDMARKS:
        parts = [points[RIGHT_EYE], points[LEFT_EYE], points[MOUTH]]
    else:
        parts = [points[:1], points[1:2], points[3:5]]
    right, left, mouth = (np.asarray(part, np.float64).mean(0) for part in parts)
    across, down = left - right, mouth - right
    longest = max(float(side @ side) for side in (across, down, mouth - left))
    area = float(across[0] * down[1] - across[1] * down[0])
    return area / longest if longest > 0 and np.isfinite(area) else 0.0
