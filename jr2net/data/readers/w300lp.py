"""300W-LP and AFLW2000-3D: photos with a ``.mat`` beside each (68 landmarks, pose).

``300W_LP/AFW/AFW_1051618982_1_0.jpg``, ``…_1_1.jpg``, … are views of one photo that Zhu et al. turned step by step, and
``AFW_Flip`` has them mirrored. They all show one face at one moment: the views of a photo are one clip, and both clips
have one identity. The photos of AFLW2000-3D are people of their own.
"""

from __future__ import annotations

import re
from itertools import groupby

from jr2net.data.readers.layout import Folder, Footage, Layout, Load, Survey, Unit, stem
from jr2net.data.readers.mat import parse_mat
from jr2net.data.readers.pairs import find_pairs, has_pairs, read_pairs

_VIEW = re.compile(r"^(?P<photo>(?:AFW|HELEN|IBUG|LFPW)_.+)_(?P<view>\d+)$")


def _survey(folder: Folder) -> Survey:
    survey = Survey()
    named = Folder(folder.uri, [name for name in folder.names if "landmarks" not in name.split("/")[:-1]])
    pairs = sorted((*_photo_and_view(photo), photo, label) for photo, label in find_pairs(named, (".mat",), survey))
    for name, views in groupby(pairs, key=lambda pair: pair[0]):
        files = tuple(file for _, _, *pair in views for file in pair)
        identity = name.rpartition("/")[2] if _VIEW.match(stem(files[0]).rpartition("/")[2]) else name
        survey.units.append(Unit(name, identity, files))
    return survey


def _photo_and_view(photo: str) -> tuple[str, int]:
    """The name of the photo that a picture is a view of, with its folder, and the number of the view."""
    parent, slash, base = stem(photo).rpartition("/")
    view = _VIEW.match(base)
    return (f"{parent}{slash}{view['photo']}", int(view["view"])) if view else (stem(photo), 0)


def _read(load: Load, unit: Unit) -> Footage:
    return read_pairs(load, unit, lambda content, name: parse_mat(content, name).landmarks)


LAYOUT = Layout(
    name="300w-lp",
    title="300W-LP or AFLW2000-3D (photos with .mat)",
    recognises=lambda folder: has_pairs(folder, (".mat",)),
    survey=_survey,
    read=_read,
    landmarks=68,
)
