"""What layouts of photos with a landmark file beside each have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from jr2net.data.readers.layout import (
    PHOTO_ENDINGS,
    STILL_FPS,
    Folder,
    Footage,
    Frame,
    Load,
    Survey,
    Unit,
    load_photo,
    stem,
)
from jr2net.data.readers.problems import check_points


def find_pairs(folder: Folder, endings: Sequence[str], survey: Survey) -> list[tuple[str, str]]:
    """(photo, landmark file) of one path but for the ending, sorted; those without a partner are noted in ``survey``.

    endings: of landmark files, the preferred one first.
    """
    photos = {stem(name): name for name in folder.ending_in(*PHOTO_ENDINGS)}
    labels: dict[str, str] = {}
    for kind in reversed(endings):
        labels |= {stem(name): name for name in folder.ending_in(kind)}
    for alone in sorted(photos.keys() - labels.keys()):
        survey.leave_out(photos[alone], f"has no {' or '.join(endings)} beside it; copy it again")
    for alone in sorted(labels.keys() - photos.keys()):
        survey.leave_out(labels[alone], "has no photo beside it; copy it again")
    return [(photos[name], labels[name]) for name in sorted(photos.keys() & labels.keys())]


def has_pairs(folder: Folder, endings: Sequence[str]) -> bool:
    """Whether any landmark file has a photo beside it."""
    photos = {stem(name) for name in folder.ending_in(*PHOTO_ENDINGS)}
    return any(stem(name) in photos for name in folder.ending_in(*endings))


def survey_pairs(folder: Folder, endings: Sequence[str]) -> Survey:
    """A unit for every pair; every photo is of a person of its own."""
    survey = Survey()
    for photo, label in find_pairs(folder, endings, survey):
        survey.units.append(Unit(stem(photo), stem(photo), (photo, label)))
    return survey


def read_pairs(load: Load, unit: Unit, parse: Callable[[bytes, str], np.ndarray]) -> Footage:
    """The photos of a unit, whose files are photo, landmark file, photo, …; parse: a landmark file's content and name
    to landmarks (68, 2) or (5, 2)."""

    def frames() -> Iterator[Frame]:
        for number, (photo, label) in enumerate(zip(unit.files[::2], unit.files[1::2])):
            points = parse(load(label), label)
            image = load_photo(load, photo)
            points = check_points(points, label, image.shape[1], image.shape[0])
            if len(points) == 5:
                yield Frame(number, image, points=points)
            else:
                yield Frame(number, image, landmarks=points)

    return Footage(STILL_FPS, frames, still=True)
