"""Films synthetic people: each a clip row of pictures and detected landmarks, with the truth in the test sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from jr2net.config import StudioConfig
from jr2net.data import expressions
from jr2net.data.crop import Crop
from jr2net.data.detector import biased_landmarks
from jr2net.data.shards import ClipRow, ClipTruth
from jr2net.data.studio.background import draw_background
from jr2net.data.studio.develop import develop, draw_stock
from jr2net.data.studio.hair import curtain
from jr2net.data.studio.people import Person, draw_person
from jr2net.data.studio.props import OCCLUDED, draw_glasses, draw_occluder, glasses_outline
from jr2net.data.studio.scene import Light, Take, draw_light, draw_take
from jr2net.data.studio.shading import Studio, build_studio, reflectance, shoot
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.camera import Camera, rotation_matrix
from jr2net.face.light import SH_BASES, spherical_harmonics
from jr2net.face.model import FaceModel

Kind = Literal["train", "natural", "large"]
KINDS: tuple[Kind, ...] = ("train", "natural", "large")

FPS = 25.0
SUPERSAMPLING = 2
_FRAME_FOCAL = 1000.0  # of the imaginary footage that the crop is cut from, pixels
_LIDS = np.array([name.startswith("eyeBlink") for name in ARKIT_NAMES])
_FLIP = torch.tensor([1.0, -1.0, -1.0])


def film_people(
    model: FaceModel, config: StudioConfig, seed: int, first: int, count: int, kind: Kind, size: int
) -> Iterator[ClipRow]:
    """Films people ``first`` … ``first + count − 1`` of a kind, one row of ``size`` x ``size`` pictures each.

    'train' and 'natural' people talk, 'large' people pull strong faces; the two test kinds hold the truth. A person is
    a function of (seed, kind, number) alone, whatever range is filmed around it. Raises ValueError for another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r}: the studio films {', '.join(KINDS)}")
    studio = build_studio(model)
    for number in range(first, first + count):
        yield film_person(studio, config, seed, number, kind, size)


@torch.no_grad()
def film_person(studio: Studio, config: StudioConfig, seed: int, number: int, kind: Kind, size: int) -> ClipRow:
    streams = np.random.SeedSequence([seed, KINDS.index(kind), number]).spawn(4)
    who, acting, place, recording = (np.random.default_rng(stream) for stream in streams)
    frames = config.frames if kind == "train" else config.test_frames
    model = studio.head.model
    person = draw_person(who, model.sizes)
    numbers, expression = _act(acting, frames, kind)
    take, light = draw_take(acting, frames), draw_light(place)
    shape = model.shape(torch.from_numpy(person.identity)[None], torch.from_numpy(expression))
    posed, hanging, rotation, translation = _pose(studio, person, take, shape)

    neutral = model.shape(torch.from_numpy(person.identity)[None], torch.zeros(1, expression.shape[1]))
    resting = neutral[:, model.landmarks] @ rotation.transpose(1, 2) + translation[:, None]
    footage = Camera(0, _FRAME_FOCAL, (0.0, 0.0))
    truth = footage.project(posed[:, model.landmarks]).numpy()
    at_rest = footage.project(resting).numpy()
    errors = config.detector_shrink, config.detector_noise
    detected = np.stack([biased_landmarks(*points, *errors, recording) for points in zip(truth, at_rest)])
    crop = _crop(detected, recording)
    fine = SUPERSAMPLING * size
    matrix = crop.matrix(fine)
    camera = Camera(fine, _FRAME_FOCAL * matrix[0, 0], (matrix[0, 2], matrix[1, 2]))

    albedo, coefficients = reflectance(studio, person)
    backdrop = _backdrops(place, frames, fine)
    pictures, depth = shoot(studio, person, albedo, posed, hanging, camera, light, backdrop)
    if person.glasses is not None:
        lines = glasses_outline(person.glasses, *_eyes_and_ears(studio, neutral[0]))
        for frame, picture in enumerate(pictures):
            seen = {name: _project(line, rotation[frame], translation[frame], camera) for name, line in lines.items()}
            scale = camera.focal / float(translation[frame, 2])
            draw_glasses(picture, depth[frame], person.glasses, seen, scale, light)
    if place.random() < OCCLUDED:
        draw_occluder(pictures, camera.project(posed[:, model.landmarks]).numpy(), person, light, place)
    stock = draw_stock(recording)
    return ClipRow(
        clip_id=f"studio-{kind}-{seed}-{number:06d}",
        identity=f"studio-{kind}-{seed}-{number:06d}",
        fps=FPS,
        frame=numbers.astype(np.int32),
        images=tuple(develop(picture, stock, recording, size) for picture in pictures),
        landmarks=crop.to_crop(detected, size).astype(np.float32),
        truth=None
        if kind == "train"
        else _truth(model, person, expression, coefficients, light, posed, camera, take, size),
        license="synthetic",
    )


