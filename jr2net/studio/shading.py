"""Rasterises, paints and lights a person, layer over layer.

The P covered pixels of a layer, over all frames of a clip, are processed at once, one per row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jr2net.face.camera import Camera
from jr2net.render.rasterizer import rasterize
from jr2net.render.renderer import vertex_normals
from jr2net.studio.clothes import dress
from jr2net.studio.hair import curtain_coordinates, hair_faces, hair_texture, hairline_angle, shell_thickness
from jr2net.studio.people import Person
from jr2net.studio.scene import Light
from jr2net.studio.skin import paint_skin
from jr2net.studio.subject import Subject
from jr2net.studio.textures import fractal_noise, lookup, mix, smoothstep, unit

_LIGHT_AXES = np.array([1, -1, -1], np.float32)  # camera space to the axes of ``Light``


@dataclass(frozen=True)
class Shot:
    """Frames being drawn, layer by layer in place.

    image (B, S, S, 3) scene-linear light;  depth (B, S, S) mm of the nearest surface so far, infinite on the background
    matte (B, S, S) in [0, 1]: opacity of everything drawn in front of the background
    """

    image: np.ndarray
    depth: np.ndarray
    matte: np.ndarray
    camera: Camera
    light: Light


def draw_body(shot: Shot, subject: Subject, person: Person, albedo: Tensor, posed: Tensor, normals: Tensor) -> None:
    """Draws face, skull, ears, neck and shoulders. albedo (M, 3); posed, normals (B, M, 3) in camera space."""
    fragments = rasterize(posed, subject.head.faces, shot.camera)
    position, normal, view = _surface(fragments.gather(torch.cat([posed, normals], -1)))
    attributes = fragments.gather(torch.cat([albedo, subject.surface], 1)[None]).numpy().T
    colour, coordinates, polar, rest, material = np.split(attributes, [3, 5, 7, 10], axis=1)
    face, lips, wet, body, ambient_occlusion = material.T
    dry = 1 - np.clip(4 * wet, 0, 1)

    colour = _paint_face(colour, person, subject, coordinates, (face * (1 - lips) * dry)[:, None])
    colour, shadow = _paint_scalp(colour, person, polar, (1 - body) * dry)
    height = rest[:, 1] - subject.head.rest[: subject.head.face_size, 1].min().item()
    shadow = shadow * (1 - 0.45 * body * smoothstep(-25, 45, height))
    clothed, bare = dress(person.clothes, rest - subject.head.pivot.numpy(), colour)
    colour = mix(colour, clothed, body[:, None])

    lit = shot.light.irradiance(normal) * (ambient_occlusion * shadow)[:, None]
    gloss = 0.25 * person.gloss * dry * ambient_occlusion * (1 - body * (1 - bare))
    shine = shot.light.glare(normal, view, 14) * gloss[:, None]
    moist = wet > 0.05
    shine[moist] += shot.light.glare(normal[moist], view[moist], 70) * (0.6 * wet[moist, None])
    pixel = fragments.hit_pixels.numpy()
    shot.image.reshape(-1, 3)[pixel] = colour * lit + shine
    shot.depth.reshape(-1)[pixel] = position[:, 2]
    shot.matte.reshape(-1)[pixel] = 1


def draw_hair(shot: Shot, subject: Subject, person: Person, posed: Tensor, normals: Tensor, hanging: Tensor) -> None:
    """Draws the shell and the curtain of the hair where they are nearest. hanging (B, C, 3): curtain vertices."""
    hair, mesh = person.hair, subject.hair
    if max(hair.thickness) <= 1.5 and not hair.length:
        return
    polar, shell = mesh.polar[mesh.source.numpy()], len(mesh.source)
    thickness = torch.from_numpy(shell_thickness(hair, polar, person.texture_seed)).float()
    vertices = torch.cat([posed[:, mesh.source] + normals[:, mesh.source] * thickness[:, None], hanging], 1)
    surface = torch.cat([vertices, vertex_normals(vertices, mesh.faces)], -1)
    attributes = torch.zeros(1, vertices.shape[1], 5)
    attributes[0, :shell, :2] = torch.from_numpy(polar)
    attributes[0, shell:, 2:4] = torch.from_numpy(curtain_coordinates())
    attributes[0, shell:, 4] = 1
    for faces in hair_faces(mesh, hair):
        fragments = rasterize(vertices, faces, shot.camera)
        position, normal, view = _surface(fragments.gather(surface))
        polar, position_on_curtain, on_curtain = np.split(fragments.gather(attributes).numpy().T, [2, 4], axis=1)
        opacity, strands = hair_texture(hair, polar, position_on_curtain, on_curtain[:, 0] > 0.5, person.texture_seed)
        pixel = fragments.hit_pixels.numpy()
        opacity = opacity * (position[:, 2] < shot.depth.reshape(-1)[pixel])
        seen = opacity > 0.02
        pixel, opacity, strands, depth = pixel[seen], opacity[seen, None], strands[seen, None], position[seen, 2]
        colour = _light_strands(shot.light, person, strands, normal[seen], view[seen])
        image = shot.image.reshape(-1, 3)
        image[pixel] = mix(image[pixel], colour, opacity)
        matte = shot.matte.reshape(-1)
        matte[pixel] += (1 - matte[pixel]) * opacity[:, 0]
        solid = opacity[:, 0] > 0.5
        shot.depth.reshape(-1)[pixel[solid]] = depth[solid]


def _surface(position_and_normal: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Splits attributes (6, P) into position (P, 3) in camera space and, in the axes of ``Light``, unit normal and unit
    direction to the camera (P, 3)."""
    rows = position_and_normal.numpy().T
    return rows[:, :3], unit(rows[:, 3:] * _LIGHT_AXES), unit(-rows[:, :3] * _LIGHT_AXES)


