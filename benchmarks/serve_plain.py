"""What serving does for a request, called directly: the same decoding and networks without server, queue or replica."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jr2net.config import FaceConfig
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.load import load_face_model
from jr2net.images.mark import encode_image
from jr2net.images.photo import decode_photo
from jr2net.inference.compositing import composite
from jr2net.inference.portrait import Portrait, take_portrait
from serve.networks import ActingNetwork, Fit, FittingNetwork, ReenactRequest
from serve.reconstruct import as_json
from serve.reenact import expressed

Box = Sequence[float]


class Plain:
    """Both networks of a folder in this process."""

    def __init__(self, weights: Path) -> None:
        model, cpu = load_face_model(FaceConfig()), torch.device("cpu")
        self.fitting = FittingNetwork.load(str(weights / "recaugnet"), model, cpu)
        self.acting = ActingNetwork.load(str(weights / "dcnet"), model, cpu)

    def fit(self, photos: Sequence[bytes], box: Box) -> list[tuple[Portrait, Fit]]:
        """Photos, decoded and cropped one by one, to their faces by one forward pass."""
        portraits = [take_portrait(decode_photo(photo), None, box) for photo in photos]
        size = self.fitting.described.size
        fits = self.fitting([portrait.cut(size) for portrait in portraits])
        return list(zip(portraits, fits, strict=True))

    def reconstruct(self, photo: bytes, box: Box) -> dict[str, Any]:
        """The JSON of one photo."""
        ((portrait, fit),) = self.fit([photo], box)
        return {"model": fit.network.digest, "faces": [as_json(portrait, fit)]}

    def reenact(self, photos: Sequence[bytes], box: Box, expression: dict[str, float]) -> list[bytes]:
        """JPEGs of photos with named coefficients; each network takes them all at once."""
        wanted = np.array([expression.get(name, 0.0) for name in ARKIT_NAMES], np.float32)
        fitted, size = self.fit(photos, box), self.acting.described.size
        played = self.acting(
            [
                ReenactRequest(portrait.cut(size), fit.face, expressed(fit.face, wanted, False))
                for portrait, fit in fitted
            ]
        )
        return [
            encode_image(composite(portrait.photo, portrait.crop, one.act, False), None, "jpeg")
            for (portrait, _), one in zip(fitted, played, strict=True)
        ]
