"""A photo, its fitted mesh, and the photo with three other expressions: the image at the top of the README.

python -m jr2net.report.before_after serve/page/sample.jpg docs/before_after.jpg --box 153,158,510,516
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

from jr2net.inference.photo import Photo
from jr2net.inference.reenactment import Reenactor

EXPRESSIONS: dict[str, dict[str, float]] = {
    "jawOpen": {"jawOpen": 0.8},
    "mouthSmile": {
        **dict.fromkeys(("mouthSmileLeft", "mouthSmileRight"), 0.9),
        **dict.fromkeys(("cheekSquintLeft", "cheekSquintRight"), 0.6),
    },
    "mouthPucker, browDown": {"mouthPucker": 1.0, **dict.fromkeys(("browDownLeft", "browDownRight"), 0.8)},
}
"""Caption -> ARKit coefficients."""
_CAPTION, _PAPER, _INK = 18, (255, 255, 255), (40, 42, 48)


def before_after_sheet(photo: Photo, reenactor: Reenactor, tile: int = 260) -> Image.Image:
    """Five square tiles with captions, from the weights of ``reenactor``; ``tile`` pixels each."""
    assert reenactor.reconstructor is not None
    face = reenactor.reconstructor(photo)
    images = {"photo": photo.image, "fitted mesh": face.overlay()}
    images |= {caption: reenactor(face, expression).image for caption, expression in EXPRESSIONS.items()}
    sheet = Image.new("RGB", (len(images) * tile, tile + _CAPTION), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, (caption, image) in enumerate(images.items()):
        sheet.paste(Image.fromarray(image).resize((tile, tile), Image.Resampling.LANCZOS), (column * tile, 0))
        pen.text(((column + 0.5) * tile, tile + 2), caption, fill=_INK, anchor="ma", font_size=13)
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("photo", help="a square photo")
    parser.add_argument("out", type=Path, help="JPEG or PNG to write")
    parser.add_argument("--box", help="left,top,right,bottom of the face; without it the face detector is used")
    arguments = parser.parse_args()
    box = [float(value) for value in arguments.box.split(",")] if arguments.box else None
    before_after_sheet(Photo.open(arguments.photo, box=box), Reenactor.load()).save(arguments.out, quality=88)


if __name__ == "__main__":
    main()
