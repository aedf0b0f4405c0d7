"""Degradation of training images: what cameras, processing and things in front of a face do to a picture."""

from __future__ import annotations

import cv2
import numpy as np


def degrade(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each of these at random: blur, low resolution, sharpening, grey, light from one side, another contrast, colour
    balance and gamma, noise, and a rectangle that hides a part.

    image (S, S, 3) uint8 RGB; returns another one.
    """
    pixels = image.astype(np.float32) / 255
    pixels = _resolution(pixels, rng)
    if rng.random() < 0.15:
        pixels = np.repeat(pixels.mean(2, keepdims=True), 3, 2)
    if rng.random() < 0.15:
        pixels *= _ramp(len(pixels), rng)
    pixels = _tone(pixels, rng)
    if rng.random() < 0.3:
        pixels += rng.standard_normal(pixels.shape, np.float32) * np.float32(rng.exponential(0.02))
    if rng.random() < 0.25:
        _hide(pixels, rng)
    return np.clip(pixels * 255 + 0.5, 0, 255).astype(np.uint8)


def _resolution(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blurred, enlarged from fewer pixels, or sharpened."""
    size = len(pixels)
    if rng.random() < 0.25:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.4, 1.6) * size / 128)
    if rng.random() < 0.15:
        small = round(size * rng.uniform(0.3, 0.75))
        reduced = cv2.resize(pixels, (small, small), interpolation=cv2.INTER_AREA)
        pixels = cv2.resize(reduced, (size, size), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.2:
        pixels = pixels + rng.uniform(0.3, 1.2) * (pixels - cv2.GaussianBlur(pixels, (0, 0), 1.2))
    return pixels


def _ramp(size: int, rng: np.random.Generator) -> np.ndarray:
    """(S, S, 1): brighter towards one side."""
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.0)
    across = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    ramp = np.cos(angle) * across + np.sin(angle) * across[:, None]
    return (1 + strength * ramp)[..., None].astype(np.float32)


def _tone(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    mean = pixels.mean()
    pixels = (pixels - mean) * rng.uniform(0.6, 1.4) + mean + rng.normal(0, 0.06)
    pixels = pixels * (1 + rng.normal(0, 0.08, 3))
    return (np.clip(pixels, 0, 1) ** np.exp(rng.normal(0, 0.25))).astype(np.float32)


def _hide(pixels: np.ndarray, rng: np.random.Generator) -> None:
    """Covers a rectangle with one colour or with noise, in place."""
    size = len(pixels)
    height, width = rng.integers(size // 16, size // 3, 2)
    top, left = rng.integers(0, size - height), rng.integers(0, size - width)
    part = pixels[top : top + height, left : left + width]
    part[:] = rng.random(3) if rng.random() < 0.5 else rng.random(part.shape)
