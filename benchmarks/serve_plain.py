"""What serving does for a request, called directly: the same API without server, queue or replica."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jr2net.images.mark import encode_image
from jr2net.inference.photo import Photo
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor

Box = Sequence[float]


class Plain:
    """Both networks of a folder in this process."""

    def __init__(self, weights: Path) -> None:
        self.reconstructor = Reconstructor.load(weights)
        self.reenactor = Reenactor.load(weights, reconstructor=self.reconstructor)

    def reconstruct(self, photos: Sequence[bytes], box: Box) -> list[dict[str, Any]]:
        """The JSON of each photo; the network takes them all at once."""
        faces = self.reconstructor([Photo.open(photo, box=box) for photo in photos])
        return [{"model": face.fit.network.digest, "faces": [face.to_json()]} for face in faces]

    def reenact(self, photos: Sequence[bytes], box: Box, expression: dict[str, float]) -> list[bytes]:
        """JPEGs of photos with named coefficients; each network takes them all at once."""
        faces = self.reconstructor([Photo.open(photo, box=box) for photo in photos])
        return [encode_image(one.image, None) for one in self.reenactor(faces, expression)]
