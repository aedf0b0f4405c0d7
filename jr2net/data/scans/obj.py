"""Wavefront ``.obj`` of scans: vertices and polygons of any size, with whatever else a scanner writes beside them."""

from __future__ import annotations

import numpy as np

from jr2net.data.readers.problems import DatasetError
from jr2net.data.scans.mesh import Mesh, triangulated


def parse_obj(content: bytes, name: str) -> Mesh:
    """Vertices and triangles; texture, normals, colours and groups are left out. A negative index counts from the last
    vertex before it, as the format has it. Raises DatasetError naming the file: damaged, truncated.
    """
    vertices: list[str] = []
    polygons: list[list[int]] = []
    try:
        for line in content.decode("utf-8", "replace").splitlines():
            if line.startswith("v "):
                vertices.append(line)
            elif line.startswith("f "):
                corners = [int(corner.partition("/")[0]) for corner in line.split()[1:]]
                if len(corners) < 3 or 0 in corners:
                    raise ValueError(f"the face {line[:40]!r}")
                polygons.append([c - 1 if c > 0 else c + len(vertices) for c in corners])
        points = np.loadtxt(vertices, usecols=(1, 2, 3), ndmin=2) if vertices else np.zeros((0, 3))
    except (ValueError, IndexError) as error:
        raise DatasetError("damaged .obj", f"{name}: not a readable .obj ({error}); copy it again") from None
    return Mesh(points, triangulated(polygons))
