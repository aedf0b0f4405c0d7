"""A contact sheet: every shape at 0, 0.5 and 1 on a few sources, to be looked at before millions are made."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch

from jr2net.data.sources import Picture, SourceError, Sources
from jr2net.expressions.samplers import single_shape
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.images import arrays as pictures
from jr2net.synthesis.maker import PairMaker

STRENGTHS = (0.0, 0.5, 1.0)
SOURCES = 6
_LABEL, _TEXT, _PAPER = 150, (40, 40, 40), 255


def contact_sheet(maker: PairMaker, seed: int = 0, count: int = SOURCES, batch_size: int = 16) -> np.ndarray:
    """(H, W, 3) uint8 RGB: a row for each shape, on each source at 0, 0.5 and 1; the sources above."""
    read = list(usable_sources(maker.sources, seed, count))
    images = pictures.to_tensor([picture.image for picture in read])
    faces = maker.generator.reconstruct(images)
    rows = [np.concatenate([picture.image for picture in read for _ in STRENGTHS], 1)]
    for name in ARKIT_NAMES:
        places = [at for at in range(len(read)) for _ in STRENGTHS]
        wanted = np.stack([single_shape(name, value) for _ in read for value in STRENGTHS])
        generated: list[np.ndarray] = []
        for first in range(0, len(places), batch_size):
            part = places[first : first + batch_size]
            which = torch.tensor(part, device=faces.identity.device)
            source = faces[which]
            expression = torch.from_numpy(wanted[first : first + batch_size]).to(source.expression)
            made = maker.generator.generate(images, faces, which, source.replace(expression=expression))
            generated += pictures.to_arrays(made.images)
        rows.append(np.concatenate(generated, 1))
    return np.concatenate(
        [np.concatenate([_label(name, rows[0].shape[0]), row], 1) for name, row in zip(("", *ARKIT_NAMES), rows)]
    )


def usable_sources(sources: Sources, seed: int, count: int) -> Iterator[Picture]:
    """The first pictures that can be used, in an order that the seed decides; at least one."""
    found, last = 0, ""
    for number in np.random.default_rng(seed).permutation(len(sources)).tolist():
        try:
            picture = sources.read(number)
        except SourceError as error:
            last = f"{sources.name(number)}: {error}"
            continue
        yield picture
        found += 1
        if found == count:
            return
    if not found:
        raise SourceError(f"none of {len(sources)} sources can be used, e.g. {last}")


def encode_sheet(sheet: np.ndarray) -> bytes:
    """PNG bytes."""
    return cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1].tobytes()


def _label(name: str, height: int) -> np.ndarray:
    label = np.full((height, _LABEL, 3), _PAPER, np.uint8)
    cv2.putText(label, name, (6, height // 2 + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.42, _TEXT, 1, cv2.LINE_AA)
    return label
