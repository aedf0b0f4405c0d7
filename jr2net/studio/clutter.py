"""Things that are no faces but share something with them: skin, hair, round shapes, pairs of dots, animals' heads."""

from __future__ import annotations

import cv2
import numpy as np

from jr2net.studio.textures import fractal_noise, patch

_SKINS = np.array([[236, 196, 176], [219, 170, 138], [188, 133, 100], [141, 92, 62], [90, 58, 42], [62, 40, 30]], float)
_FURS = np.array(
    [[190, 150, 100], [120, 85, 55], [60, 50, 45], [215, 205, 190], [150, 150, 150], [225, 140, 70]], float
)


def draw_clutter(image: np.ndarray, centre: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """Draws a random object of about ``size`` pixels around ``centre`` (2,) into an image (S, S, 3) uint8, in place.

    Returns where it covers the image: (S, S) uint8, 0 or 255 and between at edges.
    """
    side = len(image)
    mask = np.zeros((side, side), np.uint8)
    colour = np.zeros((side, side, 3), np.float32)
    draw = _KINDS[rng.integers(len(_KINDS))]
    draw(colour, mask, np.asarray(centre, float), size, rng)
    lit = np.clip(colour * _shading(side, centre, size, rng)[..., None], 0, 255).astype(np.uint8)
    opacity = mask.astype(np.float32) / 255
    image[:] = cv2.blendLinear(lit, np.ascontiguousarray(image), opacity, 1 - opacity)
    return mask


def _shading(side: int, centre: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """Light from one side over an object, with some texture: a factor (S, S)."""
    ramp = np.arange(side, dtype=np.float32)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.5)
    across = (ramp[None] - centre[0]) * np.cos(angle) + (ramp[:, None] - centre[1]) * np.sin(angle)
    grain = patch(fractal_noise(1.0), rng, side, rng.uniform(0.5, 2)) * rng.uniform(0, 0.15)
    return (rng.uniform(0.6, 1.15) + strength * np.tanh(across / size) + grain).astype(np.float32)


def _colour(rng: np.random.Generator, palette: np.ndarray | None = None) -> np.ndarray:
    """A colour (3,) in [0, 255], near one of a palette's."""
    if palette is None:
        return rng.uniform(0, 255, 3)
    return np.clip(palette[rng.integers(len(palette))] * rng.uniform(0.7, 1.2) + rng.normal(0, 8, 3), 0, 255)


def _ellipse(
    colour: np.ndarray, mask: np.ndarray, centre: np.ndarray, axes: tuple[float, float], degrees: float,
    fill: np.ndarray,
) -> None:  # fmt: skip
    middle, half = _pixel(centre), (max(1, int(axes[0])), max(1, int(axes[1])))
    cv2.ellipse(mask, middle, half, degrees, 0, 360, (255.0,), -1, cv2.LINE_AA)
    cv2.ellipse(colour, middle, half, degrees, 0, 360, fill.tolist(), -1, cv2.LINE_8)


def _blob(
    colour: np.ndarray, mask: np.ndarray, centre: np.ndarray, size: float, rng: np.random.Generator,
    palette: np.ndarray | None = None,
) -> None:  # fmt: skip
    """One to four ellipses of one colour: balls, limbs, the back of a head."""
    fill = _colour(rng, palette)
    for _ in range(rng.integers(1, 5)):
        wide, high = size / 2 * rng.uniform(0.4, 1, 2)
        _ellipse(colour, mask, centre + rng.normal(0, size / 5, 2), (wide, high), rng.uniform(0, 180), fill)


def _skin(colour: np.ndarray, mask: np.ndarray, centre: np.ndarray, size: float, rng: np.random.Generator) -> None:
    """Skin without a face, sometimes with hair over a part of it."""
    _blob(colour, mask, centre, size, rng, _SKINS)
    if rng.random() < 0.5:
        _strands(colour, mask, centre - np.array([0, size / 4]), size, rng)


def _limb(colour: np.ndarray, mask: np.ndarray, centre: np.ndarray, size: float, rng: np.random.Generator) -> None:
    """A thick line of skin or cloth, with the lines of fingers."""
    fill = _colour(rng, _SKINS if rng.random() < 0.7 else None)
    angle = rng.uniform(0, 2 * np.pi)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    width = size * rng.uniform(0.15, 0.35)
    _line(colour, mask, centre, centre + 1.5 * size * along, width, fill)
    for finger in range(rng.integers(0, 5)):
        start = centre + across * (finger - 1.5) * width / 3
        tip = start - along * size * rng.uniform(0.3, 0.5) + across * rng.normal(0, 0.05) * size
        _line(colour, mask, start, tip, width / 3.5, fill * rng.uniform(0.85, 1.05))


def _line(
    colour: np.ndarray, mask: np.ndarray, start: np.ndarray, end: np.ndarray, width: float, fill: np.ndarray
) -> None:
    first, last, thick = _pixel(start), _pixel(end), max(1, int(width))
    cv2.line(mask, first, last, (255.0,), thick, cv2.LINE_AA)
    cv2.line(colour, first, last, fill.tolist(), thick, cv2.LINE_8)


def _pixel(point: np.ndarray) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def _strands(colour: np.ndarray, mask: np.ndarray, centre: np.ndarray, size: float, rng: np.random.Generator) -> None:
    """Hair: many thin lines of similar direction."""
    fill, angle = _colour(rng, _FURS), rng.uniform(0, np.pi)
    for _ in range(rng.integers(10, 40)):
        start = centre + rng.normal(0, size / 4, 2)
        turned = angle + rng.normal(0, 0.25)
        end = start + size * rng.uniform(0.2, 0.7) * np.array([np.cos(turned), np.sin(turned)])
        _line(colour, mask, start, end, max(1.0, size * 0.03), fill * rng.uniform(0.6, 1.3))


def _dots(colour: np.ndarray, mask: np.ndarray, centre: np.ndarray, size: float, rng: np.random.Generator) -> None:
    """A shape with two or more round marks: sockets, buttons, the front of a car."""
    fill, mark = _colour(rng), _colour(rng)
    if rng.random() < 0.5:
        _ellipse(colour, mask, centre, (size / 2 * rng.uniform(0.6, 1), size / 2), 0, fill)
    else:
        half = size / 2 * rng.uniform(0.5, 1, 2)
        low, high = _pixel(centre - half), _pixel(centre + half)
        cv2.rectangle(mask, low, high, (255.0,), -1)
        cv2.rectangle(colour, low, high, fill.tolist(), -1)
    angle, apart, radius = rng.uniform(0, np.pi), size * rng.uniform(0.15, 0.3), size * rng.uniform(0.04, 0.15)
    for sign in (-1, 1):
        at = centre + sign * apart * np.array([np.cos(angle), np.sin(angle)])
        _ellipse(colour, mask, at, (radius, radius), 0, mark)
    if rng.random() < 0.5:
        left, right = (centre + np.array([side * apart, apart]) for side in (-1, 1))
        _line(colour, mask, left, right, size * 0.06, mark)


def _animal(colour: np.ndarray, mask: np.ndarray, centre: np.ndarray, size: float, rng: np.random.Generator) -> None:
    """An animal's head: fur, ears, round eyes far apart, a muzzle with a nose."""
    turn = rng.normal(0, 0.3) if rng.random() < 0.8 else rng.uniform(0, 2 * np.pi)
    frame = size / 2 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    degrees = float(np.degrees(turn))
    fur, belly, dark = _colour(rng, _FURS), _colour(rng, _FURS), rng.uniform(0, 50, 3)

    def part(x: float, y: float, width: float, height: float, fill: np.ndarray, lean: float = 0.0) -> None:
        axes = (size / 2 * width, size / 2 * height)
        _ellipse(colour, mask, centre + frame @ np.array([x, y]), axes, degrees + lean, fill)

    ear, width, spread = rng.uniform(0.3, 0.7), rng.uniform(0.15, 0.35), rng.uniform(0.4, 0.85)
    high, lean = rng.uniform(-1.1, -0.2), rng.uniform(-40, 40)
    for side in (-1, 1):
        part(side * spread, high, width, ear, fur * 0.8, side * lean)
        part(side * spread, high, 0.5 * width, 0.6 * ear, belly * 0.8, side * lean)
    part(0, 0, rng.uniform(0.65, 0.95), rng.uniform(0.7, 1), fur)
    if rng.random() < 0.5:
        part(0, rng.uniform(-0.4, 0.2), rng.uniform(0.12, 0.3), rng.uniform(0.4, 0.8), belly)  # a blaze
    muzzle, long = rng.uniform(0.25, 0.6), rng.uniform(0.2, 0.6)
    part(0, 0.4, muzzle, long, belly)
    apart, round_ = rng.uniform(0.3, 0.6), rng.uniform(0.06, 0.16)
    level, iris = rng.uniform(-0.4, 0.05), _colour(rng)
    for side in (-1, 1):
        part(side * apart, level, 1.3 * round_, 1.2 * round_, dark)
        part(side * apart, level, round_, round_, iris if rng.random() < 0.6 else dark)
        part(side * apart, level, round_ * rng.uniform(0.3, 0.7), 0.7 * round_, dark)
        part(side * apart + 0.03, level - 0.04, 0.25 * round_, 0.25 * round_, np.full(3, 240.0))
    part(0, 0.4 - 0.3 * long, rng.uniform(0.08, 0.25), rng.uniform(0.06, 0.14), dark)  # the nose
    if rng.random() < 0.6:
        part(0, 0.4 + 0.4 * long, rng.uniform(0.1, 0.3), 0.04, dark * 1.5)  # the mouth


def _sheet(colour: np.ndarray, mask: np.ndarray, centre: np.ndarray, size: float, rng: np.random.Generator) -> None:
    """A polygon of cloth or paper, plain or with lines."""
    turns = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 7)))
    corners = centre + size / 2 * np.stack([np.cos(turns), np.sin(turns)], 1) * rng.uniform(0.7, 1.4, (len(turns), 1))
    cv2.fillPoly(mask, [corners.astype(np.int32)], 255, cv2.LINE_AA)
    colour[:] = _colour(rng)
    for _ in range(rng.integers(0, 8)):
        start, end = centre + rng.uniform(-size, size, (2, 2))
        thick = max(1, int(size * rng.uniform(0.01, 0.1)))
        cv2.line(colour, _pixel(start), _pixel(end), _colour(rng).tolist(), thick)


def _relief(colour: np.ndarray, mask: np.ndarray, centre: np.ndarray, size: float, rng: np.random.Generator) -> None:
    """Discs with dents and bumps in rows, as coins, stones and fruit."""
    fill, count = _colour(rng), int(rng.integers(1, 5))
    radius = size / (2 * count)
    for place in np.ndindex(count, count):
        middle = centre + (np.array(place) - (count - 1) / 2) * 2.1 * radius
        _ellipse(colour, mask, middle, (radius, radius * rng.uniform(0.8, 1)), rng.uniform(0, 180), fill)
        for _ in range(rng.integers(2, 9)):
            wide, high = radius * rng.uniform(0.05, 0.35, 2)
            at = middle + rng.normal(0, 0.35, 2) * radius
            _ellipse(colour, mask, at, (wide, high), rng.uniform(0, 180), fill * rng.uniform(0.4, 1.4))


_KINDS = (_blob, _skin, _skin, _limb, _strands, _dots, _animal, _animal, _sheet, _relief)
