"""Light and pose of a take."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from jr2net.studio.textures import unit


@dataclass(frozen=True)
class Light:
    """Hemispherical ambient light and L lamps. Axes: x right, y up, z to the camera.

    sky, ground  (3,) RGB ambient light from above and from below
    direction    (L, 3) unit vectors to the lamps;  colour (L, 3) RGB
    soft         (L,) wrap lighting: 0 Lambertian, larger values light surfaces that face away
    """

    sky: np.ndarray
    ground: np.ndarray
    direction: np.ndarray
    colour: np.ndarray
    soft: np.ndarray

    def irradiance(self, normal: np.ndarray) -> np.ndarray:
        """Irradiance (P, 3) at unit normals (P, 3)."""
        up = 0.5 + 0.5 * normal[:, 1:2]
        total = self.ground + (self.sky - self.ground) * up
        facing = normal @ self.direction.T
        lit = np.clip((facing + self.soft) / (1 + self.soft), 0, None)
        return total + lit @ self.colour

    def glare(self, normal: np.ndarray, view: np.ndarray, sharpness: float) -> np.ndarray:
        """Blinn-Phong highlights (P, 3); view (P, 3): unit vectors to the camera."""
        total = np.zeros_like(normal)
        for direction, colour in zip(self.direction, self.colour):
            half = unit(view + direction)
            cosine = np.clip(np.einsum("pc,pc->p", normal, half), 1e-6, 1)
            total += np.exp2(np.log2(cosine) * np.float32(sharpness))[:, None] * colour
        return total


def draw_light(rng: np.random.Generator) -> Light:
    """Ambient light and one to three lamps, exposed for a face looking into the camera."""
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
    """Poses in T frames: Euler angles (T, 3) of the head (rotation) and the body, radians; translation (T, 3), mm."""

    rotation: np.ndarray
    body: np.ndarray
    translation: np.ndarray


def draw_take(rng: np.random.Generator, frames: int, variety: float = 1.0) -> Take:
    """Poses around one mean pose per person; most face the camera, some turn far. ``variety``: see StudioConfig."""
    wide_range = rng.random() < 0.3
    mean_pose = rng.normal(0, 1, 3) * np.radians([4.5, 16 if wide_range else 8, 3.5])
    moves = rng.normal(0, 1, (frames, 3)) * np.radians([4.5, 15 if wide_range else 8, 4])
    limits = np.radians([28, 52, 22])
    mean_pose, moves = (angles * (0.5 + 0.5 * variety) for angles in (mean_pose, moves))
    rotation = np.clip(mean_pose + moves, -limits, limits)
    body = np.clip(mean_pose * rng.uniform(0, 0.9) + moves * rng.uniform(0, 0.3) + rng.normal(0, 0.06, 3), -0.5, 0.5)
    body = body * [0.3, 1, 0.3]
    distance = np.exp(rng.normal(np.log(1080), 0.28 * variety)).clip(520, 2200)
    offset = rng.normal(0, 0.09, 2) * distance
    translation = np.array([offset[0], offset[1], distance]) + rng.normal(0, 1, (frames, 3)) * [4, 4, 12]
    return Take(rotation, body, translation)


def draw_turns(rng: np.random.Generator, take: Take) -> Take:
    """The same take with a head that turns by 30° to 60° of yaw from each frame to the next, and back again."""
    turn = np.radians(rng.uniform(32, 58))
    middle = rng.uniform(-1, 1) * (np.radians(48) - turn / 2)
    side = np.where(np.arange(len(take.rotation)) % 2 == rng.integers(2), 0.5, -0.5)
    yaw = middle + turn * side
    follows = rng.uniform(0, 0.3)
    rotation, body = take.rotation.copy(), take.body.copy()
    body[:, 1] = np.clip(body[:, 1] + follows * (yaw - rotation[:, 1]), -0.5, 0.5)
    rotation[:, 1] = yaw
    return replace(take, rotation=rotation, body=body)


def turn_slowly(take: Take, degrees: float) -> Take:
    """A take whose head also turns by ``degrees`` of yaw, from one side to the other, over its frames."""
    turn = np.zeros_like(take.rotation)
    turn[:, 1] = np.radians(degrees / 2) * np.sin(np.linspace(-np.pi / 2, np.pi / 2, len(turn)))
    return Take(take.rotation + turn, take.body, take.translation)


def draw_sway(rng: np.random.Generator, take: Take, frames: int, fps: float) -> Take:
    """The first pose of a take, swaying by some degrees and millimetres within seconds, over consecutive frames."""
    time = np.arange(frames)[:, None] / fps
    rate, phase = rng.uniform(0.15, 0.5, 6), rng.uniform(0, 2 * np.pi, 6)
    wave = np.sin(2 * np.pi * rate * time + phase)
    rotation = take.rotation[:1] + wave[:, :3] * np.radians([4, 9, 3]) * rng.uniform(0.3, 1)
    body = np.repeat(take.body[:1], frames, 0)
    return Take(rotation, body, take.translation[:1] + wave[:, 3:] * [6, 4, 12])
