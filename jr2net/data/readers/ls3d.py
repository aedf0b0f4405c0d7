"""LS3D-W (A. Bulat and G. Tzimiropoulos, ICCV 2017): photos with 68 landmarks in Torch's ``.t7``, or in ``.npy`` or
``.pts`` where they have been converted. Nobody is named: every photo is of a person of its own, and the frames of a
video (below ``300VW…/``) are of the person of their folder."""

from __future__ import annotations

from dataclasses import replace

from jr2net.data.readers.layout import Folder, Footage, Layout, Load, Survey, Unit
from jr2net.data.readers.pairs import has_pairs, read_pairs, survey_pairs
from jr2net.data.readers.pts import parse_points
from jr2net.storage import base_name

_ENDINGS = (".t7", ".npy", ".pts")
_VIDEOS = "300VW"


def _recognises(folder: Folder) -> bool:
    """One with ``.pts`` alone is taken for iBUG's, which is read alike."""
    return has_pairs(folder, (".t7", ".npy"))


def _survey(folder: Folder) -> Survey:
    survey = survey_pairs(folder, _ENDINGS)
    top = base_name(folder.uri)
    survey.units = [replace(unit, identity=_video(unit.name, top) or unit.identity) for unit in survey.units]
    return survey


def _video(name: str, top: str) -> str:
    """The folder of a video's frame, "" for a photo; top: name of the dataset's folder."""
    *folders, _ = name.split("/")
    is_frame = any(part.startswith(_VIDEOS) for part in (top, *folders))
    return ("/".join(folders) or top) if is_frame else ""


def _read(load: Load, unit: Unit) -> Footage:
    return read_pairs(load, unit, parse_points)


LAYOUT = Layout(
    name="ls3d-w",
    title="LS3D-W (photos with .t7, .npy or .pts)",
    recognises=_recognises,
    survey=_survey,
    read=_read,
    landmarks=68,
)
