"""Skin detail beyond the albedo basis: one texture per person on a cylindrical map of the face.

The map's column is the azimuth around a vertical axis, its row the height, both of the mean shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from jr2net.studio.head import Head
from jr2net.studio.people import Person
from jr2net.studio.textures import fractal_noise, patch, spots

MAP = 224
"""Side of the texture, pixels."""
_MAX_AZIMUTH = np.radians(100)
_AXIS_BEHIND_EYES = 70.0


@dataclass(frozen=True)
class FaceMap:
    """Coordinates in the texture: of every vertex (M, 2) and of the landmarks (68, 2), pixels; scale: pixels per mm."""

    coordinates: np.ndarray
    landmarks: np.ndarray
    scale: float


def unroll(head: Head) -> FaceMap:
    """The cylindrical map of a head; vertices off the face get coordinates outside of it or on its border."""
    rest = head.rest.numpy()
    face = rest[: head.face_size]
    eyes = face[head.model.landmarks[36:48].numpy()].mean(0)
    axis = eyes[2] - _AXIS_BEHIND_EYES
    top, bottom = face[:, 1].max() + 5, face[:, 1].min() - 5
    azimuth = np.arctan2(rest[:, 0], rest[:, 2] - axis)
    column = (azimuth / _MAX_AZIMUTH * 0.5 + 0.5) * MAP
    row = (top - rest[:, 1]) / (top - bottom) * MAP
    coordinates = np.stack([column, row], 1).astype(np.float32)
    return FaceMap(coordinates, coordinates[head.model.landmarks.numpy()], MAP / (top - bottom))


def paint_skin(person: Person, face_map: FaceMap) -> np.ndarray:
    """A person's texture (MAP, MAP, 4) float32: a factor on reflectance around 1 (RGB), and the density of brows and
    beard in [0, 1]."""
    rng = np.random.default_rng(person.texture_seed)
    points, scale = face_map.landmarks, face_map.scale
    factor = np.ones((MAP, MAP, 3), np.float32)
    blotch = patch(fractal_noise(1.5), rng, MAP, 1.5) * person.blotches
    factor += blotch[..., None] * np.array([0.5, 1.0, 1.0], np.float32)
    grain = patch(fractal_noise(0.3), rng, MAP, 1.0) * person.pores
    factor += grain[..., None]
    redness = _soft_spots(
        points[[33, 33, 31, 35, 48, 54]] + [[0, -4], [0, 0], [-22, -4], [22, -4], [-12, -20], [12, -20]], 14 * scale
    )
    factor *= 1 - (redness * rng.uniform(0, 0.25))[..., None] * np.array([0.1, 1.0, 0.9], np.float32)
    if person.freckles:
        dots = patch(spots(0.02, 0.8), rng, MAP, 1.0) * person.freckles * np.clip(redness * 2 + 0.2, 0, 1)
        factor *= 1 - dots[..., None] * np.array([0.6, 0.8, 0.9], np.float32)
    _draw_marks(factor, person, points, scale, rng)
    _draw_lashes(factor, points, scale, person.make_up, rng)
    hair = _brows(person, points, scale, rng)
    if any(person.beard[:3]):
        hair = np.maximum(hair, _beard(person, points, scale, rng))
    return np.dstack([np.clip(factor, 0.1, 1.6), hair])


def _soft_spots(centres: np.ndarray, radius: float) -> np.ndarray:
    """(MAP, MAP): blurred discs of value about 1 in their middle."""
    small: np.ndarray = np.zeros((MAP // 4, MAP // 4), np.float32)
    for x, y in centres / 4:
        cv2.circle(small, (int(x), int(y)), max(1, round(radius / 4)), 1.0, -1)
    small = cv2.GaussianBlur(small, (0, 0), radius / 8 + 0.5)
    return cv2.resize(small, (MAP, MAP), interpolation=cv2.INTER_LINEAR)


def _polyline(canvas: np.ndarray, points: np.ndarray, width: float, value: float, closed: bool = False) -> None:
    """Draws an antialiased line on a uint8 canvas; points in pixels."""
    fixed = np.round(points * 8).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(canvas, [fixed], closed, int(value * 255), max(1, round(width)), cv2.LINE_AA, 3)


def _brows(person: Person, points: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Density of the brows: a tapering band just below the brow's landmarks, with strands."""
    density, width = person.brow
    canvas = np.zeros((MAP, MAP), np.uint8)
    droop, shift = rng.normal(0, 1.0), rng.normal(width * 0.35, 1.0)
    for first in (17, 22):
        line = points[first : first + 5].copy()
        line[:, 1] += shift * scale + droop * scale * np.array([1, 0.3, 0, -0.3, -0.6])[:: 1 if first == 17 else -1]
        taper = np.array([0.5, 0.8, 1.0, 1.0])[:: 1 if first == 17 else -1]
        for start, thick in enumerate(taper):
            _polyline(canvas, line[start : start + 2], thick * width * scale, 1.0)
    band = cv2.GaussianBlur(canvas, (0, 0), 0.8 + 0.35 * width * scale * 0.5).astype(np.float32) / 255
    strands = patch(fractal_noise(0.8), rng, MAP, 0.7)
    return np.clip(band * (density + 0.25 * density * strands), 0, 1)


