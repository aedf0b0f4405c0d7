"""Renderings of the procedural face against stored images: refactoring must not change a pixel.

``python tests/render/test_golden_renderings.py`` regenerates them, after a change that is meant to alter renderings.
Processors round differently, so a few pixels of the silhouette may differ.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from jr2net.config import FaceConfig
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.camera import Camera
from jr2net.face.load import load_face_model
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.render.renderer import render
from jr2net.render.scene import Scene, recombine, set_scene

REFERENCES = Path(__file__).parents[1] / "references"
CAMERA = Camera.default(128)
MAPS = ("image", "normal", "light", "warped", "head_warped")


def faces(model: FaceModel) -> tuple[FaceParameters, FaceParameters]:
    """Source and driving faces of two people; the driving faces turn the head, open the mouth and close an eye."""
    generator = torch.Generator().manual_seed(0)
    neutral = model.neutral(2)
    source = neutral.replace(
        identity=0.8 * torch.randn(neutral.identity.shape, generator=generator),
        albedo=0.8 * torch.randn(neutral.albedo.shape, generator=generator),
        light=neutral.light + 0.15 * torch.randn(neutral.light.shape, generator=generator),
    )
    expression = torch.zeros_like(neutral.expression)
    for name, value in {"jawOpen": 0.6, "eyeBlinkLeft": 1.0, "mouthSmileRight": 0.7}.items():
        expression[:, ARKIT_NAMES.index(name)] = value
    turned = neutral.rotation + torch.tensor([0.1, 0.35, -0.1])
    return source, source.replace(expression=expression, rotation=turned)


def golden_maps(model: FaceModel) -> dict[str, np.ndarray]:
    """Name -> (128, 256, 3) uint8: both people side by side."""
    source, driving = faces(model)
    rendering = render(model, source, CAMERA)
    photo = rendering.image + 0.3 * (1 - rendering.mask)
    scene: Scene = set_scene(model, CAMERA, photo, source, recombine(source, driving))
    maps = {
        "image": scene.driving.image,
        "normal": 0.5 + 0.5 * scene.driving.normal,
        "light": 0.5 * scene.driving.light,
        "warped": scene.view.image,
        "head_warped": scene.conditions.head_warped,
    }
    return {
        name: torch.cat(list(values), -1).permute(1, 2, 0).clamp(0, 1).mul(255).round().byte().numpy()
        for name, values in maps.items()
    }


@pytest.mark.parametrize("name", MAPS)
def test_maps_match_the_stored_images(name: str, procedural_model: FaceModel) -> None:
    stored = cv2.imread(str(REFERENCES / f"render_{name}.png"))[..., ::-1].astype(int)
    difference = np.abs(golden_maps(procedural_model)[name].astype(int) - stored).max(-1)
    assert np.median(difference) == 0
    assert (difference > 2).mean() < 1e-3


def store() -> None:
    for name, pixels in golden_maps(load_face_model(FaceConfig())).items():
        cv2.imwrite(str(REFERENCES / f"render_{name}.png"), pixels[..., ::-1])


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(store())
