"""The ground truth of a dataset of scans: which scans there are, their landmarks, and what is wrong with them."""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import Field

from jr2net import storage
from jr2net.data.readers.problems import DatasetError
from jr2net.data.scans.blendshapes import read_bs
from jr2net.data.scans.files import MESH_FILES, read_mesh
from jr2net.data.scans.mesh import UNITS, Mesh
from jr2net.data.scans.points import POINT_FILES, read_points
from jr2net.data.scans.schemes import SCHEMES, Landmarks
from jr2net.evaluation.protocols.protocol import ProtocolError, ProtocolSettings

PHOTOS = (".png", ".jpg", ".jpeg", ".ppm", ".tif", ".tiff", ".webp")
BOXES = "boxes.csv"
"""Of a dataset: ``name,left,top,right,bottom`` a line, the box of the face in a photo's pixels."""

_EYES = {((36,), (45,)): (60.0, 130.0), (SCHEMES[5][0], SCHEMES[5][1]): (40.0, 90.0)}
"""Pairs of landmarks, the outer corners of the eyes and their centres, and how far apart they are in people, mm."""

Unit = Literal["um", "mm", "cm", "dm", "m"]


class ScanSettings(ProtocolSettings):
    """Settings of the protocols that measure on scans."""

    unit: Unit = Field("mm", description="unit of the scans' coordinates and of their landmarks'")
    ibug: tuple[int, ...] | None = Field(
        None,
        description="iBUG number, from 0, of each landmark of the scans' files, -1 for none; None: by their number",
    )
    mask: str | None = Field(
        None, description="file of the scans' vertices that count, numbers from 0, where all scans share a topology"
    )


@dataclass(frozen=True)
class Scan:
    """A sample of the ground truth.

    name       its path in the dataset without the ending: answers are found by it
    identity   who it shows
    mesh       path of its file
    landmarks  path of its landmarks, None where there are none
    photo      path of the photo that it is to be reconstructed from, None where there is none
    shape      number of the shape in a ``.bs`` file
    """

    name: str
    identity: str
    mesh: str
    landmarks: str | None = None
    photo: str | None = None
    shape: int | None = None


@dataclass(frozen=True)
class Truth:
    """A scan that has been read, in millimetres."""

    mesh: Mesh
    landmarks: Landmarks


