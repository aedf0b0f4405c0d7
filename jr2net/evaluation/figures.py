"""Figures of the report: grids of labelled images from tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from jr2net.render.renderer import Rendering, render_mesh

ImageArray = NDArray[np.uint8]  # (H, W, 3) RGB
Section = Literal["reconstruction", "reenactment", "expression"]

OVERLAY_SIZE = 224  # pixels; larger than the networks' input, so that lids and lips are clearly visible


@dataclass(frozen=True)
class GridRow:
    """One row of images, one per column of the grid; None leaves a gap."""

    caption: str
    images: tuple[ImageArray | None, ...]


@dataclass(frozen=True)
class Grid:
    """Labelled rows of images in a section of the report. Raises ValueError if a row has a wrong number of images."""

    section: Section
    title: str
    text: str
    columns: tuple[str, ...]
    rows: tuple[GridRow, ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.images) != len(self.columns):
                raise ValueError(
                    f"{self.title}, {row.caption!r}: {len(row.images)} images for {len(self.columns)} columns"
                )

    @staticmethod
    def join(grids: Sequence[Grid]) -> Grid:
        """One grid with the rows of all, which differ in rows and columns alone; what a row lacks is a gap."""
        columns = tuple(dict.fromkeys(column for grid in grids for column in grid.columns))
        images = [(row.caption, dict(zip(grid.columns, row.images))) for grid in grids for row in grid.rows]
        rows = tuple(GridRow(caption, tuple(shown.get(column) for column in columns)) for caption, shown in images)
        return replace(grids[0], columns=columns, rows=rows)


def image_grid(
    section: Section,
    title: str,
    text: str,
    columns: Mapping[str, Tensor | None],
    captions: Sequence[str],
) -> Grid:
    """A grid with one row per sample: ``columns`` maps a title to images (B, 3, S, S) in [0, 1], or None to omit it."""
    arrays = {name: to_image_arrays(images) for name, images in columns.items() if images is not None}
    rows = tuple(
        GridRow(caption, tuple(column[index] for column in arrays.values())) for index, caption in enumerate(captions)
    )
    return Grid(section, title, text, tuple(arrays), rows)


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
    """A grid of the input images and of fitted meshes drawn over them.

    images (B, 3, S, S); ``fits`` maps a column title to the parameters of B faces, or None to omit it; landmarks
    (B, 68, 2) in pixels of S, if given, are drawn as dots onto the input.
    """
    columns: dict[str, Tensor | None] = {"input": overlay_size(images)}
    for name, parameters in fits.items():
        columns[name] = mesh_overlay(images, parameters, model, camera) if parameters is not None else None
    grid = image_grid("reconstruction", title, text, columns, captions)
    if landmarks is not None:
        points = landmarks.cpu().numpy() * (OVERLAY_SIZE / camera.size)
        for row, row_points in zip(grid.rows, points):
            if row.images[0] is not None:
                draw_points(row.images[0], row_points)
    return grid


def expression_grid(
    title: str, text: str, sweeps: Mapping[str, Tensor], coefficients: Sequence[float], source: Tensor | None = None
) -> Grid:
    """A grid with one row per blendshape: ``sweeps`` maps its name to images (C, 3, S, S), one per coefficient.

    ``source`` (3, S, S), if given, is the source image, shown at the left of every row.
    """
    columns = (*(("source",) if source is not None else ()), *(f"{value:g}" for value in coefficients))
    first = to_image_arrays(source[None]) if source is not None else []
    rows = tuple(GridRow(name, (*first, *to_image_arrays(images))) for name, images in sweeps.items())
    return Grid("expression", title, text, columns, rows)


def mesh_overlay(
    images: Tensor, parameters: FaceParameters, model: FaceModel, camera: Camera, opacity: float = 0.85
) -> Tensor:
    """Grey shaded meshes over enlarged images: (B, 3, S, S) -> (B, 3, OVERLAY_SIZE, OVERLAY_SIZE).

    Grey instead of the fitted albedo, which would hide errors of the geometry.
    """
    rendering = _render(parameters, model, camera, overlay_colours(model)[None], overlay_light(images.device))
    with torch.no_grad():
        return torch.lerp(overlay_size(images), rendering.image.clamp(0, 1), opacity * rendering.mask)


def coloured_mesh(parameters: FaceParameters, model: FaceModel, camera: Camera, colours: Tensor) -> Tensor:
    """Meshes with vertex colours (B, N, 3), all parts lit alike, on light grey: (B, 3, OVERLAY_SIZE, OVERLAY_SIZE)."""
    rendering = _render(parameters, model, camera, colours, ambient(1.0, colours.device))
    with torch.no_grad():
        return torch.lerp(torch.full_like(rendering.image, 0.93), rendering.image.clamp(0, 1), rendering.mask)


def overlay_light(device: torch.device | str = "cpu") -> Tensor:
    """Light (9, 3) with irradiance 0.35 + 0.65 (n · l), from the upper left of the camera."""
    direction = functional.normalize(torch.tensor([-0.45, 0.5, 0.74]), dim=0)  # x right, y up, z to the camera
    light = ambient(0.35, device)
    band1 = math.sqrt(3 / (4 * math.pi))
    light[1:4] = (0.65 / band1 * direction[[1, 2, 0]]).to(device)[:, None]  # the order of H_b is y, z, x
    return light


def overlay_colours(model: FaceModel) -> Tensor:
    """Vertex colours (N, 3) of the overlay mesh: grey skin, darker lips, contrasting eyes and teeth."""
    tones = {"lips": (0.72, 0.62, 0.62), "sclera": (0.95, 0.95, 0.95), "iris": (0.35, 0.45, 0.55), "pupil": (0.1,) * 3}
    tones |= {"teeth_upper": (0.95, 0.94, 0.88), "teeth_lower": (0.95, 0.94, 0.88)}
    tones |= {"mouth_socket": (0.3, 0.22, 0.22), "eye_socket": (0.4, 0.35, 0.35)}
    colour = torch.full_like(model.mean, 0.8)
    for label, tone in tones.items():
        colour[model.has_label(label)] = colour.new_tensor(tone)
    return colour


def draw_points(image: ImageArray, points: NDArray, colour: tuple[int, int, int] = (0, 255, 160)) -> None:
    """Draws points (K, 2), in pixels, as dots onto an image, in place; NaN are skipped."""
    for x, y in points[np.isfinite(points).all(1)]:
        # In OpenCV pixel centres are at integers, here pixel edges are; `shift` is for 1/8 pixel resolution.
        centre = (round((float(x) - 0.5) * 8), round((float(y) - 0.5) * 8))
        cv2.circle(image, centre, 12, colour, -1, cv2.LINE_AA, shift=3)


def to_image_arrays(images: Tensor) -> list[ImageArray]:
    """(B, 3, S, S) in [0, 1] to B uint8 arrays; values are clamped, NaN becomes black."""
    values = images.detach().float().nan_to_num(0.0).clamp(0, 1).mul(255).round().byte()
    return [np.ascontiguousarray(image) for image in values.permute(0, 2, 3, 1).cpu().numpy()]


def overlay_size(images: Tensor) -> Tensor:
    """(B, 3, S, S) to (B, 3, OVERLAY_SIZE, OVERLAY_SIZE)."""
    return functional.interpolate(
        images, size=(OVERLAY_SIZE, OVERLAY_SIZE), mode="bicubic", align_corners=False, antialias=True
    ).clamp(0, 1)


@torch.no_grad()
def _render(parameters: FaceParameters, model: FaceModel, camera: Camera, colours: Tensor, light: Tensor) -> Rendering:
    """At OVERLAY_SIZE. colours (B or 1, N, 3), light (9, 3)."""
    scale = OVERLAY_SIZE / camera.size
    enlarged = Camera(OVERLAY_SIZE, camera.focal * scale, (camera.centre[0] * scale, camera.centre[1] * scale))
    vertices = to_camera(
        model.shape(parameters.identity, parameters.expression), parameters.rotation, parameters.translation
    )
    return render_mesh(vertices, model.faces, colours, light.expand(len(parameters), -1, -1), enlarged)
