"""Contact sheets of a face model: all expressions with their names, or random people.

python -m jr2net.report.contact_sheet docs/contact_sheet.png
python -m jr2net.report.contact_sheet docs/identities.png --people
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from jr2net.config import FaceConfig
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.camera import Camera, rotation_matrix
from jr2net.face.light import ambient
from jr2net.face.load import load_face_model
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.render.renderer import render

_SUPERSAMPLING = 2
_BACKGROUND = (0.86, 0.87, 0.89)


def key_light() -> Tensor:
    """Portrait light (9, 3): ambient light and a stronger one from the upper left."""
    light = ambient(0.72)
    light[1:4] += torch.tensor([0.42, 0.34, -0.34])[:, None] * torch.tensor([1.0, 0.98, 0.95])
    return light


def expression_sheet(model: FaceModel, tile: int = 170, columns: int = 9) -> Image.Image:
    """The neutral face, the 51 blendshapes at coefficient 1, and two of these faces turned to the side.

    mouthClose is shown together with jawOpen, as it is meant to be used.
    """
    rows: list[tuple[str, dict[str, float], float]] = [("neutral", {}, 0.0)]
    for name in ARKIT_NAMES:
        rows.append((name, {name: 1.0, **({"jawOpen": 1.0} if name == "mouthClose" else {})}, 0.0))
    rows += [("neutral, turned", {}, 0.6), ("jawOpen, turned", {"jawOpen": 1.0}, -0.6)]
    neutral = model.neutral(len(rows))
    expression, rotation = torch.zeros_like(neutral.expression), torch.zeros_like(neutral.rotation)
    for row, (_, coefficients, yaw) in enumerate(rows):
        for name, value in coefficients.items():
            expression[row, ARKIT_NAMES.index(name)] = value
        rotation[row, 1] = yaw
    captions = [name if name != "mouthClose" else "mouthClose + jawOpen" for name, _, _ in rows]
    return _sheet(model, _with_rotation(neutral.replace(expression=expression), rotation), captions, tile, columns)


def people_sheet(model: FaceModel, people: int = 24, tile: int = 200, columns: int = 8, seed: int = 0) -> Image.Image:
    """Random people: identity and albedo from a standard normal distribution, every second face turned to the side."""
    generator = torch.Generator().manual_seed(seed)
    neutral = model.neutral(people)
    identity = torch.randn(neutral.identity.shape, generator=generator)
    albedo = torch.randn(neutral.albedo.shape, generator=generator)
    rotation = torch.zeros(people, 3)
    rotation[1::2, 1] = 0.4
    parameters = _with_rotation(neutral.replace(identity=identity, albedo=albedo), rotation)
    return _sheet(model, parameters, [""] * people, tile, columns)


def _with_rotation(parameters: FaceParameters, rotation: Tensor) -> FaceParameters:
    """Sets the rotation and shifts the head so that the middle of the face stays in place."""
    middle = torch.tensor([0.0, 0.0, 48.0])
    shift = (middle - rotation_matrix(rotation) @ middle) * torch.tensor([1.0, -1.0, -1.0])
    return parameters.replace(rotation=rotation, translation=parameters.translation + shift)


def _sheet(model: FaceModel, parameters: FaceParameters, captions: list[str], tile: int, columns: int) -> Image.Image:
    parameters = parameters.replace(light=key_light().expand(len(parameters), -1, -1))
    camera = Camera.default(tile * _SUPERSAMPLING)
    caption_height = 14 if any(captions) else 0
    rows = -(-len(captions) // columns)
    background = tuple(round(255 * value) for value in _BACKGROUND)
    width = round(0.8 * tile)  # faces are taller than wide
    sheet = Image.new("RGB", (columns * width, rows * (tile + caption_height)), background)
    pen = ImageDraw.Draw(sheet)
    for k, caption in enumerate(captions):
        with torch.no_grad():
            rendering = render(model, parameters[k], camera)
        backdrop = torch.tensor(_BACKGROUND)[:, None, None]
        image = rendering.image[0].clamp(0, 1) + (1 - rendering.mask[0].float()) * backdrop
        pixels = (image.permute(1, 2, 0) * 255).round().byte().numpy()
        small = Image.fromarray(pixels).resize((tile, tile), Image.Resampling.BOX)
        left, top = k % columns * width, k // columns * (tile + caption_height)
        margin = (tile - width) // 2
        sheet.paste(small.crop((margin, 0, margin + width, tile)), (left, top))
        pen.text((left + width / 2, top + tile + 1), caption, fill=(40, 42, 48), anchor="ma", font_size=11)
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path, help="PNG to write")
    parser.add_argument("--model", default="procedural", help="face model, as for `face.model` in a configuration")
    parser.add_argument("--people", action="store_true", help="show random people instead of expressions")
    arguments = parser.parse_args()
    model = load_face_model(FaceConfig(model=arguments.model))
    sheet = people_sheet(model) if arguments.people else expression_sheet(model)
    sheet.save(arguments.out, optimize=True)


if __name__ == "__main__":
    main()
