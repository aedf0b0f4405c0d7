"""``.abs`` range images of FRGC v2.0: a grid of points as the scanner saw them, with holes.

P. J. Phillips, P. J. Flynn, T. Scruggs, K. W. Bowyer et al., *Overview of the Face Recognition Grand Challenge*, CVPR
2005. The file is text: ``480 rows``, ``640 columns``, ``pixels (flag X Y Z):`` and four lines of rows × columns
numbers: whether a pixel was seen, and its coordinates in millimetres (x right, y up, z towards the scanner).
"""

from __future__ import annotations

import numpy as np

from jr2net.data.readers.problems import DatasetError
from jr2net.data.scans.mesh import NO_FACES, Mesh

UNSEEN = -99999.0
"""Coordinates below are those of holes (-999999)."""


def parse_abs(content: bytes, name: str) -> Mesh:
    """The seen points, by pixel, without triangles.

    Holes are pixels whose flag is 0 and those whose coordinates are NaN or the placeholder. Raises DatasetError naming
    the file: another format, truncated, only holes.
    """
    lines = content.decode("latin-1").splitlines()
    try:
        rows, columns = (_size(line, word) for line, word in zip(lines, ("rows", "columns"), strict=False))
        planes = [np.array(line.split(), np.float64) for line in lines[3:7]]
    except ValueError as error:
        raise DatasetError("damaged .abs", f"{name}: not a readable .abs ({error}); copy it again") from None
    sizes = [len(plane) for plane in planes]
    if sizes != [rows * columns] * 4:
        raise DatasetError(
            "damaged .abs",
            f"{name}: {rows} × {columns} pixels need four lines of {rows * columns} numbers, found {sizes}: truncated, "
            "copy it again",
        )
    flag, *xyz = planes
    points = np.stack(xyz, 1)
    seen = (flag == 1) & np.isfinite(points).all(1) & (points > UNSEEN).all(1)
    if seen.sum() < 4:
        raise DatasetError("only holes", f"{name}: {int(seen.sum())} of {len(flag)} pixels were seen; scan it again")
    grid = np.where(seen, np.cumsum(seen) - 1, -1).reshape(rows, columns)
    return Mesh(points[seen], NO_FACES, grid)


def _size(line: str, word: str) -> int:
    number, _, unit = line.strip().partition(" ")
    if unit.strip() != word:
        raise ValueError(f"{line[:30]!r} where the number of {word} is expected")
    return int(number)
