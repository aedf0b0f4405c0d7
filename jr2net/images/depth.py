"""Pictures of more than 8 bits, and of floating point, to the 8 bits that the networks see.

What counts as white is not written in such files: cameras and microscopes put 12 bits into files of 16, and floating
point ends at 1, at 255 or, of light itself, nowhere. It is told from the brightest pixels.
"""

from __future__ import annotations

import numpy as np

_WHITES = tuple(float(2**bits - 1) for bits in (8, 10, 12, 14, 16))
_BRIGHT = 99.9  # percentile: single pixels, defective ones or highlights, do not decide
_SAMPLE = 2_000_000  # values that suffice to find them
_SLACK = 1.05  # resampling overshoots
_DIM, _OVER, _LIGHT = 0.05, 2.0, 64.0
"""Floating point that ends below the first is stretched; between the latter two it is light itself: nothing else is
written on such a scale."""
_MIDDLE_GREY = 0.18
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


def to_8_bits(values: np.ndarray) -> tuple[np.ndarray, str]:
    """Numbers (H, W) or (H, W, 3) of any type and scale to uint8, and a note on what was taken as white.

    Integers: white is the largest number of 8, 10, 12, 14 or 16 bits that the brightest pixels need. Floating point: 1
    if little is brighter, likewise beyond 64; between them it is light and is tone-mapped (``tone_map``). Signed
    numbers: black lies as far below 0 as white above. NaN is black.
    """
    integers = np.issubdtype(values.dtype, np.integer)
    values = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=np.inf, neginf=-np.inf)
    sample = values.reshape(-1)[:: max(1, values.size // _SAMPLE)]
    finite = sample[np.isfinite(sample)]
    top, low = (float(np.percentile(finite, part)) if finite.size else 0.0 for part in (_BRIGHT, 100 - _BRIGHT))
    if signed := low < -0.1 * max(top, 0.0) - 1e-6:
        top = max(top, -low)
    if not integers and _OVER < top < _LIGHT and not signed:
        return tone_map(values), "values beyond 1 were read as light and tone-mapped"
    if not integers and top <= _OVER:
        white = 1.0 if _DIM < top <= _SLACK or top <= 0 else top
    else:
        white = next((w for w in _WHITES if top <= w * _SLACK), top)
    scaled = values / np.float32(white)
    if signed:
        scaled = (scaled + 1) / 2
    note = "" if white in (1.0, 255.0, 65535.0) and not signed else f"{f'-{white:g}' if signed else '0'} was read as "
    return _quantise(scaled), f"{note}black and {white:g} as white" if note else ""


def tone_map(light: np.ndarray) -> np.ndarray:
    """Linear light (H, W) or (H, W, 3) on any scale to sRGB uint8.

    The global operator of Reinhard et al. (2002, equations 1 to 4): the average of log luminance becomes middle grey,
    and the brightest thousandth white.
    """
    light = np.nan_to_num(
        light.astype(np.float32), nan=0.0, posinf=float(np.finfo(np.float32).max) / 4, neginf=0.0
    ).clip(0)
    luminance = light @ _LUMINANCE if light.ndim == 3 else light
    lit = luminance[luminance > 0]
    if not lit.size:
        return np.zeros(light.shape, np.uint8)
    # The logarithm is clipped to 2^-12 of the brightest: black borders would make everything else white.
    bright = float(np.percentile(lit, _BRIGHT))
    average = float(np.exp(np.log(lit.clip(bright * 2.0**-12, bright)).mean()))
    exposure = _MIDDLE_GREY / average
    exposed, white = luminance * exposure, max(bright * exposure, 1e-6)
    mapped = exposed * (1 + exposed / white**2) / (1 + exposed)
    gain = np.divide(mapped, luminance, out=np.zeros_like(luminance), where=luminance > 0)
    linear = (light * (gain[..., None] if light.ndim == 3 else gain)).clip(0, 1)
    return _quantise(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


def _quantise(values: np.ndarray) -> np.ndarray:
    return (values.clip(0, 1) * 255).round().astype(np.uint8)
