"""Stanford ``.ply``: as text, or binary of either byte order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import islice

import numpy as np

from jr2net.data.readers.problems import DatasetError
from jr2net.data.scans.mesh import NO_FACES, Indices, Mesh, triangulated

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
_INDICES = ("vertex_indices", "vertex_index")


@dataclass
class _Element:
    """name, count, and of each property: its name, the type of its values, and of a list that of its length."""

    name: str
    count: int
    properties: list[tuple[str, str, str | None]]


def parse_ply(content: bytes, name: str) -> Mesh:
    """Vertices and triangles; other properties are left out. Raises DatasetError naming the file."""
    try:
        order, elements, body = _header(content)
        return _Text(body).mesh(elements) if order == "" else _Binary(body, order).mesh(elements)
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise DatasetError(
            "damaged .ply", f"{name}: not a readable .ply ({error}): damaged or truncated; copy it again"
        ) from None


def _header(content: bytes) -> tuple[str, list[_Element], bytes]:
    head, end, body = content.partition(b"end_header")
    if not content.startswith(b"ply") or not end:
        raise ValueError("no header")
    order, elements = None, []
    for line in head.decode("latin-1").splitlines():
        words = line.split()
        if words[:1] == ["format"]:
            order = _ORDERS[words[1]]
        elif words[:1] == ["element"]:
            elements.append(_Element(words[1], int(words[2]), []))
        elif words[:2] == ["property", "list"]:
            elements[-1].properties.append((words[4], _TYPES[words[3]], _TYPES[words[2]]))
        elif words[:1] == ["property"]:
            elements[-1].properties.append((words[2], _TYPES[words[1]], None))
    if order is None:
        raise ValueError("no format")
    return order, elements, body[2:] if body.startswith(b"\r\n") else body[1:]


class _Body(ABC):
    """The elements in their order; a subclass reads the rows of one."""

    @abstractmethod
    def columns(self, element: _Element) -> dict[str, np.ndarray]:
        """Of an element without lists: name -> values (count,)."""

    @abstractmethod
    def polygons(self, element: _Element) -> Indices:
        """Triangles of an element whose property ``_INDICES`` is a list."""

    def mesh(self, elements: list[_Element]) -> Mesh:
        vertices, faces = None, NO_FACES
        for element in elements:
            if not any(length for _, _, length in element.properties):
                values = self.columns(element)
                if element.name == "vertex":
                    vertices = np.stack([values[axis] for axis in "xyz"], 1).astype(np.float64)
            else:
                found = self.polygons(element)
                faces = found if element.name == "face" else faces
        if vertices is None:
            raise ValueError("no vertices")
        return Mesh(vertices, faces)


class _Text(_Body):
    def __init__(self, body: bytes) -> None:
        self.lines = iter(body.decode("latin-1").splitlines())

    def rows(self, count: int) -> list[list[str]]:
        rows = [line.split() for line in islice(self.lines, count)]
        if len(rows) < count:
            raise ValueError(f"{len(rows)} of {count} rows")
        return rows

    def columns(self, element: _Element) -> dict[str, np.ndarray]:
        table = np.array(self.rows(element.count), np.float64).reshape(element.count, len(element.properties))
        return {name: table[:, index] for index, (name, _, _) in enumerate(element.properties)}

    def polygons(self, element: _Element) -> Indices:
        found = []
        for row in self.rows(element.count):
            at = 0
            for name, _, length in element.properties:
                size = int(row[at]) if length else 1
                at += bool(length)
                if name in _INDICES:
                    found.append([int(value) for value in row[at : at + size]])
                at += size
        return triangulated(found)


class _Binary(_Body):
    def __init__(self, body: bytes, order: str) -> None:
        self.body, self.order, self.at = body, order, 0

    def take(self, dtype: np.dtype, count: int) -> np.ndarray:
        values = np.frombuffer(self.body, dtype, count, self.at)
        self.at += values.nbytes
        return values

    def columns(self, element: _Element) -> dict[str, np.ndarray]:
        table = self.take(np.dtype([(n, self.order + t) for n, t, _ in element.properties]), element.count)
        return {name: table[name] for name, _, _ in element.properties}

    def polygons(self, element: _Element) -> Indices:
        start = self.at
        if element.count and (triangles := self.all_triangles(element)) is not None:
            return triangles
        self.at, found = start, []
        for _ in range(element.count):
            for name, kind, length in element.properties:
                size = int(self.take(np.dtype(self.order + length), 1)[0]) if length else 1
                values = self.take(np.dtype(self.order + kind), size)
                if name in _INDICES:
                    found.append(values.tolist())
        return triangulated(found)

    def all_triangles(self, element: _Element) -> Indices | None:
        """Where every list is of three values, as in nearly every scan: read at once. None: it is not so."""
        fields: list[tuple] = []
        for name, kind, length in element.properties:
            if length:
                fields.append((f"length of {name}", self.order + length))
            fields.append((name, self.order + kind, (3,)) if length else (name, self.order + kind))
        record = np.dtype(fields)
        if self.at + record.itemsize * element.count > len(self.body):
            return None
        table = self.take(record, element.count)
        if any(length and (table[f"length of {name}"] != 3).any() for name, _, length in element.properties):
            return None
        index = next(name for name, _, _ in element.properties if name in _INDICES)
        return table[index].astype(np.int64)
