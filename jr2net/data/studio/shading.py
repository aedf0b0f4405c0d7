"""What the person looks like: head and hair rasterised, painted and lit, layer over layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jr2net.data.studio.hair import (
    HairMesh,
    build_hair,
    curtain_place,
    cut_out,
    hair_faces,
    hairline_at,
    shell_thickness,
)
from jr2net.data.studio.head import EAR_COLUMNS, Head, build_head
from jr2net.data.studio.people import Clothes, Person
from jr2net.data.studio.scene import Light
from jr2net.data.studio.skin import FaceMap, paint_skin, unroll
from jr2net.data.studio.textures import fractal_noise, lookup, smoothstep
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.render.rasterizer import rasterize
from jr2net.render.renderer import vertex_normals

_EYES = ("sclera", "iris", "pupil", "eye", "eyeball", "cornea")
_TEETH = ("teeth", "teeth_upper", "teeth_lower")
_INSIDE = ("mouth_socket", "eye_socket", "mouth_cavity", "cavity", "tongue", "gums")


@dataclass(frozen=True)
class Studio:
    """All that is the same for every person filmed with one face model.

    albedo_fit (A, 3S) finds the albedo coefficients of a reflectance on the S skin vertices ``skin``.
    marks (M, 5): share of face skin, lips, wet (eyes, teeth, lips), body, openness (ambient occlusion).
    """

    head: Head
    hair: HairMesh
    face_map: FaceMap
    marks: Tensor
    skin: Tensor
    iris: Tensor
    albedo_fit: Tensor


def build_studio(model: FaceModel) -> Studio:
    head = build_head(model)
    count, faces = len(head.rest), model.faces
    skin = model.has_label("skin")
    lips = model.has_label("lips")
    marks = torch.zeros(count, 5)
    marks[: head.face_size, 0] = (skin | lips).float()
    marks[: head.face_size, 1] = lips.float()
    marks[: head.face_size, 2] = (
        torch.where(model.has_label(*_EYES), 1.0, model.has_label(*_TEETH).float() * 0.5) + 0.25 * lips
    )
    marks[:, 3] = (head.part == 3).float()
    marks[:, 4] = 1.0
    marks[: head.face_size, 4] = _openness(model.mean, faces, skin)
    marks[: head.face_size, 4] *= torch.where(model.has_label(*_INSIDE), 0.5, 1.0) * torch.where(
        model.has_label(*_EYES), 0.85, 1.0
    )
    marks[head.part == 2, 4] = torch.tensor([0.5, 0.6, 0.9, 0.8, 1.0]).repeat_interleave(EAR_COLUMNS).repeat(2)
    basis = model.albedo_basis[:, skin].flatten(1)
    ridge = basis @ basis.t() + 1e-3 * torch.eye(len(basis))
    return Studio(
        head=head,
        hair=build_hair(head),
        face_map=unroll(head),
        marks=marks,
        skin=skin,
        iris=model.has_label("iris"),
        albedo_fit=torch.linalg.solve(ridge, basis),
    )


def _openness(mean: Tensor, faces: Tensor, skin: Tensor) -> Tensor:
    """Ambient occlusion (N,) from how deep a vertex lies among its neighbours: creases are dark."""
    normal = vertex_normals(mean[None], faces)[0]
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = torch.cat([edges, edges.flip(1)])

    def spread(values: Tensor) -> Tensor:
        total = torch.zeros_like(values).index_add(0, edges[:, 0], values[edges[:, 1]])
        number = torch.zeros(len(values)).index_add(0, edges[:, 0], torch.ones(len(edges))).clamp(min=1)
        return total / (number if values.dim() == 1 else number[:, None])

    smooth = mean
    for _ in range(6):
        smooth = spread(smooth)
    depth = ((smooth - mean) * normal).sum(-1) * skin
    for _ in range(1):
        depth = 0.5 * depth + 0.5 * spread(depth)
    return (1 - 0.16 * depth.clamp(min=0)).clamp(0.35, 1.0)


def reflectance(studio: Studio, person: Person) -> tuple[Tensor, np.ndarray]:
    """Vertex albedo (M, 3) of a person, and the albedo coefficients (A,) that come closest to its skin."""
    head, model = studio.head, studio.head.model
    face = model.reflectance(torch.from_numpy(person.albedo)[None])[0]
    tone = torch.tensor(person.tone, dtype=torch.float32)
    gain = tone / face[studio.skin].mean(0)
    lips = studio.marks[: len(face), 1:2]
    of_skin = torch.maximum(studio.marks[: len(face), :1], lips)
    face = face * (1 + of_skin * (gain - 1))
    lip_mean = (face * lips).sum(0) / lips.sum().clamp(min=1)
    lip_colour = torch.tensor(person.lips, dtype=torch.float32)
    face = face * (1 + lips * ((lip_colour / lip_mean.clamp(min=0.02)).clamp(0.1, 3) - 1))
    face = torch.where(studio.iris[:, None], torch.tensor(person.iris, dtype=torch.float32), face).clamp(0.005, 1)
    offset = (face - model.albedo_mean)[studio.skin].flatten()
    coefficients = studio.albedo_fit @ offset
    skull = tone + (face[head.boundary] - tone)[:, None] * head.decay[:, None]
    rest = tone.expand(int((head.part >= 2).sum()), 3)
    return torch.cat([face, skull.flatten(0, 1), rest]), coefficients.numpy().astype(np.float32)


def shoot(
    studio: Studio,
    person: Person,
    albedo: Tensor,
    posed: Tensor,
    hanging: Tensor,
    camera: Camera,
    light: Light,
    backdrop: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (B, S, S, 3) float32 in scene-linear light, and depth (B, S, S) mm (infinite on the background).

    posed (B, M, 3) and hanging (B, C, 3): head and curtain vertices in camera space; backdrop (B, S, S, 3).
    """  # fmt: skip
    normals = vertex_normals(posed, studio.head.faces)
    picture, depth = _draw_body(studio, person, albedo, posed, normals, camera, light, backdrop)
    _draw_hair(studio, person, posed, normals, hanging, camera, light, picture, depth)
    return picture, depth