def _act(rng: np.random.Generator, frames: int, kind: Kind) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (T,) and expressions (T, 51) of frames picked from a few seconds of acting."""
    sampler = expressions.large if kind == "large" else expressions.natural
    track = sampler(rng, 25 * frames, FPS)
    numbers = np.sort(rng.choice(len(track), frames, replace=False))
    liveliness = 1.0 if kind == "large" else rng.uniform(0.8, 2.0)
    heavy_lids = _LIDS * max(0.0, rng.normal(0.08, 0.12))
    return numbers, expressions.plausible(np.clip(track[numbers] * np.where(_LIDS, 1, liveliness) + heavy_lids, 0, 1))


def _pose(studio: Studio, person: Person, take: Take, shape: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Head (T, M, 3) and curtain (T, C, 3) in camera space, with the head's rotation (T, 3, 3) and translation."""
    head = studio.head
    rotation, body = (
        _FLIP[:, None] * rotation_matrix(torch.from_numpy(angles).float()) for angles in (take.rotation, take.body)
    )
    translation = torch.from_numpy(take.translation).float()
    whole = head.vertices(shape, person.ear_scale, person.neck_scale, person.neck_drop)
    posed = head.pose(whole, head.follows, rotation, body, translation)
    falls = torch.from_numpy(curtain(studio.hair, head, person.hair, person.texture_seed)).float()
    follows = (1 - 0.8 * ((head.pivot[1] + 90 - falls[:, 1]) / 120).clamp(0, 1)).float()
    hanging = head.pose(falls.expand(len(shape), -1, -1), follows, rotation, body, translation)
    return posed, hanging, rotation, translation


def _eyes_and_ears(studio: Studio, face: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Points 36 to 47 (12, 3) of a face in model space, and where glasses rest on the ears (2, 3)."""
    ears = face[studio.head.ear_anchor] + torch.tensor([[2.0, 14.0, -14.0], [-2.0, 14.0, -14.0]])
    return face[studio.head.model.landmarks[36:48]].double().numpy(), ears.double().numpy()


def _project(points: np.ndarray, rotation: Tensor, translation: Tensor, camera: Camera) -> np.ndarray:
    """Model points (K, 3) of the head to (K, 3): pixel x, pixel y, depth in mm."""
    placed = torch.from_numpy(points).float() @ rotation.t() + translation
    return torch.cat([camera.project(placed), placed[:, 2:]], 1).numpy()


def _crop(detected: np.ndarray, rng: np.random.Generator) -> Crop:
    """One crop for the clip, as preparation cuts it: around the landmarks of all frames, a little off."""
    middle = Crop.from_landmarks(detected.mean(0))
    single = [Crop.from_landmarks(points) for points in detected]
    side = float(np.mean([crop.side for crop in single]))
    drift = rng.normal(0, 0.012, 2) * side
    return Crop((middle.center[0] + drift[0], middle.center[1] + drift[1]), side * float(np.exp(rng.normal(0, 0.03))))


def _backdrops(rng: np.random.Generator, frames: int, fine: int) -> np.ndarray:
    """What lies behind the person in every frame (T, S, S, 3): one picture, shifted a little."""
    wide = draw_background(rng, fine + fine // 8) * rng.uniform(0.6, 1.2)
    shifts = rng.integers(0, fine // 8 + 1, 2) + rng.integers(-2, 3, (frames, 2))
    shifts = shifts.clip(0, fine // 8)
    return np.stack([wide[y : y + fine, x : x + fine] for x, y in shifts]).astype(np.float32)


def _truth(
    model: FaceModel, person: Person, expression: np.ndarray, coefficients: np.ndarray, light: Light, posed: Tensor,
    camera: Camera, take: Take, size: int,
) -> ClipTruth:  # fmt: skip
    """What is known of the row. Pose is that of the crop's default camera, the one reconstruction assumes."""
    points = posed[:, model.landmarks]
    pixels = camera.project(points).numpy() / SUPERSAMPLING
    shape = model.shape(torch.from_numpy(person.identity)[None], torch.from_numpy(expression))[
        :, model.landmarks
    ].numpy()
    default = Camera.default(size)
    poses = [_fit_pose(rest, seen, default, angles) for rest, seen, angles in zip(shape, pixels, take.rotation)]
    rotation, translation = (np.array(part, np.float32) for part in zip(*poses))
    return ClipTruth(
        identity=person.identity,
        albedo=coefficients,
        expression=expression,
        rotation=rotation,
        translation=translation,
        light=np.broadcast_to(harmonics_of(light), (len(expression), SH_BASES, 3)).astype(np.float32),
    )


def _fit_pose(
    points: np.ndarray, pixels: np.ndarray, camera: Camera, angles: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Euler angles and translation with which ``camera`` sees model points (68, 3) nearest to pixels (68, 2)."""
    flip = np.diag([1.0, -1.0, -1.0])
    start = flip @ rotation_matrix(torch.from_numpy(angles)[None])[0].numpy()
    intrinsics = np.array([[camera.focal, 0, camera.centre[0]], [0, camera.focal, camera.centre[1]], [0, 0, 1]])
    first = cv2.Rodrigues(start)[0], np.array([[0.0], [0.0], [1080.0]])
    _, vector, translation = cv2.solvePnP(points.astype(float), pixels.astype(float), intrinsics, None, *first, True)
    matrix = flip @ cv2.Rodrigues(vector)[0]
    pitch, yaw = np.arctan2(matrix[2, 1], matrix[2, 2]), np.arcsin(np.clip(-matrix[2, 0], -1, 1))
    return np.array([pitch, yaw, np.arctan2(matrix[1, 0], matrix[0, 0])]), translation[:, 0]


def harmonics_of(light: Light) -> np.ndarray:
    """The nine harmonics (9, 3) nearest to a light's irradiance over the sphere."""
    index = np.arange(200) + 0.5
    height, turn = 1 - index / 100, np.pi * (1 + 5**0.5) * index
    across = np.sqrt(1 - height**2)
    normals = np.stack([across * np.cos(turn), height, across * np.sin(turn)], 1)
    basis = spherical_harmonics(torch.from_numpy(normals)).numpy()
    return np.linalg.lstsq(basis, light.irradiance(normals), rcond=None)[0]
