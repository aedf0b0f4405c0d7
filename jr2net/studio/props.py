"""Objects in front of a face: glasses, and occluders such as hands and microphones."""

from __future__ import annotations

import cv2
import numpy as np

from jr2net.studio.people import Glasses, Person
from jr2net.studio.scene import Light
from jr2net.studio.textures import smoothstep

OCCLUDED = 0.1
"""Fraction of people with an occluder in front of them."""


def glasses_outline(glasses: Glasses, eyes: np.ndarray, ears: np.ndarray) -> dict[str, np.ndarray]:
    """Polylines (K, 3) of the frame in model space, by name.

    eyes (12, 3): landmarks 36 to 47; ears (2, 3): ends of the left and the right temple.
    """
    right, left = eyes[:6].mean(0), eyes[6:].mean(0)
    middle = (left + right) / 2
    front = eyes[:, 2].max() + 13
    angle = np.linspace(0, 2 * np.pi, 33)
    power = 2 / glasses.roundness
    across = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power * glasses.lens[0]
    up = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power * glasses.lens[1]
    lines = {}
    for name, side, eye in (("left", 1, left), ("right", -1, right)):
        centre = middle[0] + side * max(abs(eye[0] - middle[0]) + 2, glasses.lens[0] + 7)
        x, y = centre + side * across, middle[1] - 4 + up
        lines[name] = np.stack([x, y, front - 0.0035 * (x - middle[0]) ** 2], 1)
        hinge = lines[name][0] + [side, 0.4 * glasses.lens[1], -1]
        lines[f"{name} temple"] = hinge + np.linspace(0, 1, 9)[:, None] * (ears[0 if side > 0 else 1] - hinge)
    inner = lines["right"][14], lines["left"][14]
    lines["bridge"] = np.stack([inner[0], (inner[0] + inner[1]) / 2 + [0, 2, 2], inner[1]])
    return lines


def draw_glasses(
    image: np.ndarray, depth: np.ndarray, matte: np.ndarray, glasses: Glasses, lines: dict[str, np.ndarray],
    focal: float, light: Light,
) -> None:  # fmt: skip
    """Draws glasses into an image (S, S, 3) and its matte (S, S), in place, except where something is nearer (depth
    (S, S) in mm). What is seen through clear lenses stays background.

    lines: polylines (K, 3) of pixel x, pixel y and depth in mm; focal in pixels.
    """
    size = len(image)
    irradiance = light.irradiance(np.array([[0.0, 0.2, 0.98]]))[0]
    nearest = min(line[:, 2].min() for name, line in lines.items() if "temple" not in name)
    unoccluded = (depth > nearest - 1).astype(np.float32)
    lens = np.zeros((size, size), np.uint8)
    for side in ("left", "right"):
        cv2.fillPoly(lens, [_fixed_point(lines[side])], 255, cv2.LINE_AA, 4)
    shade = (lens.astype(np.float32) / 255 * unoccluded)[..., None]
    image += (glasses.tint * irradiance * 0.6 - image) * (shade * glasses.opacity)
    matte += (1 - matte) * (shade[..., 0] * np.float32(glasses.opacity))
    if glasses.reflection:
        ramp = np.linspace(-1, 1, size)
        band = smoothstep(
            0.1, 0.0, np.abs(np.sin(4 * (ramp[None] + 0.6 * ramp[:, None]) + 9 * glasses.reflection)) - 0.3
        )
        image += shade * (glasses.reflection * band)[..., None] * irradiance

    rim = np.zeros((size, size), np.uint8)
    width = glasses.rim * focal / nearest
    drawn = ["bridge"] if glasses.rimless else ["left", "right", "bridge"]
    for name in drawn:
        _thin_line(rim, lines[name], width)
    for side in ("left temple", "right temple"):
        line = lines[side]
        column, row = (np.clip(line[:, axis], 0, size - 1).astype(int) for axis in (0, 1))
        visible = line[:, 2] < depth[row, column] + 6
        for start in range(len(line) - 1):
            if visible[start] and visible[start + 1]:
                _thin_line(rim, line[start : start + 2], 1.3 * width)
    opacity = rim.astype(np.float32)[..., None] / 255 * min(1.0, width)
    near_frame = (depth > nearest - 1)[..., None] | (rim == 0)[..., None]
    image += (glasses.colour * irradiance + 0.04 - image) * opacity * near_frame
    matte += (1 - matte) * (opacity * near_frame)[..., 0]