def _beard(person: Person, points: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Density of the beard on cheeks and jaw, chin and upper lip. The shader masks out the lips."""
    cheeks, chin, moustache, length = person.beard
    canvas = np.zeros((MAP, MAP), np.uint8)
    if cheeks:
        upper = points[[2, 3, 4, 48, 33, 54, 12, 13, 14]].copy()
        upper[:3] = points[[1, 2, 3]]
        upper[3, 0] -= 6 * scale
        upper[5, 0] += 6 * scale
        upper[3:6, 1] = points[33, 1] + rng.uniform(4, 14) * scale
        upper[4] = points[51]
        upper[6:] = points[[13, 14, 15]]
        outline = np.concatenate([upper, [[MAP, upper[-1, 1]], [MAP, MAP], [0, MAP], [0, upper[0, 1]]]])
        cv2.fillPoly(canvas, [np.round(outline).astype(np.int32)], int(255 * cheeks))
    if chin:
        middle = (points[57] + points[8]) / 2 + [0, 3 * scale]
        axes = (round(np.linalg.norm(points[54] - points[48]) * 0.55), round((points[8, 1] - points[57, 1]) * 0.9))
        cv2.ellipse(canvas, (int(middle[0]), int(middle[1])), axes, 0, 0, 360, int(255 * chin), -1)
        for corner, jaw in ((48, 6), (54, 10)):
            _polyline(canvas, np.stack([points[corner], points[jaw]]), 9 * scale, chin)
    if moustache:
        line = (points[[48, 49, 50, 51, 52, 53, 54]] + points[[48, 31, 32, 33, 34, 35, 54]]) / 2
        line[[0, -1]] += [[-3 * scale, 2 * scale], [3 * scale, 2 * scale]]
        line[1:-1, 1] += 2 * scale
        _polyline(canvas, line, rng.uniform(7, 11) * scale, moustache)
    band = cv2.GaussianBlur(canvas, (0, 0), 2.2 * scale + 0.5).astype(np.float32) / 255
    strands = patch(fractal_noise(0.7), rng, MAP, 0.8 + length)
    return np.clip(band * (0.85 + (0.15 + 0.35 * length) * strands), 0, 1)


def _draw_marks(factor: np.ndarray, person: Person, points: np.ndarray, scale: float, rng: np.random.Generator) -> None:
    """Draws moles and wrinkles in place."""
    for _ in range(person.moles):
        x, y = rng.uniform(points[[1, 19], [0, 1]], points[[15, 8], [0, 1]])
        tint = np.array([0.5, 0.4, 0.35]) * rng.uniform(0.6, 1.4)
        cv2.circle(factor, (int(x), int(y)), max(1, round(rng.uniform(0.6, 2) * scale)), tint.tolist(), -1, cv2.LINE_AA)
    if not person.wrinkles:
        return
    canvas = np.zeros((MAP, MAP), np.uint8)
    for nostril, corner in ((31, 48), (35, 54)):  # nasolabial folds
        outward = np.sign(points[corner, 0] - points[33, 0]) * 7 * scale
        middle = (points[nostril] + points[corner]) / 2 + [outward * 1.2, 0]
        line = np.stack([points[nostril] + [outward * 0.5, -2 * scale], middle, points[corner] + [outward, 2 * scale]])
        _polyline(canvas, line, 1.6 * scale, 0.9)
    for lid in (slice(39, 42), slice(46, 48)):  # bags under the eyes
        _polyline(canvas, points[lid] + [0, 6 * scale], 1.5 * scale, 0.7)
    brow = points[17:27, 1].min()
    for level in range(rng.integers(0, 4)):  # forehead wrinkles
        xs = np.linspace(points[18, 0], points[25, 0], 7)
        ys = brow - (9 + 9 * level) * scale + rng.normal(0, 0.8, 7) * scale
        _polyline(canvas, np.stack([xs, ys], 1), 1.2 * scale, rng.uniform(0.3, 0.8))
    lines = cv2.GaussianBlur(canvas, (0, 0), 0.9 * scale).astype(np.float32) / 255
    factor *= 1 - (lines * person.wrinkles)[..., None] * np.array([0.7, 0.8, 0.85], np.float32)


def _draw_lashes(
    factor: np.ndarray, points: np.ndarray, scale: float, make_up: float, rng: np.random.Generator
) -> None:
    """Draws lashes and the crease of the upper lid, with make-up also lash line and eye shadow, in place."""
    canvas = np.zeros((MAP, MAP), np.uint8)
    shadow = np.zeros((MAP, MAP), np.uint8)
    for first in (36, 42):
        upper = points[first : first + 4]
        _polyline(canvas, upper - [0, 0.7 * scale], 1.3 * scale, 1.0)
        _polyline(canvas, upper - [0, 5.5 * scale], 1.0 * scale, 0.35)
        _polyline(shadow, upper - [0, 4 * scale], 6 * scale, 1.0)
    lash = cv2.GaussianBlur(canvas, (0, 0), 0.6).astype(np.float32) / 255
    factor *= 1 - (0.4 + 0.5 * make_up) * lash[..., None]
    if make_up:
        lid = cv2.GaussianBlur(shadow, (0, 0), 2.5 * scale).astype(np.float32) / 255
        factor *= 1 - lid[..., None] * (1 - rng.uniform(0.4, 1.0, 3).astype(np.float32)) * make_up
