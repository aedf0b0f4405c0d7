"""Images of reconstructed faces, as in the paper's Figures 6 to 8: overlays, errors, and shape without expression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from jr2net.evaluation.bench import Bench
from jr2net.evaluation.figures import Grid, coloured_mesh, image_grid, overlay_grid, overlay_size
from jr2net.evaluation.metrics.geometry import vertex_gaps
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters

TRUTH = "ground truth"

LARGEST_MM = 6.0
"""Error of the last colour."""

_APART = ("RecNet", "RecAugNet", "RecAugNet 2")
"""Networks whose faces are also shown without their expression."""

_NOT_MEASURED = 0.75  # grey of eyes, teeth and what lies outside of the crop


def reconstruction_grids(
    bench: Bench,
    name: str,
    frames: Mapping[str, Any],
    fits: Mapping[str, FaceParameters],
    truth: FaceParameters | None,
    shown: Sequence[int],
) -> tuple[Grid, ...]:
    """The grids of the test set ``name``, with a row for each of the frames ``shown``: overlays (Figure 6); with ground
    truth the errors of the meshes (Figure 7); shape and expression apart (Figure 8).

    frames: of ``load_frames``; fits: method -> faces of all of them.
    """
    cascade, chosen = bench.cascade, torch.tensor(list(shown))
    model, camera, title = cascade.model, cascade.camera, name.replace("_", " ")
    images, captions = frames["image"][chosen].to(model.mean.device), [frames["sample_id"][index] for index in shown]
    faces = {method: parameters[chosen] for method, parameters in fits.items()}
    known = {} if truth is None else {TRUTH: truth[chosen]}
    grids = [
        overlay_grid(
            f"Overlays: {title}",
            "Fitted meshes over images of held-out people; dots: detected landmarks.",
            images,
            faces | known,
            model,
            camera,
            captions,
            frames["landmarks"][chosen],
        )
    ]
    if truth is not None:
        maps = {
            method: coloured_mesh(known[TRUTH], model, camera, colours)
            for method, colours in error_colours(model, faces, known[TRUTH], bench.crop_mm).items()
        }
        grids.append(
            image_grid(
                "reconstruction",
                f"Errors: {title}",
                f"Distances of corresponding vertices after alignment, on the true mesh: blue 0, red {LARGEST_MM:g} mm "
                "and more, grey not measured.",
                {"input": overlay_size(images)} | maps,
                captions,
            )
        )
    apart = {}
    for method in (*_APART, TRUTH):
        if (face := (faces | known).get(method)) is not None:
            apart[f"{method}, no expression"] = face.replace(expression=torch.zeros_like(face.expression))
            apart[method] = face
    grids.append(
        overlay_grid(
            f"Shape and expression apart: {title}",
            "Each face without its expression, and with it: what belongs to the expression must not be in the shape.",
            images,
            apart,
            model,
            camera,
            captions,
        )
    )
    return tuple(grids)


def error_colours(
    model: FaceModel, fits: Mapping[str, FaceParameters], truth: FaceParameters, crop_mm: float
) -> dict[str, Tensor]:
    """Method -> vertex colours (B, N, 3) of the errors of its B faces; the first is the mean face."""
    true_vertices = model.shape(truth.identity, truth.expression)
    predictions = {"MeanFace": truth.map(torch.zeros_like), **fits}
    return {
        method: _colours(vertex_gaps(model, model.shape(face.identity, face.expression), true_vertices, crop_mm)).to(
            true_vertices
        )
        for method, face in predictions.items()
    }


def _colours(millimetres: np.ndarray) -> Tensor:
    """(B, N), NaN where nothing is measured, to colours (B, N, 3)."""
    known = np.isfinite(millimetres)
    levels = np.where(known, np.clip(millimetres / LARGEST_MM, 0, 1), 0)
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1] / 255.0
    return torch.from_numpy(np.where(known[..., None], table[(levels * 255).round().astype(int)], _NOT_MEASURED))
