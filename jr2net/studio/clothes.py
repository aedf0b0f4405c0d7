"""Clothes: the colour at every point of neck and shoulders."""

from __future__ import annotations

import numpy as np

from jr2net.studio.people import Clothes
from jr2net.studio.textures import fractal_noise, lookup, mix, smoothstep


def dress(clothes: Clothes, position: np.ndarray, skin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Paints clothes over the skin.

    position (P, 3) in mm from the base of the neck; skin (P, 3) colour. Returns the colour (P, 3) and the fraction of
    bare skin (P,) in [0, 1].
    """
    x, y, z = position.T
    front = smoothstep(0, 30, z)
    folds = lookup(fractal_noise(1.6), x * 0.5, y * 0.5)[:, None]
    if clothes.kind == "bare":
        return skin, np.ones_like(x)
    if clothes.kind == "turtleneck":
        covered = smoothstep(0, 3, 52 - y)
        return mix(skin, _cloth(clothes, x, y, folds), covered[:, None]), 1 - covered
    if clothes.kind == "suit":
        covered = smoothstep(0, 3, 26 - y - 0.3 * front * (20 - np.abs(x)))
        colour = mix(skin, clothes.inner, covered[:, None])
        tie = (np.abs(x) < 9 + 0.07 * np.clip(-y, 0, 200)) & (front > 0.5) & (y < 12)
        colour[tie] = clothes.tie * np.clip(1 + 0.15 * folds[tie], 0, 2)
        lapel = smoothstep(0, 6, np.abs(x) - 30 - 0.12 * (y + 120)) * front + (1 - front)
        jacket = lapel * smoothstep(0, 3, 12 - y)
        return mix(colour, _cloth(clothes, x, y, folds), jacket[:, None]), 1 - covered
    covered = smoothstep(0, 4, 22 - front * clothes.neckline * np.clip(1 - np.abs(x) / 75, 0, 1) - y)
    return mix(skin, _cloth(clothes, x, y, folds), covered[:, None]), 1 - covered


def _cloth(clothes: Clothes, x: np.ndarray, y: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Colour (P, 3) of the outer garment with its pattern and folds; x, y (P,) in mm."""
    scale = np.float32(clothes.pattern_scale)
    pattern: np.ndarray
    if clothes.pattern == "stripes":
        pattern = (np.sin(y / scale * 6) > 0.3).astype(np.float32)
    elif clothes.pattern == "checks":
        pattern = (np.sin(x / scale * 6) > 0.2) * np.float32(0.5) + (np.sin(y / scale * 6) > 0.2) * np.float32(0.5)
    elif clothes.pattern == "noise":
        pattern = smoothstep(0, 0.6, lookup(fractal_noise(1.0), x * 8 / scale, y * 8 / scale))
    elif clothes.pattern == "dots":
        pattern = (np.sin(x / scale * 5) * np.sin(y / scale * 5) > 0.7).astype(np.float32)
    else:
        pattern = np.zeros_like(x)
    return mix(clothes.colour, clothes.pattern_colour, 0.8 * pattern[:, None]) * np.clip(1 + 0.18 * folds, 0.5, 1.5)
