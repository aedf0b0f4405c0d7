"""Films synthetic people: one clip row of images and detected landmarks per person; test sets have ground truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from jr2net.config import StudioConfig
from jr2net.config.studio import Manner
from jr2net.expressions import synthetic as expressions
from jr2net.expressions.samplers import draw_kind
from jr2net.expressions.tracks import Track, read_captures
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.camera import Camera, rotation_matrix
from jr2net.face.light import SH_BASES
from jr2net.face.model import FaceModel
from jr2net.images.clip import ClipRow, ClipTruth
from jr2net.images.crop import Crop
from jr2net.render.renderer import vertex_normals
from jr2net.studio.acting import FPS, act, act_captured, draw_resting_face
from jr2net.studio.background import draw_background
from jr2net.studio.develop import develop, develop_matte, draw_motion, draw_recording
from jr2net.studio.hair import curtain
from jr2net.studio.landmark_detector import biased_landmarks
from jr2net.studio.people import Person, draw_person
from jr2net.studio.props import OCCLUDED, draw_glasses, draw_occluder, glasses_outline
from jr2net.studio.scene import Light, Take, draw_light, draw_sway, draw_take, draw_turns, turn_slowly
from jr2net.studio.shading import Shot, draw_body, draw_hair
from jr2net.studio.subject import Subject, build_subject, reflectance
from jr2net.studio.truth import fit_harmonics, fit_pose

Kind = Literal["train", "natural", "large", "turned", "captured", "labelled"]
KINDS: tuple[Kind, ...] = ("train", "natural", "large", "turned", "captured", "labelled")

_SEQUENCE = 1000
"""Stands for the kind of ``film_sequence`` in its random streams."""

_TALKING: Mapping[Manner, float] = {"natural": 1.0}

SUPERSAMPLING = 2
_FOOTAGE = Camera(0, 1000.0, (0.0, 0.0))
"""Camera of the virtual footage that crops are cut from; only the ratio of focal length to crop side matters."""
_FLIP = torch.tensor([1.0, -1.0, -1.0])


def film_people(
    model: FaceModel,
    config: StudioConfig,
    seed: int,
    first: int,
    count: int,
    kind: Kind,
    size: int,
    mattes: bool = False,
    manners: Mapping[Manner, float] = _TALKING,
    widest: float = 1.0,
) -> Iterator[ClipRow]:
    """Films people ``first`` … ``first + count − 1`` of a kind, one row of ``size`` x ``size`` images each.

    'train' and 'natural' people talk, 'large' people show strong expressions, 'captured' people the largest ones of
    ``config.captures``, 'turned' people turn their heads by 30° to 60° from frame to frame, 'labelled' people act in
    one of ``manners`` and their faces differ at rest; all kinds but 'train' have ground truth. With ``mattes`` each
    frame has its exact matte. A person depends on (seed, kind, number), and on the captures or manners if it shows
    them, not on ``first``, ``count`` and ``mattes``. manners: how 'labelled' people act, with their weights. widest:
    crops are up to this many times as wide as usual. Raises ValueError for another kind, TrackError where no capture
    can be read.
    """
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r}: the studio films {', '.join(KINDS)}")
    tracks = []
    if kind == "captured":
        if config.captures is None:
            raise ValueError("people of the kind 'captured' need data.studio.captures")
        tracks = read_captures(config.captures).tracks
    subject = build_subject(model)
    for number in range(first, first + count):
        yield film_person(subject, config, seed, number, kind, size, mattes, tracks, manners, widest)


@torch.no_grad()
def film_person(
    subject: Subject,
    config: StudioConfig,
    seed: int,
    number: int,
    kind: Kind,
    size: int,
    mattes: bool = False,
    tracks: Sequence[Track] = (),
    manners: Mapping[Manner, float] = _TALKING,
    widest: float = 1.0,
) -> ClipRow:
    """One person's row. Appearance, acting, scene and recording each have a random stream of their own.

    tracks: what people of the kind 'captured' show; manners: how those of the kind 'labelled' act, with weights;
    widest: as of ``film_people``.
    """
    person_rng, acting_rng, *filming = _streams(seed, KINDS.index(kind), number)
    person = draw_person(person_rng, subject.model.sizes)
    frames = config.frames if kind == "train" else config.test_frames
    rest = np.zeros(len(ARKIT_NAMES))
    if kind == "captured":
        numbers, expression = act_captured(acting_rng, frames, tracks)
    elif kind == "labelled":
        rest = draw_resting_face(acting_rng)
        numbers, expression = act(acting_rng, frames, draw_kind(acting_rng, manners))
    else:
        numbers, expression = act(acting_rng, frames, "large" if kind == "large" else "natural")
    take = draw_take(acting_rng, len(numbers), config.variety)
    if kind == "turned":
        take = draw_turns(acting_rng, take)
    name = f"studio-{kind}-{seed}-{number:06d}"
    truth, wider = kind != "train", 1.0 if widest == 1 else float(widest ** acting_rng.random())
    return _shoot(subject, config, person, take, expression, rest, numbers, name, size, filming, mattes, truth, wider)


@torch.no_grad()
def film_sequence(
    model: FaceModel,
    config: StudioConfig,
    seed: int,
    number: int,
    frames: int,
    size: int,
    large: bool = False,
    still: float | None = None,
) -> ClipRow:
    """Consecutive frames of one person who talks, or moves through strong expressions, while the head sways; with
    ground truth. Person ``number`` is in no other set.

    still: the face keeps the expression of the first frame, while the head turns by so many degrees.
    """
    subject = build_subject(model)
    person_rng, acting_rng, *filming = _streams(seed, _SEQUENCE, number)
    person = draw_person(person_rng, subject.model.sizes)
    acted = (expressions.large if large else expressions.natural)(acting_rng, frames, FPS)
    take = draw_sway(acting_rng, draw_take(acting_rng, 1, config.variety), frames, FPS)
    if still is not None:
        acted, take = np.repeat(acted[:1], frames, 0), turn_slowly(take, still)
    name = f"studio-sequence-{seed}-{number:06d}"
    rest = np.zeros(len(ARKIT_NAMES))
    return _shoot(subject, config, person, take, acted, rest, np.arange(frames), name, size, filming, False, True)


def _streams(seed: int, kind: int, number: int) -> list[np.random.Generator]:
    """Random streams of a person: appearance, acting, scene, recording."""
    return [np.random.default_rng(stream) for stream in np.random.SeedSequence([seed, kind, number]).spawn(4)]


def _shoot(
    subject: Subject,
    config: StudioConfig,
    person: Person,
    take: Take,
    expression: np.ndarray,
    rest: np.ndarray,
    numbers: np.ndarray,
    name: str,
    size: int,
    streams: Sequence[np.random.Generator],
    mattes: bool,
    with_truth: bool,
    wider: float = 1.0,
) -> ClipRow:
    """The row of a person who acts expressions (T, 51) in a take.

    rest (51,): what the face shows at rest, which is no part of the truth; streams: of scene and recording; wider: how
    many times as wide as usual the crop is.
    """
    scene_rng, recording_rng = streams
    performance = _perform(subject, person, take, expression, rest)
    light = draw_light(scene_rng)

    detected = _detect(subject.model, performance, config, recording_rng)
    crop = _crop_clip(detected, recording_rng)
    crop = Crop(crop.center, wider * crop.side)
    albedo, albedo_coefficients = reflectance(subject, person)
    occluder_probability = OCCLUDED * config.variety
    camera = _camera(crop, SUPERSAMPLING * size)
    shot = _render_frames(subject, person, performance, albedo, light, camera, scene_rng, occluder_probability)
    recording = draw_recording(recording_rng, config.variety)
    truth = None
    if with_truth:
        truth = _truth(subject, person, performance, albedo_coefficients, light, _camera(crop, size))
    images, encoded_mattes = [], []
    for image, matte in zip(shot.image, shot.matte):
        motion = draw_motion(recording, recording_rng)
        images.append(develop(image, recording, motion, recording_rng, size))
        if mattes:
            encoded_mattes.append(develop_matte(matte, recording, motion, size))
    return ClipRow(
        clip_id=name,
        identity=name,
        fps=FPS,
        frame=numbers.astype(np.int32),
        images=tuple(images),
        landmarks=crop.to_crop(detected, size).astype(np.float32),
        truth=truth,
        license="synthetic",
        matte=tuple(encoded_mattes) if mattes else None,
    )


@dataclass(frozen=True)
class Performance:
    """One person's geometry in T frames, in mm; model space and camera space as in ``face.camera``.

    expression   (T, 51)
    shape        (T, N, 3) face in model space;  neutral (1, N, 3): without expression
    take         head and body angles, translation
    rotation     (T, 3, 3) and translation (T, 3): the head pose of ``take`` as tensors
    posed        (T, M, 3) head;  hanging (T, C, 3) hanging hair, both in camera space
    """

    expression: np.ndarray
    shape: Tensor
    neutral: Tensor
    take: Take
    rotation: Tensor
    translation: Tensor
    posed: Tensor
    hanging: Tensor


def _perform(subject: Subject, person: Person, take: Take, expression: np.ndarray, rest: np.ndarray) -> Performance:
    """Head and hair of a person, deformed by the expressions (T, 51) on a face at rest (51,) and posed by the take."""
    head, model = subject.head, subject.model
    identity = torch.from_numpy(person.identity)[None]
    shape = model.shape(identity, torch.from_numpy((expression + rest).astype(np.float32)))
    rotation, body = (
        _FLIP[:, None] * rotation_matrix(torch.from_numpy(angles).float()) for angles in (take.rotation, take.body)
    )
    translation = torch.from_numpy(take.translation).float()
    vertices = head.vertices(shape, person.ear_scale, person.neck_scale, person.neck_drop)
    curtain_rest = torch.from_numpy(curtain(subject.hair, head, person.hair, person.texture_seed)).float()
    head_weight = 1 - 0.8 * ((head.pivot[1] + 90 - curtain_rest[:, 1]) / 120).clamp(0, 1)
    return Performance(
        expression=expression,
        shape=shape,
        neutral=model.shape(identity, torch.from_numpy(rest[None].astype(np.float32))),
        take=take,
        rotation=rotation,
        translation=translation,
        posed=head.pose(vertices, head.head_weight, rotation, body, translation),
        hanging=head.pose(curtain_rest.expand(len(shape), -1, -1), head_weight, rotation, body, translation),
    )


def _detect(model: FaceModel, performance: Performance, config: StudioConfig, rng: np.random.Generator) -> np.ndarray:
    """Detected landmarks (T, 68, 2) in the coordinates of the footage."""
    turned = performance.neutral[:, model.landmarks] @ performance.rotation.transpose(1, 2)
    truth, neutral = (
        _FOOTAGE.project(points).numpy()
        for points in (performance.posed[:, model.landmarks], turned + performance.translation[:, None])
    )
    errors = config.detector_shrink, config.detector_noise
    return np.stack([biased_landmarks(*points, *errors, rng) for points in zip(truth, neutral)])


def _crop_clip(detected: np.ndarray, rng: np.random.Generator) -> Crop:
    """One crop for all frames, around their detected landmarks as in preparation, with a little jitter."""
    middle = Crop.from_landmarks(detected.mean(0))
    side = float(np.mean([Crop.from_landmarks(points).side for points in detected]))
    x, y = np.array(middle.center) + rng.normal(0, 0.012, 2) * side
    return Crop((float(x), float(y)), side * float(np.exp(rng.normal(0, 0.03))))


def _camera(crop: Crop, size: int) -> Camera:
    """The footage's camera, seen through the crop at ``size`` pixels."""
    matrix = crop.matrix(size)
    return Camera(size, float(_FOOTAGE.focal * matrix[0, 0]), (float(matrix[0, 2]), float(matrix[1, 2])))


