"""Light and pose of a take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jr2net.studio.textures import unit


@dataclass(frozen=True)
class Light:
    """Ambient light from above and below and lamps. Axes of light: x right, y up, z to the camera.

    sky, ground (3,) RGB;  direction (L, 3) unit, to the lamp;  colour (L, 3);  soft (L,) how far lamps wrap around
    """

    sky: np.ndarray
    ground: np.ndarray
    direction: np.ndarray
    colour: np.ndarray
    soft: np.ndarray

    def irradiance(self, normal: np.ndarray) -> np.ndarray:
        """Light (P, 3) on unit normals (P, 3)."""
        up = 0.5 + 0.5 * normal[:, 1:2]
        total = self.ground + (self.sky - self.ground) * up
        facing = normal @ self.direction.T
        lit = np.clip((facing + self.soft) / (1 + self.soft), 0, None)
        return total + lit @ self.colour

    def glare(self, normal: np.ndarray, view: np.ndarray, sharpness: float) -> np.ndarray:
        """Blinn-Phong highlights (P, 3); view (P, 3) unit, to the camera."""
        total = np.zeros_like(normal)
        for direction, colour in zip(self.direction, self.colour):
            half = unit(view + direction)
            cosine = np.clip(np.einsum("pc,pc->p", normal, half), 1e-6, 1)
            total += np.exp2(np.log2(cosine) * np.float32(sharpness))[:, None] * colour
        return total


def draw_light(rng: np.random.Generator) -> Light:
    """One to three lamps over ambient light; exposed for a face looking into the camera."""
    warmth = rng.normal(0.03, 0.07)
    white = np.array([1 + warmth, 1 + rng.normal(0, 0.02), 1 - warmth])
    ambient = rng.beta(2.5, 2) * 0.9
    sky = ambient * white * rng.uniform(0.8, 1.3) * (1 + rng.normal(0, 0.03, 3))
    ground = ambient * white * rng.uniform(0.4, 0.9) * (1 + rng.normal(0, 0.03, 3))
    lamps = int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]))
    azimuth = rng.normal(0, 0.7, lamps)
    elevation = rng.normal(0.55, 0.4, lamps)
    azimuth[1:] += np.pi * (rng.random(lamps - 1) < 0.3)  # from behind
    direction = np.stack(
        [np.cos(elevation) * np.sin(azimuth), np.sin(elevation), np.cos(elevation) * np.cos(azimuth)], 1
    )
    tint = white * (1 + rng.normal(0, rng.choice([0.02, 0.2], p=[0.88, 0.12]), (lamps, 3)))
    colour = np.clip(tint, 0.1, 2) * (rng.uniform(0.3, 1.2, lamps) * (1 - ambient))[:, None]
    light = Light(sky, ground, direction, colour, rng.uniform(0.05, 0.8, lamps))
    level = light.irradiance(np.array([[0, 0, 1.0], [0.5, 0, 0.86], [-0.5, 0, 0.86]])).mean()
    exposure = np.clip(rng.lognormal(0.05, 0.2), 0.5, 1.5) / level
    parts = (sky * exposure, ground * exposure, direction, colour * exposure, light.soft)
    return Light(*(part.astype(np.float32) for part in parts))


@dataclass(frozen=True)
class Take:
    """How T frames are filmed: head and body rotations (T, 3) in radians, translation (T, 3) in mm, camera axes."""

    rotation: np.ndarray
    body: np.ndarray
    translation: np.ndarray


def draw_take(rng: np.random.Generator, frames: int, variety: float = 1.0) -> Take:
    """Poses around a person's own usual one; most face the camera, some turn far. ``variety``: see StudioConfig."""
    wide = rng.random() < 0.3
    usual = rng.normal(0, 1, 3) * np.radians([4.5, 16 if wide else 8, 3.5])
    moves = rng.normal(0, 1, (frames, 3)) * np.radians([4.5, 15 if wide else 8, 4])
    limits = np.radians([28, 52, 22])
    usual, moves = (part * (0.5 + 0.5 * variety) for part in (usual, moves))
    rotation = np.clip(usual + moves, -limits, limits)
    body = np.clip(usual * rng.uniform(0, 0.9) + moves * rng.uniform(0, 0.3) + rng.normal(0, 0.06, 3), -0.5, 0.5)
    body = body * [0.3, 1, 0.3]
    distance = np.exp(rng.normal(np.log(1080), 0.28 * variety)).clip(520, 2200)
    beside = rng.normal(0, 0.09, 2) * distance
    translation = np.array([beside[0], beside[1], distance]) + rng.normal(0, 1, (frames, 3)) * [4, 4, 12]
    return Take(rotation, body, translation)
