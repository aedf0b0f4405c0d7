"""Pictures for the face detector: filmed people pasted into drawn places, with things around and in front of them.

Everything is drawn as the batch is made: a picture is a function of the seed, the step and its number in the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch

from jr2net.data.shards import list_shards, read_clips
from jr2net.data.stream import prefetch
from jr2net.data.transfer import Transfer
from jr2net.face.landmarks import JAW, LANDMARKS, NOSE_BRIDGE, mirror_landmarks
from jr2net.images.arrays import decode_image, decode_matte, to_tensor
from jr2net.images.crop import resample, transform
from jr2net.studio.background import draw_background
from jr2net.studio.clutter import draw_clutter
from jr2net.studio.textures import fractal_noise, patch

MAX_FACES = 3
_BACKDROPS, _BACKDROP_SIDE = 512, 192


@dataclass(frozen=True)
class Portrait:
    """A filmed person: image (S, S, 3) and matte (S, S) uint8, landmarks (68, 2) in its pixels."""

    image: np.ndarray
    matte: np.ndarray
    landmarks: np.ndarray

    @staticmethod
    def decode(image: bytes, matte: bytes, landmarks: np.ndarray) -> Portrait:
        pixels, grey = decode_image(image), decode_matte(matte)
        assert pixels is not None and grey is not None
        return Portrait(pixels, grey, landmarks)

    def mirrored(self) -> Portrait:
        image, matte = (np.ascontiguousarray(part[:, ::-1]) for part in (self.image, self.matte))
        return Portrait(image, matte, mirror_landmarks(self.landmarks, self.image.shape[1]))

    @property
    def box(self) -> tuple[np.ndarray, float]:
        """Centre (2,) and longest side of the box of the landmarks."""
        return box_of(self.landmarks)


@dataclass
class Scene:
    """A picture with its faces while it is drawn.

    image (S, S, 3) uint8; landmarks: of every face (68, 2) pixels; shown: of every face (68,) whether a point is seen
    """

    image: np.ndarray
    landmarks: list[np.ndarray] = field(default_factory=list)
    shown: list[np.ndarray] = field(default_factory=list)

    def add(self, landmarks: np.ndarray) -> None:
        side = len(self.image)
        self.landmarks.append(landmarks)
        self.shown.append(np.all((landmarks >= 0) & (landmarks < side), axis=-1))

    def cover(self, mask: np.ndarray) -> None:
        """Hides the points of all faces that lie below a mask (S, S) uint8."""
        for points, shown in zip(self.landmarks, self.shown):
            x, y = np.clip(points, 0, len(self.image) - 1).astype(int).T
            shown &= mask[y, x] < 128


def draw_scene(rng: np.random.Generator, portraits: Sequence[Portrait], side: int) -> Scene:
    """A picture of ``side`` pixels: with one large upright face, with up to three faces anyhow, or with none.

    portraits: those to choose from.
    """
    scene = Scene(_backdrop(rng, side))
    kind = rng.choice(["close", "any", "none"], p=[0.35, 0.35, 0.3])
    for _ in range(rng.integers(0, 4) if rng.random() < 0.6 else 0):
        _add_clutter(scene, rng, side * rng.uniform(0.1, 0.8))
    if rng.random() < (0.5 if kind == "none" else 0.2):
        _paste(scene, _ruined(_choose(rng, portraits), rng), rng, *_placed(rng, side), is_face=False)
    if kind == "close":
        size, roll = side * rng.uniform(0.38, 0.8), rng.normal(0, 0.12)
        _paste(scene, _choose(rng, portraits), rng, side / 2 + rng.normal(0, 0.06, 2) * side, size, roll)
    elif kind == "any":
        for _ in range(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15])):
            _paste(scene, _choose(rng, portraits), rng, *_placed(rng, side))
    if scene.landmarks and rng.random() < 0.35:
        _hide(scene, rng)
    scene.image = _recorded(scene.image, rng)
    return scene


def visible(scene: Scene) -> list[float]:
    """Of every face, the fraction of its points that the picture shows."""
    return [float(shown.mean()) for shown in scene.shown]


def box_of(landmarks: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre (2,) and longest side of the box of landmarks (68, 2)."""
    low, high = landmarks.min(0), landmarks.max(0)
    return (low + high) / 2, float((high - low).max())


def _choose(rng: np.random.Generator, portraits: Sequence[Portrait]) -> Portrait:
    portrait = portraits[int(rng.integers(len(portraits)))]
    return portrait.mirrored() if rng.random() < 0.5 else portrait


def _placed(rng: np.random.Generator, side: int) -> tuple[np.ndarray, float, float]:
    """Centre, size and roll of a face anywhere, at its edges too."""
    size = side * float(np.exp(rng.uniform(np.log(0.06), np.log(0.95))))
    roll = rng.normal(0, 0.25) if rng.random() < 0.6 else rng.uniform(-np.pi, np.pi)
    beyond = 0.2 * size
    return rng.uniform(-beyond, side + beyond, 2), size, float(roll)