def _render_frames(
    subject: Subject,
    person: Person,
    performance: Performance,
    albedo: Tensor,
    light: Light,
    camera: Camera,
    rng: np.random.Generator,
    occluder_probability: float,
) -> Shot:
    """Draws background, person, glasses and perhaps an occluder, from back to front."""
    posed, frames = performance.posed, len(performance.expression)
    backdrop = _backdrops(rng, frames, camera.size)
    depth, matte = (np.full(backdrop.shape[:3], value, np.float32) for value in (np.inf, 0))
    shot = Shot(backdrop, depth, matte, camera, light)
    normals = vertex_normals(posed, subject.head.faces)
    draw_body(shot, subject, person, albedo, posed, normals)
    draw_hair(shot, subject, person, posed, normals, performance.hanging)
    if person.glasses is not None:
        lines = glasses_outline(person.glasses, *_glasses_anchors(subject, performance.neutral[0]))
        for frame in range(frames):
            pose = performance.rotation[frame], performance.translation[frame]
            projected = {name: _project(line, *pose, camera) for name, line in lines.items()}
            layers = shot.image[frame], shot.depth[frame], shot.matte[frame]
            draw_glasses(*layers, person.glasses, projected, camera.focal, light)
    if rng.random() < occluder_probability:
        landmarks = camera.project(posed[:, subject.model.landmarks]).numpy()
        draw_occluder(shot.image, shot.matte, landmarks, person, light, rng)
    return shot


