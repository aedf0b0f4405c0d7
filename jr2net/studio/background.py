"""Procedural backgrounds: walls, rooms, foliage, screens."""

from __future__ import annotations

import cv2
import numpy as np

from jr2net.studio.textures import fractal_noise, patch, smoothstep


def draw_background(rng: np.random.Generator, size: int) -> np.ndarray:
    """A random background (size, size, 3) float32 in [0, 1], more or less out of focus."""
    colours = _palette(rng)
    kind = rng.choice(["plain", "leaves", "room", "clouds", "stripes", "bokeh"], p=[0.24, 0.26, 0.16, 0.12, 0.1, 0.12])
    canvas = np.ascontiguousarray(_gradient(rng, size, colours))
    if kind == "leaves":
        _dead_leaves(canvas, rng, colours, int(rng.integers(8, 90)))
    elif kind == "room":
        _room(canvas, rng, colours)
    elif kind == "clouds":
        noise = patch(fractal_noise(1.8), rng, size, rng.uniform(0.5, 2))[..., None]
        mix = smoothstep(-1, 1, noise * rng.uniform(0.7, 4))
        canvas = (canvas * (1 - mix) + colours[1] * mix).astype(np.uint8)
    elif kind == "stripes":
        angle, period = rng.uniform(0, np.pi), size / rng.uniform(2, 18)
        y, x = np.mgrid[:size, :size]
        wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period)
        mix = smoothstep(-0.2, 0.2, wave)[..., None].astype(np.float32)
        canvas = (canvas * (1 - mix) + colours[1] * mix).astype(np.uint8)
    elif kind == "bokeh":
        _bokeh(canvas, rng)
    if rng.random() < 0.12:
        _text(canvas, rng)
    canvas = canvas / np.float32(255)
    canvas += patch(fractal_noise(1.0), rng, size, rng.uniform(0.5, 2))[..., None] * rng.uniform(0, 0.05)
    sigma = size * rng.choice([rng.uniform(0.001, 0.008), rng.uniform(0.01, 0.05)])
    return np.clip(cv2.GaussianBlur(np.ascontiguousarray(canvas, np.float32), (0, 0), max(sigma, 0.3)), 0, 1)


def _palette(rng: np.random.Generator) -> np.ndarray:
    """Six colours (6, 3) in [0, 255] around a common base: mostly greyish, sometimes vivid."""
    base = rng.uniform(0.0, 1.0)
    spread = rng.choice([0.05, 0.15, 0.35], p=[0.4, 0.4, 0.2])
    vivid = rng.choice([0.04, 0.12, 0.4], p=[0.5, 0.3, 0.2])
    hue = rng.normal(0, vivid, 3)
    return np.clip(base + hue + rng.normal(0, spread, (6, 1)) + rng.normal(0, vivid * 0.6, (6, 3)), 0, 1) * 255


def _random_point(rng: np.random.Generator, size: int) -> tuple[int, int]:
    return int(rng.integers(size)), int(rng.integers(size))


def _gradient(rng: np.random.Generator, size: int, colours: np.ndarray) -> np.ndarray:
    """A linear gradient (size, size, 3) uint8 in a random direction."""
    ramp = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    mix = np.clip(0.5 + (ramp[None] * np.cos(angle) + ramp[:, None] * np.sin(angle)) * rng.uniform(0, 1.5), 0, 1)
    mixed = colours[0] + 0.4 * (colours[5] - colours[0]) * mix[..., None]
    return mixed.astype(np.uint8)


def _dead_leaves(canvas: np.ndarray, rng: np.random.Generator, colours: np.ndarray, count: int) -> None:
    """Dead-leaves model of natural image statistics: overlapping shapes, few of them large. Draws in place."""
    size = canvas.shape[0]
    for _ in range(count):
        colour = np.clip(colours[rng.integers(6)] * rng.uniform(0.6, 1.3), 0, 255).tolist()
        radius = size * min(0.4, 0.02 / rng.uniform(0.03, 1))
        centre = _random_point(rng, size)
        if rng.random() < 0.5:
            axes = (int(radius * rng.uniform(0.3, 1)) + 1, int(radius) + 1)
            cv2.ellipse(canvas, centre, axes, rng.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
        else:
            turns = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 6)))
            corners = (
                np.stack([np.cos(turns), np.sin(turns)], 1) * radius * rng.uniform(0.7, 1.6, (len(turns), 1)) + centre
            )
            cv2.fillPoly(canvas, [corners.astype(np.int32)], colour, cv2.LINE_AA)


def _room(canvas: np.ndarray, rng: np.random.Generator, colours: np.ndarray) -> None:
    """Axis-aligned rectangles: shelves, frames and windows. Draws in place."""
    size = canvas.shape[0]
    for _ in range(rng.integers(3, 16)):
        x, y = rng.integers(-size // 4, size, 2)
        width, height = (size * rng.uniform(0.03, 0.6, 2)).astype(int)
        colour = np.clip(colours[rng.integers(6)] * rng.uniform(0.5, 1.6), 0, 255)
        cv2.rectangle(canvas, (int(x), int(y)), (int(x + width), int(y + height)), colour.tolist(), -1)
        if rng.random() < 0.4:
            border = np.clip(colour * rng.uniform(0.2, 1.5), 0, 255).tolist()
            cv2.rectangle(canvas, (int(x), int(y)), (int(x + width), int(y + height)), border, int(rng.integers(1, 5)))


def _text(canvas: np.ndarray, rng: np.random.Generator) -> None:
    """Random words. Draws in place."""
    size = canvas.shape[0]
    for _ in range(rng.integers(1, 6)):
        letters = "".join(chr(code) for code in rng.integers(65, 91, rng.integers(2, 9)))
        x, y = _random_point(rng, size)
        colour = rng.uniform(0, 255, 3).tolist()
        cv2.putText(canvas, letters, (x - size // 4, y), cv2.FONT_HERSHEY_SIMPLEX, size / rng.uniform(80, 400), colour,
                    int(rng.integers(1, 4)), cv2.LINE_AA)  # fmt: skip


def _bokeh(canvas: np.ndarray, rng: np.random.Generator) -> None:
    """Lights far out of focus, as discs. Draws in place."""
    size = canvas.shape[0]
    canvas //= 2
    for _ in range(rng.integers(5, 40)):
        colour = (rng.uniform(0, 1) * rng.uniform(60, 255, 3)).tolist()
        cv2.circle(canvas, _random_point(rng, size), int(size * rng.uniform(0.015, 0.09)), colour, -1, cv2.LINE_AA)