def _paste(
    scene: Scene, portrait: Portrait, rng: np.random.Generator, centre: np.ndarray, size: float, roll: float,
    is_face: bool = True,
) -> None:  # fmt: skip
    """Pastes a person, cut out or with the place where they were filmed, so that the face lies at a place."""
    side = len(scene.image)
    middle, own = portrait.box
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]]) * (size / own)
    stretched = turn @ np.diag(np.exp(rng.normal(0, 0.04, 2)))
    matrix = np.hstack([stretched, (centre - stretched @ middle)[:, None]])
    whole = rng.random() < 0.45
    opacity = np.full(portrait.matte.shape, 255, np.uint8) if whole else portrait.matte
    image = resample(_lit(portrait.image, rng), matrix, side, cv2.BORDER_REPLICATE)
    opacity = resample(opacity, matrix, side, cv2.BORDER_CONSTANT)
    scene.image = _blend(scene.image, image, opacity)
    scene.cover(opacity)
    if is_face and len(scene.landmarks) < MAX_FACES:
        scene.add(transform(portrait.landmarks, matrix))


def _lit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image with other contrast, brightness and colour."""
    gain = rng.lognormal(0, 0.25) * np.exp(rng.normal(0, 0.08, 3))
    values = (np.arange(256)[:, None] - 110) * rng.uniform(0.7, 1.3) + 110
    table = np.clip(values * gain + rng.normal(0, 12), 0, 255).astype(np.uint8)
    return cv2.LUT(image, table[None])


def _blend(below: np.ndarray, above: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Images (S, S, 3) uint8, the second with an opacity (S, S) uint8."""
    weight = opacity.astype(np.float32) / 255
    return cv2.blendLinear(np.ascontiguousarray(above), np.ascontiguousarray(below), weight, 1 - weight)


