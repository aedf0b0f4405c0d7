"""The work of a request, called directly: the same steps without server, queue or replica."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jr2net.images.mark import encode_image
from jr2net.inference.photo import Photo
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor

Box = Sequence[float]


class LocalNetworks:
    """Both networks of a folder, in this process."""

    def __init__(self, weights: Path) -> None:
        self.reconstructor = Reconstructor.load(weights)
        self.reenactor = Reenactor.load(weights, reconstructor=self.reconstructor)

    def reconstruct(self, photos: Sequence[bytes], box: Box) -> list[dict[str, Any]]:
        """The JSON of each photo, fitted in one batch."""
        faces = self.reconstructor([Photo.open(photo, box=box) for photo in photos])
        return [{"model": face.fit.network.digest, "faces": [face.to_json()]} for face in faces]

    def reenact(self, photos: Sequence[bytes], box: Box, expression: dict[str, float]) -> list[bytes]:
        """The JPEG of each photo with named coefficients; each network processes the photos in one batch."""
        faces = self.reconstructor([Photo.open(photo, box=box) for photo in photos])
        return [encode_image(result.image, None) for result in self.reenactor(faces, expression)]
