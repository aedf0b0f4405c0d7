"""A contact sheet to inspect before a synthesis: every shape at 0, 0.5 and 1 on a few sources."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch

from jr2net.data.sources import SourceError, SourceImage, Sources
from jr2net.expressions.samplers import single_shape
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.images.arrays import to_arrays, to_tensor
from jr2net.synthesis.maker import PairMaker

STRENGTHS = (0.0, 0.5, 1.0)
SOURCES = 6
_LABEL, _TEXT, _BACKGROUND = 150, (40, 40, 40), 255


def contact_sheet(maker: PairMaker, seed: int = 0, count: int = SOURCES, batch_size: int = 16) -> np.ndarray:
    """(H, W, 3) uint8 RGB: the sources, then a row per shape with every source at strengths 0, 0.5 and 1."""
    sources = list(usable_sources(maker.sources, seed, count))
    images = to_tensor([source.image for source in sources])
    faces = maker.generator.reconstruct(images)
    rows = [np.concatenate([source.image for source in sources for _ in STRENGTHS], 1)]
    for name in ARKIT_NAMES:
        indices = [index for index in range(len(sources)) for _ in STRENGTHS]
        target = np.stack([single_shape(name, value) for _ in sources for value in STRENGTHS])
        generated: list[np.ndarray] = []
        for first in range(0, len(indices), batch_size):
            source_index = torch.tensor(indices[first : first + batch_size], device=faces.identity.device)
            parameters = faces[source_index]
            expression = torch.from_numpy(target[first : first + batch_size]).to(parameters.expression)
            pairs = maker.generator.generate(images, faces, source_index, parameters.replace(expression=expression))
            generated += to_arrays(pairs.images)
        rows.append(np.concatenate(generated, 1))
    return np.concatenate(
        [np.concatenate([_label(name, rows[0].shape[0]), row], 1) for name, row in zip(("", *ARKIT_NAMES), rows)]
    )


def usable_sources(sources: Sources, seed: int, count: int) -> Iterator[SourceImage]:
    """Yields the first ``count`` usable source images in a random order. Raises SourceError if there is none."""
    found, last_error = 0, ""
    for number in np.random.default_rng(seed).permutation(len(sources)).tolist():
        try:
            source_image = sources.read(number)
        except SourceError as error:
            last_error = f"{sources.name(number)}: {error}"
            continue
        yield source_image
        found += 1
        if found == count:
            return
    if not found:
        raise SourceError(f"none of {len(sources)} sources can be used, e.g. {last_error}")


def encode_sheet(sheet: np.ndarray) -> bytes:
    """Encodes a contact sheet as PNG."""
    return cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1].tobytes()


def _label(name: str, height: int) -> np.ndarray:
    label = np.full((height, _LABEL, 3), _BACKGROUND, np.uint8)
    cv2.putText(label, name, (6, height // 2 + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.42, _TEXT, 1, cv2.LINE_AA)
    return label