def _draw_body(
    studio: Studio, person: Person, albedo: Tensor, posed: Tensor, normals: Tensor, camera: Camera, light: Light,
    backdrop: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    head = studio.head
    fragments = rasterize(posed, head.faces, camera)
    moving = fragments.gather(torch.cat([posed, normals], -1)).numpy().T
    position, normal = moving[:, :3], _unit(moving[:, 3:] * [1, -1, -1])
    place = torch.from_numpy(studio.face_map.coordinates)
    polar = torch.from_numpy(studio.hair.polar).float()
    still = torch.cat([albedo, place, polar, head.rest, studio.marks], -1)
    columns = np.split(fragments.gather(still[None]).numpy().T, [3, 5, 7, 10], axis=1)
    colour, place_, polar_, rest, marks = columns
    face, lips, wet, body, openness = marks.T
    view = _unit(-position * [1, -1, -1])

    factor, density = paint_skin(person, studio.face_map)
    texture = np.dstack([factor, density])
    painted = lookup(texture, place_[:, 0] - 0.5, place_[:, 1] - 0.5, wrap=False)
    amount = (face * (1 - lips) * (1 - np.clip(4 * wet, 0, 1)))[:, None]
    colour = colour * (1 + amount * (painted[:, :3] - 1))
    strands = lookup(fractal_noise(0.6), place_[:, 0] * 1.7, place_[:, 1] * 1.7)[:, None]
    whiskers = person.beard_colour * np.clip(1 + 0.35 * strands, 0.3, 2)
    colour = _mix(colour, whiskers, painted[:, 3:] * amount)

    azimuth, angle = np.arctan2(polar_[:, 1], polar_[:, 0]), np.hypot(polar_[:, 0], polar_[:, 1])
    inside = hairline_at(person.hair, azimuth) - angle
    scalp = smoothstep(-0.02, 0.06, inside) * person.hair.stubble * (1 - body) * (1 - np.clip(4 * wet, 0, 1))
    colour = _mix(colour, person.hair.colour * np.clip(1 + 0.3 * strands, 0.3, 2), 0.8 * scalp[:, None])
    thick = min(1.0, max(person.hair.thickness) / 12)
    shadow = 1 - 0.4 * thick * np.exp(-np.clip(-inside, 0, 1) / 0.07) * (inside < 0) * (1 - body)

    clothed = _clothes(person.clothes, rest - head.pivot.numpy(), colour) if body.any() else colour
    under_chin = 1 - 0.45 * body * smoothstep(-25, 45, rest[:, 1] - head.rest[: head.face_size, 1].min().item())
    colour = _mix(colour, clothed, body[:, None])
    bare = 1 - body * (np.abs(clothed - colour).sum(1) > 0)

    lit = light.irradiance(normal) * (openness * shadow * under_chin)[:, None]
    gloss = person.gloss * 0.25 * bare * (1 - np.clip(4 * wet, 0, 1)) * openness
    shine = light.glare(normal, view, 14.0) * gloss[:, None] + light.glare(normal, view, 70.0) * (0.6 * wet)[:, None]
    picture = backdrop.reshape(-1, 3).copy()
    depth = np.full(len(picture), np.inf, np.float32)
    pixel = fragments.pixel.numpy()
    picture[pixel] = colour * lit + shine
    depth[pixel] = position[:, 2]
    return picture.reshape(backdrop.shape), depth.reshape(backdrop.shape[:3])


def _draw_hair(
    studio: Studio, person: Person, posed: Tensor, normals: Tensor, hanging: Tensor, camera: Camera, light: Light,
    picture: np.ndarray, depth: np.ndarray,
) -> None:  # fmt: skip
    """Hair over ``picture`` where it is nearer than ``depth``, in place."""
    hair, mesh, seed = person.hair, studio.hair, person.texture_seed
    if max(hair.thickness) <= 1.5 and not hair.length:
        return
    thickness = shell_thickness(hair, mesh.polar[mesh.source.numpy()], seed)
    lifted = posed[:, mesh.source] + normals[:, mesh.source] * torch.from_numpy(thickness).float()[:, None]
    vertices = torch.cat([lifted, hanging], 1)
    still = np.zeros((vertices.shape[1], 5), np.float32)
    shell = len(mesh.source)
    still[:shell, :2] = mesh.polar[mesh.source.numpy()]
    still[shell:, 2:4] = curtain_place()
    still[shell:, 4] = 1
    moving = torch.cat([vertices, vertex_normals(vertices, mesh.faces)], -1)
    for faces in hair_faces(mesh, hair):
        fragments = rasterize(vertices, faces, camera)
        _draw_strands(
            person, fragments.pixel.numpy(), fragments.gather(moving).numpy().T,
            fragments.gather(torch.from_numpy(still)[None]).numpy().T, light, picture, depth,
        )  # fmt: skip


def _draw_strands(
    person: Person, pixel: np.ndarray, moving: np.ndarray, place: np.ndarray, light: Light, picture: np.ndarray,
    depth: np.ndarray,
) -> None:  # fmt: skip
    """One layer of hair in place: moving (P, 6) position and normal, place (P, 5) as ``_draw_hair`` lays them out."""
    hair = person.hair
    opacity, strands = cut_out(hair, place[:, :2], place[:, 2:4], place[:, 4] > 0.5, person.texture_seed)
    flat, nearest = picture.reshape(-1, 3), depth.reshape(-1)
    opacity = opacity * (moving[:, 2] < nearest[pixel])
    seen = opacity > 0.02
    pixel, opacity, strands, moving = pixel[seen], opacity[seen, None], strands[seen, None], moving[seen]
    normal, view = _unit(moving[:, 3:] * [1, -1, -1]), _unit(-moving[:, :3] * [1, -1, -1])
    normal *= np.where((normal * view).sum(1, keepdims=True) < 0, -1, 1)
    colour = hair.colour * strands if not hair.cloth else hair.highlight * np.clip(0.9 + 0.1 * strands, 0, 1)
    shine = (
        light.glare(normal, view, 10.0) * hair.highlight * np.clip(strands - 0.7, 0, 1) * (0.0 if hair.cloth else 0.9)
    )
    facing = 0.55 + 0.45 * np.clip((normal * view).sum(1, keepdims=True), 0, 1)
    flat[pixel] = _mix(flat[pixel], (colour * light.irradiance(normal) + shine) * facing, opacity)
    solid = opacity[:, 0] > 0.5
    nearest[pixel[solid]] = moving[solid, 2]


def _clothes(clothes: Clothes, place: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Colour (P, 3) of neck and shoulders at places (P, 3) relative to the neck's base."""
    x, y, z = place.T
    front = smoothstep(0, 30, z)
    scale = clothes.pattern_scale
    pattern = {
        "plain": np.zeros_like(x),
        "stripes": (np.sin(y / scale * 6) > 0.3).astype(float),
        "checks": (np.sin(x / scale * 6) > 0.2) * 0.5 + (np.sin(y / scale * 6) > 0.2) * 0.5,
        "noise": smoothstep(0, 0.6, lookup(fractal_noise(1.0), x * 8 / scale, y * 8 / scale)),
        "dots": ((np.sin(x / scale * 5) * np.sin(y / scale * 5)) > 0.7).astype(float),
    }[clothes.pattern]
    outer = _mix(np.broadcast_to(clothes.colour, place.shape), clothes.pattern_colour, 0.8 * pattern[:, None])
    folds = lookup(fractal_noise(1.6), x * 0.5, y * 0.5)[:, None]
    outer = outer * np.clip(1 + 0.18 * folds, 0.5, 1.5)
    opening = 22 - front * clothes.neckline * np.clip(1 - np.abs(x) / 75, 0, 1)
    if clothes.kind == "bare":
        return skin
    if clothes.kind == "turtleneck":
        return _mix(skin, outer, smoothstep(0, 3, 52 - y)[:, None])
    if clothes.kind == "suit":
        collar = _mix(
            skin,
            clothes.inner * np.ones_like(place),
            smoothstep(0, 3, 26 - y - 0.3 * front * (20 - np.abs(x)))[:, None],
        )
        tie = (np.abs(x) < 9 + 0.07 * np.clip(-y, 0, 200)) & (front > 0.5) & (y < 12)
        collar[tie] = clothes.tie * np.clip(1 + 0.15 * folds[tie], 0, 2)
        lapel = smoothstep(0, 6, np.abs(x) - 30 - 0.12 * (y + 120)) * front + (1 - front)
        return _mix(collar, outer, (lapel * smoothstep(0, 3, 12 - y))[:, None])
    return _mix(skin, outer, smoothstep(0, 4, opening - y)[:, None])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-8)


def _mix(below: np.ndarray, above: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    return below + (above - below) * opacity
