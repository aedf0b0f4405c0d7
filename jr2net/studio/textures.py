"""Tileable noise textures, made once per process from fixed seeds, and functions that sample them."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

TILE = 256
"""Side of a noise tile, pixels."""


@lru_cache(maxsize=32)
def fractal_noise(exponent: float, stretch: float = 1.0) -> np.ndarray:
    """A tile (256, 256) float32 of 1/f^``exponent`` noise, mean 0 and standard deviation 1.

    Exponent 0 is white noise, 1 resembles skin and cloth, 2 clouds. ``stretch`` elongates it along v (down the rows),
    which makes strands.
    """
    rng = np.random.default_rng(round(1000 * exponent + 7 * stretch))
    row, column = np.meshgrid(np.fft.fftfreq(TILE), np.fft.rfftfreq(TILE), indexing="ij")
    frequency = np.hypot(row * stretch, column)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE))) * (frequency + 1 / TILE) ** -exponent
    noise = np.fft.irfft2(spectrum, s=(TILE, TILE))
    return ((noise - noise.mean()) / noise.std()).astype(np.float32)


@lru_cache(maxsize=4)
def spots(density: float, radius: float) -> np.ndarray:
    """A tile (256, 256) float32 in [0, 1] of soft dots (freckles): ``density`` per pixel, sigma ``radius`` pixels."""
    rng = np.random.default_rng(round(1e6 * density + radius))
    dots = np.zeros((TILE, TILE), np.float32)
    position = rng.integers(0, TILE, (round(density * TILE * TILE), 2))
    dots[position[:, 0], position[:, 1]] = rng.uniform(0.3, 1, len(position))
    padded = cv2.copyMakeBorder(dots, 16, 16, 16, 16, cv2.BORDER_WRAP)
    blurred = cv2.GaussianBlur(padded, (0, 0), radius)[16:-16, 16:-16]
    return np.clip(blurred * (2 * np.pi * radius**2), 0, 1)


def lookup(texture: np.ndarray, x: np.ndarray, y: np.ndarray, wrap: bool = True) -> np.ndarray:
    """Samples a texture (H, W[, C]) bilinearly at pixel coordinates x, y (P,): (P[, C]).

    ``wrap``: square tiles repeat; else border pixels are replicated.
    """
    count = len(x)
    rows = -(-count // 128)
    grid = np.zeros((2, rows * 128), np.float32)
    grid[0, :count], grid[1, :count] = x, y
    if wrap:
        grid %= texture.shape[0]
    border = cv2.BORDER_WRAP if wrap else cv2.BORDER_REPLICATE
    x_map, y_map = grid.reshape(2, rows, 128)
    if not count:
        return np.zeros((0, *texture.shape[2:]), np.float32)
    return cv2.remap(texture, x_map, y_map, cv2.INTER_LINEAR, borderMode=border).reshape(-1, *texture.shape[2:])[:count]


def patch(texture: np.ndarray, rng: np.random.Generator, size: int, scale: float) -> np.ndarray:
    """A random patch (size, size) of a tile, magnified ``scale`` times; it wraps around."""
    x0, y0 = rng.uniform(0, TILE, 2)
    ramp = np.arange(size, dtype=np.float32) / scale
    x, y = np.meshgrid(np.mod(ramp + x0, TILE).astype(np.float32), np.mod(ramp + y0, TILE).astype(np.float32))
    return cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def mix(below: np.ndarray, above: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Blends ``above`` over ``below``."""
    return below + (above - below) * opacity


def unit(vectors: np.ndarray) -> np.ndarray:
    """Normalises vectors (…, 3) to length 1."""
    return vectors / (np.sqrt(np.einsum("...c,...c->...", vectors, vectors))[..., None] + 1e-8)


def smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
