"""A decoded frame of a video as players show it: turned and mirrored by its display matrix, with square pixels, without
the comb of interlacing, its colours in sRGB. HDR (HLG and PQ) is tone-mapped (``jr2net.images.tone_mapping``)."""

from __future__ import annotations

from typing import Any

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type

from jr2net.images.tone_mapping import to_sdr

_UNSPECIFIED = 2
_BT709, _BT601, _BT2020 = 1, 5, 9
_FULL_RANGE, _LIMITED_RANGE = 2, 1
_ASPECTS = (0.25, 4.0)  # of pixels; what lies beyond is a damaged header


def display_matrix(frame: av.VideoFrame) -> np.ndarray | None:
    """The frame's display matrix (9,); None without one.

    To be asked for once a video: afterwards frame and side data hold each other, and stay in memory for a while.
    """
    side_data: Any = frame.side_data  # its stub knows no keys of its own type
    matrix = side_data.get(Type.DISPLAYMATRIX)
    return None if matrix is None else np.frombuffer(bytes(matrix), np.int32)


def to_picture(frame: av.VideoFrame, aspect: float = 1.0, matrix: np.ndarray | None = None) -> np.ndarray:
    """The frame as (H, W, 3) uint8 RGB, upright. aspect: width of a pixel over its height; matrix: display matrix."""
    rgb = _to_rgb(frame)
    if frame.interlaced_frame and len(rgb) > 2:
        rgb = cv2.resize(np.ascontiguousarray(rgb[::2]), (rgb.shape[1], len(rgb)), interpolation=cv2.INTER_LINEAR)
    if aspect != 1.0 and _ASPECTS[0] <= aspect <= _ASPECTS[1]:
        rgb = cv2.resize(rgb, (max(1, round(rgb.shape[1] * aspect)), len(rgb)), interpolation=cv2.INTER_AREA)
    return rgb if matrix is None else np.ascontiguousarray(turned(rgb, matrix))


def turned(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """An image (H, W, …) turned and mirrored by a display matrix (9,) to the nearest of the 8 ways there are.

    A pixel (x, y) is shown at (a x + c y, b x + d y), with a, b, c, d at indices 0, 1, 3, 4.
    """
    if len(matrix) != 9:
        return image
    a, b, c, d = (int(matrix[index]) for index in (0, 1, 3, 4))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return image.swapaxes(0, 1)[:: -1 if b < 0 else 1, :: -1 if c < 0 else 1]


def _to_rgb(frame: av.VideoFrame) -> np.ndarray:
    matrix = _matrix(frame)
    full = frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj")
    ranges = {"src_color_range": _FULL_RANGE if full else _LIMITED_RANGE, "dst_color_range": _FULL_RANGE}
    if frame.format.is_rgb:
        matrix, ranges = _BT601, {}
    transfer, primaries = int(frame.color_trc), int(frame.color_primaries)

    def convert(layout: str) -> np.ndarray:
        colours = {} if frame.format.is_rgb else {"src_colorspace": matrix, "dst_colorspace": matrix, **ranges}
        return frame.reformat(format=layout, **colours).to_ndarray()

    toned = to_sdr(lambda: convert("rgb48le"), transfer, primaries)
    return convert("rgb24") if toned is None else toned


def _matrix(frame: av.VideoFrame) -> int:
    """The matrix from YUV to RGB; where the file does not say, BT.709 for HD and BT.601 below, as players guess."""
    matrix = int(frame.colorspace)
    if matrix in (_BT709, 4, _BT601, 6, 7, _BT2020):
        return _BT601 if matrix == 6 else matrix
    if matrix == 10:
        return _BT2020
    return _BT709 if frame.width >= 1280 or frame.height > 576 else _BT601
