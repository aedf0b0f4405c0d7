"""Pictures of a report: tensors in, grids of labelled pictures out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from jr2net.face.camera import Camera, to_camera
from jr2net.face.light import ambient
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.render.renderer import render_mesh

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
Section = Literal["reconstruction", "reenactment", "expression"]

OVERLAY_SIZE = 224  # pixels: a mesh is drawn larger than the networks see it, so that lids and lips can be judged


@dataclass(frozen=True)
class GridRow:
    """One line of pictures, as many as the grid has columns; None leaves a gap."""

    caption: str
    pictures: tuple[Picture | None, ...]


@dataclass(frozen=True)
class Grid:
    """Labelled rows of pictures and the section of the report in which they stand."""

    section: Section
    title: str
    text: str
    columns: tuple[str, ...]
    rows: tuple[GridRow, ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.pictures) != len(self.columns):
                raise ValueError(
                    f"{self.title}, {row.caption!r}: {len(row.pictures)} pictures for {len(self.columns)} columns"
                )


def picture_grid(
    section: Section,
    title: str,
    text: str,
    columns: Mapping[str, Tensor | None],
    captions: Sequence[str],
) -> Grid:
    """A grid from batches: column -> images (B, 3, S, S) in [0, 1], None for a column that this run lacks (it is left
    out). ``source | driving | warp-only | DCNet | truth`` of a reenactment is one such mapping."""
    pictures = {name: to_pictures(images) for name, images in columns.items() if images is not None}
    rows = tuple(
        GridRow(caption, tuple(column[index] for column in pictures.values())) for index, caption in enumerate(captions)
    )
    return Grid(section, title, text, tuple(pictures), rows)


def overlay_grid(
    title: str,
    text: str,
    images: Tensor,
    fits: Mapping[str, FaceParameters | None],
    model: FaceModel,
    camera: Camera,
    captions: Sequence[str],
    landmarks: Tensor | None = None,
) -> Grid:
    """``input | RecNet | RecAugNet | truth``: each fit's mesh drawn over the picture it was fitted to.

    images (B, 3, S, S); ``fits`` maps a column to the parameters (B faces), None leaves the column out; detected
    landmarks (B, 68, 2), in pixels of S, are dotted onto the input where given.
    """
    columns: dict[str, Tensor | None] = {"input": _enlarge(images)}
    for name, parameters in fits.items():
        columns[name] = mesh_overlay(images, parameters, model, camera) if parameters is not None else None
    grid = picture_grid("reconstruction", title, text, columns, captions)
    if landmarks is not None:
        points = landmarks.cpu().numpy() * (OVERLAY_SIZE / camera.size)
        for row, marks in zip(grid.rows, points):
            if row.pictures[0] is not None:
                draw_points(row.pictures[0], marks)
    return grid


def expression_grid(
    title: str, text: str, sweeps: Mapping[str, Tensor], coefficients: Sequence[float], source: Tensor | None = None
) -> Grid:
    """Synthesised pictures by shape and coefficient: name -> (C, 3, S, S), one picture for each of C coefficients.

    ``source`` (3, S, S) is the photo they were made of, shown at the left of every row.
    """
    columns = (*(("source",) if source is not None else ()), *(f"{value:g}" for value in coefficients))
    first = to_pictures(source[None]) if source is not None else []
    rows = tuple(GridRow(name, (*first, *to_pictures(pictures))) for name, pictures in sweeps.items())
    return Grid("expression", title, text, columns, rows)


def mesh_overlay(
    images: Tensor, parameters: FaceParameters, model: FaceModel, camera: Camera, opacity: float = 0.85
) -> Tensor:
    """Grey shaded meshes over enlarged pictures: (B, 3, S, S) -> (B, 3, OVERLAY_SIZE, OVERLAY_SIZE).

    Grey, not the fitted colours, because those hide what the geometry misses.
    """
    scale = OVERLAY_SIZE / camera.size
    enlarged = Camera(OVERLAY_SIZE, camera.focal * scale, (camera.centre[0] * scale, camera.centre[1] * scale))
    vertices = to_camera(
        model.shape(parameters.identity, parameters.expression), parameters.rotation, parameters.translation
    )
    lamp = studio_lamp(images.device).expand(len(parameters), -1, -1)
    with torch.no_grad():
        rendering = render_mesh(vertices, model.faces, clay(model)[None], lamp, enlarged)
        return torch.lerp(_enlarge(images), rendering.image.clamp(0, 1), opacity * rendering.mask)


def studio_lamp(device: torch.device | str = "cpu") -> Tensor:
    """Light (9, 3) of a soft lamp above the camera's left: 0.35 + 0.65 (n · l), never black."""
    direction = functional.normalize(torch.tensor([-0.45, 0.5, 0.74]), dim=0)  # x right, y up, z to the camera
    light = ambient(0.35, device)
    band1 = math.sqrt(3 / (4 * math.pi))
    light[1:4] = (0.65 / band1 * direction[[1, 2, 0]]).to(device)[:, None]  # the order of H_b is y, z, x
    return light


def clay(model: FaceModel) -> Tensor:
    """Per-vertex colours (N, 3) of the shaded mesh: grey skin, darker lips, eyes and teeth that stand out."""
    tones = {"lips": (0.72, 0.62, 0.62), "sclera": (0.95, 0.95, 0.95), "iris": (0.35, 0.45, 0.55), "pupil": (0.1,) * 3}
    tones |= {"teeth_upper": (0.95, 0.94, 0.88), "teeth_lower": (0.95, 0.94, 0.88)}
    tones |= {"mouth_socket": (0.3, 0.22, 0.22), "eye_socket": (0.4, 0.35, 0.35)}
    colour = torch.full_like(model.mean, 0.8)
    for label, tone in tones.items():
        colour[model.has_label(label)] = colour.new_tensor(tone)
    return colour


def draw_points(picture: Picture, points: NDArray, colour: tuple[int, int, int] = (0, 255, 160)) -> None:
    """Dots onto a picture, in place; points (K, 2) in its pixels, NaN left out."""
    for x, y in points[np.isfinite(points).all(1)]:
        # cv2 counts from pixel centres, we from edges; `shift` gives it eighths of a pixel.
        centre = (round((float(x) - 0.5) * 8), round((float(y) - 0.5) * 8))
        cv2.circle(picture, centre, 12, colour, -1, cv2.LINE_AA, shift=3)


def to_pictures(images: Tensor) -> list[Picture]:
    """(B, 3, S, S) in [0, 1] to B pictures; NaN becomes black, values outside are clamped."""
    values = images.detach().float().nan_to_num(0.0).clamp(0, 1).mul(255).round().byte()
    return [np.ascontiguousarray(picture) for picture in values.permute(0, 2, 3, 1).cpu().numpy()]


def _enlarge(images: Tensor) -> Tensor:
    return functional.interpolate(
        images, size=(OVERLAY_SIZE, OVERLAY_SIZE), mode="bicubic", align_corners=False, antialias=True
    ).clamp(0, 1)