def _backdrops(rng: np.random.Generator, frames: int, size: int) -> np.ndarray:
    """Backgrounds (T, S, S, 3): one image, shifted a little from frame to frame."""
    background = draw_background(rng, size + size // 8) * rng.uniform(0.6, 1.2)
    shifts = (rng.uniform(0, size / 8, 2) + rng.normal(0, 0.01 * size, (frames, 2))).clip(0, size // 8).astype(int)
    return np.stack([background[y : y + size, x : x + size] for x, y in shifts]).astype(np.float32)


def _glasses_anchors(subject: Subject, face: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Eye landmarks 36 to 47 (12, 3) in model space, and the points (2, 3) where glasses rest on the ears."""
    ears = face[subject.head.ear_anchor] + torch.tensor([[2.0, 14.0, -14.0], [-2.0, 14.0, -14.0]])
    return face[subject.model.landmarks[36:48]].double().numpy(), ears.double().numpy()


def _project(points: np.ndarray, rotation: Tensor, translation: Tensor, camera: Camera) -> np.ndarray:
    """Projects model points (K, 3) of the head to (K, 3): pixel x, pixel y, depth in mm."""
    camera_points = torch.from_numpy(points).float() @ rotation.t() + translation
    return torch.cat([camera.project(camera_points), camera_points[:, 2:]], 1).numpy()


def _truth(
    subject: Subject, person: Person, performance: Performance, albedo: np.ndarray, light: Light, camera: Camera
) -> ClipTruth:
    """Ground truth of the row. Its pose refers to the crop's default camera, which reconstruction assumes."""
    model, posed = subject.model, performance.posed
    pixels = camera.project(posed[:, model.landmarks]).numpy()
    irises = camera.project(torch.stack([posed[:, : len(iris)][:, iris].mean(1) for iris in subject.irises], 1)).numpy()
    points = performance.shape[:, model.landmarks].numpy()
    default = Camera.default(camera.size)
    frames = zip(points, pixels, performance.take.rotation)
    poses = [fit_pose(face, projected, default, angles) for face, projected, angles in frames]
    rotation, translation = (np.array(part, np.float32) for part in zip(*poses))
    light_shape = (len(points), SH_BASES, 3)
    return ClipTruth(
        identity=person.identity,
        albedo=albedo,
        expression=performance.expression,
        rotation=rotation,
        translation=translation,
        light=np.broadcast_to(fit_harmonics(light), light_shape).astype(np.float32),
        keypoints=(np.concatenate([pixels, irises], 1) / camera.size).astype(np.float32),
    )