class ScanSet:
    """A folder of scans, local or ``s3://``."""

    def __init__(self, folder: str, settings: ScanSettings) -> None:
        self.folder, self.settings = folder, settings
        self.shapes: set[tuple[int, ...]] = set()
        """Rows and columns of the range images, and numbers of vertices of the meshes, that have been read."""
        self._blendshapes: tuple[str, list[Mesh]] = ("", [])
        self._last: tuple[Scan, Truth] | None = None
        self.files = frozenset(storage.list_files(folder))
        if not self.files:
            raise ProtocolError(f"{folder}: has no files; give the folder of the dataset (docs/evaluation.md)")

    def path(self, name: str) -> str:
        return storage.join(self.folder, name)

    def beside(self, name: str, endings: Sequence[str]) -> str | None:
        """Path of the file of that name and one of the endings; None: there is none."""
        return next((self.path(name + ending) for ending in endings if name + ending in self.files), None)

    def landmarks_of(self, name: str) -> str | None:
        """Path of the landmark file of a scan: of its name, else ``landmarks.*`` in its folder or one above it."""
        found, folder = self.beside(name, POINT_FILES), posixpath.dirname(name)
        while found is None:
            found = self.beside(posixpath.join(folder, "landmarks"), POINT_FILES)
            if not folder:
                break
            folder = posixpath.dirname(folder)
        return found

    def photo_of(self, *names: str) -> str | None:
        return next((path for name in names if (path := self.beside(name, PHOTOS))), None)

    def meshes(self, endings: Sequence[str] = MESH_FILES[:-1]) -> list[tuple[str, str]]:
        """(name without ending, path in the folder) of every mesh, in order."""
        found = []
        for file in sorted(self.files):
            ending = next((e for e in sorted(endings, key=len, reverse=True) if file.lower().endswith(e)), None)
            if ending:
                found.append((file[: -len(ending)], file))
        return found

    def read(self, scan: Scan) -> Truth:
        """A scan and its landmarks. Raises DatasetError naming the file: damaged, no landmarks, another unit.

        The last one is kept, for photos that share a scan.
        """
        key = replace(scan, name="", photo=None)
        if self._last is None or self._last[0] != key:
            self._last = (key, self._read(scan))
        return self._last[1]

    def _read(self, scan: Scan) -> Truth:
        if scan.landmarks is None:
            raise DatasetError(
                "no landmarks",
                f"{scan.mesh}: has no landmarks: put a file of its name with one of "
                f"{', '.join(POINT_FILES)} beside it, or landmarks.txt with vertex numbers in a folder above",
            )
        unit = UNITS[self.settings.unit]
        mesh = (read_mesh(scan.mesh) if scan.shape is None else self._shape(scan.mesh, scan.shape)).scaled(unit)
        self.shapes.add(mesh.grid.shape if mesh.grid is not None else (len(mesh.vertices),))
        points = read_points(scan.landmarks)
        landmarks = Landmarks.of(
            points.on(mesh, scan.landmarks, unit), points.ibug or self.settings.ibug, scan.landmarks
        )
        _check_unit(landmarks, self.settings.unit, scan.mesh)
        return Truth(mesh.part(self._kept(mesh, scan.mesh)) if self.settings.mask else mesh, landmarks)

    def _shape(self, path: str, number: int) -> Mesh:
        if self._blendshapes[0] != path:
            self._blendshapes = (path, read_bs(path))
        return self._blendshapes[1][number]

    @cached_property
    def _mask(self) -> np.ndarray:
        assert self.settings.mask is not None
        return read_points(self.settings.mask).values[:, 0].astype(np.int64)

    def _kept(self, mesh: Mesh, name: str) -> np.ndarray:
        if self._mask.max() >= len(mesh.vertices) or self._mask.min() < 0:
            raise DatasetError(
                "mask of another topology",
                f"{name}: has {len(mesh.vertices)} vertices, and mask={self.settings.mask} names {self._mask.max()}; "
                "give that of this topology",
            )
        kept = np.zeros(len(mesh.vertices), bool)
        kept[self._mask] = True
        return kept

    @cached_property
    def boxes(self) -> dict[str, tuple[float, ...]]:
        """Box of the face by the scan's name, of ``BOXES``; empty where there is no such file. Raises ProtocolError."""
        if BOXES not in self.files:
            return {}
        text = storage.read_bytes(self.path(BOXES)).decode("utf-8-sig", "replace")
        try:
            rows = [row for row in csv.reader(io.StringIO(text)) if row and row[0] != "name"]
            return {name: tuple(map(float, (l, t, r, b))) for name, l, t, r, b in rows}  # noqa: E741
        except ValueError as error:
            raise ProtocolError(f"{self.path(BOXES)}: {error}; a line is name,left,top,right,bottom") from None


def _check_unit(landmarks: Landmarks, unit: str, name: str) -> None:
    """Raises DatasetError where the eyes lie as far apart as no human's do, with the unit in which they would."""
    for (first, second), (low, high) in _EYES.items():
        a, b = landmarks.find(first), landmarks.find(second)
        if a is None or b is None:
            continue
        span = float(np.linalg.norm(a - b))
        if low <= span <= high:
            return
        fitting = [other for other, factor in UNITS.items() if low <= span * factor / UNITS[unit] <= high]
        said = f"its eyes' landmarks are {span:.3g} mm apart, and people's {low:.0f} to {high:.0f}"
        remedy = f"its unit seems to be {fitting[0]}: --set unit={fitting[0]}" if fitting else "scale it to millimetres"
        raise DatasetError(f"unit {fitting[0] if fitting else 'unknown'}", f"{name}: {said}; {remedy}")
