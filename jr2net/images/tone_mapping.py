"""HDR and wide-gamut pictures as SDR in sRGB.

HLG and PQ: ITU-R BT.2100-2, tables 4 and 5; HLG is shown by a display of 1,000 cd/m² (OOTF of gamma 1.2). Reference
white is 203 cd/m² (ITU-R BT.2408): what is darker keeps its brightness, highlights are compressed into the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

_PQ, _HLG = 16, 18  # transfer characteristics of ITU-T H.273
HDR_TRANSFERS = (_PQ, _HLG)
_WHITE = 203.0  # cd/m²
_PEAK = 1000.0  # cd/m²
_KNEE = 0.75  # of reference white: from here on highlights are compressed
_GAMMA = 2.2  # of the screens that show sRGB
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)  # of BT.2020

_FROM_BT2020 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
_FROM_P3 = np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]], np.float32)
_TO_BT709 = {9: _FROM_BT2020, 11: _FROM_P3, 12: _FROM_P3}  # by primaries of ITU-T H.273
_STEPS = 4096


def to_sdr(load: Callable[[], np.ndarray], transfer: int, primaries: int) -> np.ndarray | None:
    """The picture (H, W, 3) uint8 in sRGB; None where it is SDR of BT.709 already and nothing is to be done.

    load                 returns the picture (H, W, 3) uint16 RGB
    transfer, primaries  codes of ITU-T H.273
    """
    hdr = transfer in HDR_TRANSFERS
    if not hdr and primaries not in _TO_BT709:
        return None
    linear = _linear(transfer)[load() >> 4]
    if transfer == _HLG:
        luminance = cv2.transform(linear, _LUMINANCE[None])
        linear *= np.float32(_PEAK / _WHITE) * cv2.pow(np.maximum(luminance, 1e-6), 0.2)[..., None]
    primaries = primaries if primaries in _TO_BT709 or not hdr else 9
    linear = cv2.transform(linear, _TO_BT709[primaries])
    root = cv2.sqrt(np.clip(linear, 0, _PEAK / _WHITE if hdr else 1) / np.float32(_PEAK / _WHITE))
    return _encoded(hdr)[(root * (_STEPS - 1) + 0.5).astype(np.uint16)]


@lru_cache(maxsize=4)
def _linear(transfer: int) -> np.ndarray:
    """(4096,) float32: linear light of 12 bit codes; 1 is reference white, of HLG the scene's peak."""
    code = np.linspace(0, 1, 4096)
    if transfer == _HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12).astype(np.float32)
    if transfer == _PQ:
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        root = code ** (1 / m2)
        light = (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
        return (light * 10000 / _WHITE).astype(np.float32)
    return (code**_GAMMA).astype(np.float32)


@lru_cache(maxsize=2)
def _encoded(hdr: bool) -> np.ndarray:
    """(4096,) uint8: the SDR code of square roots of linear light, 1 being the peak of HDR."""
    light = np.linspace(0, 1, _STEPS) ** 2 * _PEAK / _WHITE
    if hdr:
        room, peak = 1 - _KNEE, _PEAK / _WHITE - _KNEE
        over = np.maximum(light - _KNEE, 0)
        # a rational curve with slope 1 at the knee that reaches 1 at the peak
        curved = _KNEE + over / (1 + over * (1 / room - 1 / peak))
        light = np.where(light > _KNEE, curved, light)
    return np.round(255 * np.clip(light, 0, 1) ** (1 / _GAMMA)).astype(np.uint8)