def _paint_face(
    colour: np.ndarray, person: Person, subject: Subject, coordinates: np.ndarray, amount: np.ndarray
) -> np.ndarray:
    """Paints skin detail, brows and beard over colour (P, 3) at face-map coordinates (P, 2); amount (P, 1) of skin."""
    painted = lookup(paint_skin(person, subject.face_map), coordinates[:, 0] - 0.5, coordinates[:, 1] - 0.5, wrap=False)
    colour = colour * (1 + amount * (painted[:, :3] - 1))
    strands = lookup(fractal_noise(0.6), coordinates[:, 0] * 1.7, coordinates[:, 1] * 1.7)[:, None]
    whiskers = person.beard_colour * np.clip(1 + 0.35 * strands, 0.3, 2)
    return mix(colour, whiskers, painted[:, 3:] * amount)


def _paint_scalp(
    colour: np.ndarray, person: Person, polar: np.ndarray, amount: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Paints cropped hair over colour (P, 3) at crown coordinates (P, 2); returns it and the shadow factor (P,) of the
    hair above."""
    hair = person.hair
    inside = hairline_angle(hair, np.arctan2(polar[:, 1], polar[:, 0])) - np.hypot(polar[:, 0], polar[:, 1])
    roots = lookup(fractal_noise(0.6), polar[:, 0] * 90, polar[:, 1] * 90)[:, None]
    opacity = 0.8 * hair.stubble * smoothstep(-0.02, 0.06, inside) * amount
    cast = 0.4 * min(1.0, max(hair.thickness) / 12) * np.exp(np.clip(inside, -1, 0) / 0.07) * (inside < 0) * amount
    return mix(colour, hair.colour * np.clip(1 + 0.3 * roots, 0.3, 2), opacity[:, None]), 1 - cast


def _light_strands(
    light: Light, person: Person, strands: np.ndarray, normal: np.ndarray, view: np.ndarray
) -> np.ndarray:
    """Colour (P, 3) of lit hair or of the hat; strands (P, 1): brightness. Both sides of a surface are lit alike."""
    hair = person.hair
    facing = (normal * view).sum(1, keepdims=True)
    normal = np.where(facing < 0, -normal, normal)
    lit = light.irradiance(normal)
    if hair.cloth:
        return hair.highlight * np.clip(0.9 + 0.1 * strands, 0, 1) * lit
    shine = light.glare(normal, view, 10) * hair.highlight * (0.9 * np.clip(strands - 0.7, 0, 1))
    return (hair.colour * strands * lit + shine) * (0.55 + 0.45 * np.abs(facing))
