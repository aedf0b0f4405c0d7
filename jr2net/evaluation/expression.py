"""The reenactor's output for single blendshapes at several coefficients."""

from __future__ import annotations

import torch

from jr2net.data.clips import FrameRef
from jr2net.data.evaluation_frames import load_frames
from jr2net.evaluation.bench import Bench
from jr2net.evaluation.figures import Grid, expression_grid
from jr2net.face.arkit import ARKIT_NAMES

COEFFICIENTS = (0.0, 0.5, 1.0)
SHAPES = (
    "jawOpen",
    "mouthSmileLeft",
    "mouthPucker",
    "mouthFunnel",
    "mouthFrownRight",
    "mouthUpperUpLeft",
    "eyeBlinkLeft",
    "eyeBlinkRight",
    "eyeWideLeft",
    "browInnerUp",
    "browDownRight",
    "cheekPuff",
)


def expression_sweeps(bench: Bench, name: str) -> Grid:
    """Sweeps single blendshapes of the first person of the set ``name``; everything but the expression is predicted by
    RecNet."""
    clips, cascade = bench.sets[name], bench.cascade
    device = cascade.model.mean.device
    source_image = load_frames(clips, [FrameRef(0, 0)], cascade.camera.size)["image"].to(device)
    source = cascade.recnet.predict_resized(source_image)
    sweeps, coefficients = {}, torch.tensor(COEFFICIENTS, device=device)
    for name in SHAPES:
        expression = torch.zeros(len(COEFFICIENTS), len(ARKIT_NAMES), device=device)
        expression[:, ARKIT_NAMES.index(name)] = coefficients
        sources = source.map(lambda value: value.expand(len(COEFFICIENTS), *value.shape[1:]))
        images = source_image.expand(len(COEFFICIENTS), -1, -1, -1)
        generated, _ = cascade.reenactor.generate(images, sources, sources.replace(expression=expression))
        sweeps[name] = generated.picture
    return expression_grid(
        "Synthesised expressions", "Like the images that ETNet is trained on.", sweeps, COEFFICIENTS, source_image[0]
    )
