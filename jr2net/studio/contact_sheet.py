"""A contact sheet of synthetic people: ``python -m jr2net.studio.contact_sheet OUT.png``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from jr2net.config import FaceConfig, StudioConfig
from jr2net.face.load import load_face_model
from jr2net.images.clip import ClipRow
from jr2net.studio.film import KINDS, film_people


def contact_sheet(rows: Iterable[ClipRow], columns: int, landmarks: bool = False, per_person: int = 1) -> np.ndarray:
    """A grid (H, W, 3) BGR uint8 of every row's first ``per_person`` frames; ``landmarks``: draw the detected ones."""
    cells = []
    for row in rows:
        for data, points in list(zip(row.images, row.landmarks))[:per_person]:
            cell = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
            for x, y in np.round(points * 16).astype(int) if landmarks else ():
                cv2.circle(cell, (int(x - 8), int(y - 8)), 16, (0, 255, 0), -1, cv2.LINE_AA, 4)
            cells.append(cell)
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    return np.vstack([np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", help="image file to write (.png)")
    parser.add_argument("--model", default="procedural", help="face model, as face.model in a configuration")
    parser.add_argument("--kind", choices=[kind for kind in KINDS if kind != "captured"], default="train")
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--columns", type=int, default=12)
    parser.add_argument("--frames", type=int, default=1, help="frames shown per person")
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--landmarks", action="store_true", help="draw the detected landmarks")
    options = parser.parse_args(arguments)
    model = load_face_model(FaceConfig(model=options.model))
    config = StudioConfig(frames=options.frames, test_frames=max(2, options.frames))
    rows = film_people(model, config, options.seed, options.first, options.people, options.kind, options.size)
    cv2.imwrite(options.out, contact_sheet(rows, options.columns, options.landmarks, options.frames))


if __name__ == "__main__":
    main()