def _ruined(portrait: Portrait, rng: np.random.Generator) -> Portrait:
    """The person without a face: its parts exchanged, blurred away, or painted over."""
    image, (centre, size) = portrait.image.copy(), portrait.box
    kind = rng.choice(["exchanged", "blurred", "painted"])
    hull = np.zeros(image.shape[:2], np.uint8)
    cv2.fillConvexPoly(
        hull, cv2.convexHull(np.round(1.15 * (portrait.landmarks - centre) + centre).astype(np.int32)), 255
    )
    if kind == "exchanged":
        part = max(4, int(size / rng.integers(2, 5)))
        left, top = np.clip(centre - size / 2, 0, None).astype(int)
        places = [
            (slice(y, y + part), slice(x, x + part))
            for y in range(top, int(top + size), part)
            for x in range(left, int(left + size), part)
            if y + part <= len(image) and x + part <= len(image)
        ]
        parts = [portrait.image[place] for place in places]
        turned = int(rng.integers(4))
        for place, other in zip(places, rng.permutation(len(places))):
            image[place] = np.rot90(parts[other], turned)
        return Portrait(image, portrait.matte, portrait.landmarks)
    if kind == "blurred":
        other = cv2.GaussianBlur(image, (0, 0), size * rng.uniform(0.15, 0.4))
    else:
        other = np.clip(cv2.mean(image, hull)[:3] + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
        draw_clutter(other, centre + rng.normal(0, 0.2, 2) * size, size * rng.uniform(0.1, 0.6), rng)
    soft = cv2.GaussianBlur(hull, (0, 0), 0.02 * size)
    return Portrait(_blend(image, other, soft), portrait.matte, portrait.landmarks)


def _add_clutter(scene: Scene, rng: np.random.Generator, size: float, centre: np.ndarray | None = None) -> None:
    where = rng.uniform(0, len(scene.image), 2) if centre is None else centre
    scene.cover(draw_clutter(scene.image, where, size, rng))


def _hide(scene: Scene, rng: np.random.Generator) -> None:
    """Puts something in front of a face: a mask over mouth and nose, a bar over the eyes, or any object."""
    points = scene.landmarks[int(rng.integers(len(scene.landmarks)))]
    centre, size = box_of(points)
    kind = rng.choice(["mask", "bar", "object"], p=[0.3, 0.15, 0.55])
    if kind == "object":
        _add_clutter(scene, rng, size * rng.uniform(0.3, 1.1), centre + rng.normal(0, 0.4, 2) * size)
        return
    cover = np.zeros(scene.image.shape[:2], np.uint8)
    if kind == "mask":
        nose = points[NOSE_BRIDGE.start + int(rng.integers(0, 4))]
        outline = np.vstack([points[JAW][2:15], nose])
        outline = centre + (outline - centre) * rng.uniform(1.0, 1.12)
    else:
        right, left = points[0], points[16]
        down = (points[8] - (right + left) / 2) * rng.uniform(0.15, 0.3)
        brows = points[17:27].mean(0) - (right + left) / 2
        outline = np.vstack([right + brows, left + brows, left + down, right + down])
    cv2.fillPoly(cover, [np.round(outline).astype(np.int32)], 255, cv2.LINE_AA)
    colour = rng.uniform(0, 255, 3) if rng.random() < 0.5 else rng.uniform(180, 255) * np.ones(3)
    shade = scene.image.mean(-1, keepdims=True) / 110 if rng.random() < 0.5 else np.ones((*cover.shape, 1))
    scene.image = _blend(scene.image, np.clip(colour * shade, 0, 255).astype(np.uint8), cover)
    scene.cover(cover)


def _recorded(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture as some camera delivers it: far away, grey, blurred, noisy, compressed."""
    if rng.random() < 0.35:
        small = max(12, round(len(image) * rng.uniform(0.15, 0.6)))
        shrunk = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
        how = cv2.INTER_CUBIC if rng.random() < 0.7 else cv2.INTER_LINEAR
        image = cv2.resize(shrunk, (len(image), len(image)), interpolation=how)
    if rng.random() < 0.12:
        image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, -1)
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.4))
    if rng.random() < 0.3:
        noise = rng.standard_normal(image.shape, np.float32) * rng.uniform(1, 14)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        image = _lit(image, rng)
    if rng.random() < 0.3:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))])
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return image


@lru_cache(maxsize=1)
def _backdrops() -> list[np.ndarray]:
    return [
        (255 * draw_background(np.random.default_rng([7, number]), _BACKDROP_SIDE)).astype(np.uint8)
        for number in range(_BACKDROPS)
    ]


def _backdrop(rng: np.random.Generator, side: int) -> np.ndarray:
    """A part of one of the drawn places, its channels in some order; sometimes two places share the picture."""

    def part() -> np.ndarray:
        place = _backdrops()[int(rng.integers(_BACKDROPS))]
        width = int(rng.integers(_BACKDROP_SIDE // 3, _BACKDROP_SIDE + 1))
        x, y = rng.integers(0, _BACKDROP_SIDE - width + 1, 2)
        shown = cv2.resize(place[y : y + width, x : x + width], (side, side), interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(np.rot90(shown, int(rng.integers(4)))[..., rng.permutation(3)])

    picture = part()
    if rng.random() < 0.3:
        edge = int(rng.integers(1, side))
        picture[:, :edge] = part()[:, :edge]
    if rng.random() < 0.2:
        grain = patch(fractal_noise(rng.choice([0.5, 1.0, 1.5])), rng, side, rng.uniform(0.3, 4))
        rough = grain[..., None] * rng.uniform(10, 70) * (1 if rng.random() < 0.5 else rng.uniform(0.3, 1, 3))
        picture = np.clip(picture + rough, 0, 255).astype(np.uint8)
    if rng.random() < 0.1:
        picture[:] = rng.integers(0, 256) if rng.random() < 0.5 else rng.integers(0, 256, 3)
    return picture


class SceneLoader:
    """An endless data loader of this rank's part of every global batch of scenes, from ``start_step`` on.

    A batch: ``image`` (B, 3, S, S), ``landmarks`` (B, 3, 68, 2) pixels, ``visible`` (B, 3) in [0, 1], 0 without a face.
    folder: the clip shards of people with mattes; held_back: one person in twenty, who is in no other batch.
    """

    def __init__(
        self,
        folder: str,
        *,
        side: int,
        seed: int,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        start_step: int = 0,
        threads: int = 1,
        device: torch.device | str = "cpu",
        held_back: bool = False,
    ) -> None:
        self.side, self.seed, self.start_step = side, seed + (1 << 31) * held_back, start_step
        self.samples = range(batch_size)[rank * batch_size // world : (rank + 1) * batch_size // world]
        self._threads, self._device = threads, device
        rows = [row for shard in list_shards(folder) for row in read_clips(shard)]
        self.portraits = [
            Portrait.decode(image, matte, landmarks)
            for number, row in enumerate(rows)
            if (number % 20 == 0) == held_back
            for image, matte, landmarks in zip(row.images, row.matte or (), row.landmarks)
        ]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        transfer = Transfer(self._device)
        for copied in prefetch(
            lambda step: step, lambda step: transfer.begin(self.batch(step)), self.start_step, self._threads
        ):
            yield transfer.finish(copied)

    def batch(self, step: int) -> dict[str, Any]:
        """The batch of one step, made on the calling thread."""
        scenes = [draw_scene(self._rng(step, number), self.portraits, self.side) for number in self.samples]
        landmarks = np.zeros((len(scenes), MAX_FACES, LANDMARKS, 2), np.float32)
        shown = np.zeros((len(scenes), MAX_FACES), np.float32)
        for row, scene in enumerate(scenes):
            for face, (points, share) in enumerate(zip(scene.landmarks, visible(scene))):
                landmarks[row, face], shown[row, face] = points, share
        return {
            "image": to_tensor([scene.image for scene in scenes]),
            "landmarks": torch.from_numpy(landmarks),
            "visible": torch.from_numpy(shown),
            "sample_id": [f"{step}/{number}" for number in self.samples],
        }

    def _rng(self, step: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, step, number])
