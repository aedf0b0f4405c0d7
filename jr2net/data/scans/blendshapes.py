"""``shape.bs`` of FaceWarehouse: a person's neutral face and 46 expressions, vertices of one topology.

C. Cao, Y. Weng, S. Zhou, Y. Tong and K. Zhou, *FaceWarehouse: A 3D Facial Expression Database for Visual Computing*,
IEEE TVCG 2014. The file is binary, little-endian: three int32 (expressions without the neutral face, vertices,
polygons), then float32 x, y, z of every vertex of every shape. The polygons themselves are those of the ``.obj`` files
beside it.
"""

from __future__ import annotations

import numpy as np

from jr2net import storage
from jr2net.data.readers.problems import DatasetError, refuse_web_page
from jr2net.data.scans.mesh import NO_FACES, Mesh, checked

_HEADER, _MOST = 12, 1_000_000


def read_bs(path: str) -> list[Mesh]:
    """The shapes, the neutral face first, as clouds of points. Raises DatasetError naming the file, StorageError."""
    content = storage.read_bytes(path)
    refuse_web_page(content, path)
    expressions, vertices, _ = np.frombuffer(content[:_HEADER].ljust(_HEADER, b"\0"), "<i4").tolist()
    expected = (expressions + 1) * vertices * 12
    if not (0 < expressions < 1000 and 0 < vertices < _MOST) or len(content) - _HEADER < expected:
        raise DatasetError(
            "damaged .bs",
            f"{path}: {len(content)} bytes, but its header says {expressions + 1} shapes of {vertices} vertices "
            f"({_HEADER + max(expected, 0)} bytes): truncated or no .bs; copy it again",
        )
    shapes = np.frombuffer(content, "<f4", expected // 4, _HEADER).reshape(expressions + 1, vertices, 3)
    return [checked(Mesh(shape.astype(np.float64), NO_FACES), path) for shape in shapes]
