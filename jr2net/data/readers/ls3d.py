"""LS3D-W (A. Bulat and G. Tzimiropoulos, ICCV 2017): photos with 68 landmarks in Torch's ``.t7``, or in ``.npy`` or
``.pts`` where they have been converted. Nobody is named: every photo is of a person of its own."""

from __future__ import annotations

from jr2net.data.readers.layout import Folder, Footage, Layout, Load, Unit
from jr2net.data.readers.pairs import has_pairs, read_pairs, survey_pairs
from jr2net.data.readers.pts import parse_points

_ENDINGS = (".t7", ".npy", ".pts")


def _recognises(folder: Folder) -> bool:
    """One with ``.pts`` alone is taken for iBUG's, which is read alike."""
    return has_pairs(folder, (".t7", ".npy"))


def _read(load: Load, unit: Unit) -> Footage:
    return read_pairs(load, unit, parse_points)


LAYOUT = Layout(
    name="ls3d-w",
    title="LS3D-W (photos with .t7, .npy or .pts)",
    recognises=_recognises,
    survey=lambda folder: survey_pairs(folder, _ENDINGS),
    read=_read,
    landmarks=68,
)
