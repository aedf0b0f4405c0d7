"""JR2Net: joint monocular 3D face reconstruction and reenactment.

    from jr2net import Photo, Reconstructor, Reenactor

    photo = Photo.open("me.jpg")
    face = Reconstructor.load()(photo)
    face.expression["jawOpen"]
    Reenactor.load()(photo, {"jawOpen": 0.8}).save("out.jpg")

The library is pure PyTorch: nothing in this package imports Ray. Names are imported when they are first used, so that
``import jr2net`` takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jr2net.errors import UserError
    from jr2net.face.arkit import ARKIT_NAMES
    from jr2net.face.load import load_face_model
    from jr2net.inference.face import FittedFace
    from jr2net.inference.films import Film, ReenactedPhoto
    from jr2net.inference.photo import Photo
    from jr2net.inference.reconstruction import Reconstructor
    from jr2net.inference.reenactment import Reenactor
    from jr2net.inference.tracker import Tracker

_HOMES = {
    "ARKIT_NAMES": "jr2net.face.arkit",
    "Film": "jr2net.inference.films",
    "FittedFace": "jr2net.inference.face",
    "Photo": "jr2net.inference.photo",
    "Reconstructor": "jr2net.inference.reconstruction",
    "ReenactedPhoto": "jr2net.inference.films",
    "Reenactor": "jr2net.inference.reenactment",
    "Tracker": "jr2net.inference.tracker",
    "UserError": "jr2net.errors",
    "load_face_model": "jr2net.face.load",
}

__all__ = [
    "ARKIT_NAMES",
    "Film",
    "FittedFace",
    "Photo",
    "Reconstructor",
    "ReenactedPhoto",
    "Reenactor",
    "Tracker",
    "UserError",
    "load_face_model",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("jr2net")
    if name not in _HOMES:
        raise AttributeError(f"module 'jr2net' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