def draw_occluder(
    images: np.ndarray,
    mattes: np.ndarray,
    landmarks: np.ndarray,
    person: Person,
    light: Light,
    rng: np.random.Generator,
) -> None:
    """Draws a hand, a microphone or another object in front of the face into images (T, S, S, 3) and their mattes
    (T, S, S), in place.

    landmarks (T, 68, 2) in pixels. The object covers cheeks, chin or mouth at most and moves a little between frames.
    """
    size = images.shape[1]
    irradiance = light.irradiance(np.array([[0.0, 0.3, 0.95]]))[0]
    kind = rng.choice(["hand", "microphone", "card", "strap"], p=[0.45, 0.25, 0.15, 0.15])
    target = landmarks[0, rng.choice([3, 5, 8, 8, 11, 13, 57])]
    edge = np.array([target[0] + rng.normal(0, 0.35) * size, size * 1.1])
    colour = {"hand": person.tone * rng.uniform(0.85, 1.1), "microphone": rng.uniform(0.02, 0.25) * np.ones(3)}.get(
        str(kind), rng.uniform(0, 0.9, 3)
    )
    state = rng.integers(1 << 31)
    for image, matte in zip(images, mattes):
        draw = np.random.default_rng(state)  # the same shape in every frame
        shift = rng.normal(0, 0.012, 2) * size
        canvas = np.zeros((size, size), np.uint8)
        tip, root = target + shift, edge + shift
        if kind == "hand":
            _hand(canvas, tip, root, size, draw)
        elif kind == "microphone":
            radius = draw.uniform(0.03, 0.09) * size
            _thin_line(canvas, np.stack([tip, root]), radius * draw.uniform(0.5, 1.2))
            cv2.ellipse(
                canvas, (int(tip[0]), int(tip[1])), (int(radius), int(1.2 * radius)), 0, 0, 360, 255, -1, cv2.LINE_AA
            )
        elif kind == "card":
            box = cv2.boxPoints(
                ((float(root[0]), float(tip[1] + 0.3 * size)), (0.5 * size, 0.5 * size), draw.uniform(-40, 40))
            )
            cv2.fillPoly(canvas, [_fixed_point(box)], 255, cv2.LINE_AA, 4)
        else:
            end = tip + np.array([draw.normal(0, 0.4), draw.uniform(0, 0.2)]) * size
            line = np.stack([root, end])
            _thin_line(canvas, line, draw.uniform(0.01, 0.06) * size)
        body = cv2.GaussianBlur(canvas, (0, 0), 0.02 * size).astype(np.float32)[..., None] / 255
        opacity = canvas.astype(np.float32)[..., None] / 255
        image += (colour * irradiance * (0.35 + 0.65 * body**2) - image) * opacity
        matte += (1 - matte) * opacity[..., 0]


def _hand(canvas: np.ndarray, tip: np.ndarray, root: np.ndarray, size: int, rng: np.random.Generator) -> None:
    """Draws palm and fingers from ``root`` to ``tip``, with gaps between the fingers."""
    along = (tip - root) / np.linalg.norm(tip - root)
    across = np.array([-along[1], along[0]])
    thick = rng.uniform(0.05, 0.085) * size
    palm = tip - along * 0.3 * size
    _thin_line(canvas, np.stack([palm, root]), 3.2 * thick)
    for finger, length in enumerate((0.85, 1.0, 0.95, 0.75)):
        start = palm + across * (finger - 1.5) * thick
        end = start + along * 0.33 * size * length + across * rng.normal(0, 0.3) * thick
        _thin_line(canvas, np.stack([start, end]), 0.85 * thick)


def _fixed_point(points: np.ndarray) -> np.ndarray:
    """Points in pixels as OpenCV's fixed-point coordinates with 4 fractional bits."""
    return np.round(points[:, :2] * 16 - 8).astype(np.int32).reshape(-1, 1, 2)


def _thin_line(canvas: np.ndarray, points: np.ndarray, width: float) -> None:
    cv2.polylines(canvas, [_fixed_point(points)], False, 255, max(1, round(width)), cv2.LINE_AA, 4)
