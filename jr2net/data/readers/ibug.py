"""Photos with iBUG's ``.pts`` beside each: 300-W, AFW, HELEN, LFPW, IBUG, and what others annotate in this format.

Mirrored copies (``…_mirror.jpg``) are of the person of their original. Otherwise every photo is of a person of its own.
"""

from __future__ import annotations

from dataclasses import replace

from jr2net.data.readers.layout import Folder, Footage, Layout, Load, Survey, Unit
from jr2net.data.readers.pairs import has_pairs, read_pairs, survey_pairs
from jr2net.data.readers.pts import parse_points

_MIRRORED = "_mirror"


def _survey(folder: Folder) -> Survey:
    survey = survey_pairs(folder, (".pts",))
    survey.units = [replace(unit, identity=unit.name.removesuffix(_MIRRORED)) for unit in survey.units]
    return survey


def _read(load: Load, unit: Unit) -> Footage:
    return read_pairs(load, unit, parse_points)


LAYOUT = Layout(
    name="ibug",
    title="photos with iBUG's .pts",
    recognises=lambda folder: has_pairs(folder, (".pts",)),
    survey=_survey,
    read=_read,
    landmarks=68,
)
