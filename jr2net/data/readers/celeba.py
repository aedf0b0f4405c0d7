"""CelebA (Z. Liu, P. Luo, X. Wang and X. Tang, ICCV 2015), aligned and cropped or in the wild.

Pictures lie in a folder named ``img_align_celeba`` (178 × 218 pixels) or ``img_celeba`` (in the wild), or anywhere by
their numbers. Lists may lie anywhere in the folder:

    list_landmarks_align_celeba.txt, list_landmarks_celeba.txt    five points, each for its pictures
    identity_CelebA.txt         who it is; without it every picture is of a person of its own
    list_eval_partition.txt     the official split: 0 train, 1 val, 2 test; identities do not overlap
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jr2net.data.readers.layout import (
    PHOTO_ENDINGS,
    STILL_FPS,
    Folder,
    Footage,
    Frame,
    Layout,
    Load,
    Survey,
    Unit,
    load_photo,
    stem,
)
from jr2net.data.readers.problems import DatasetError, check_points, handedness
from jr2net.data.readers.tables import parse_list

IDENTITIES, PARTITIONS = "identity_CelebA.txt", "list_eval_partition.txt"
ALIGNED, WILD = "list_landmarks_align_celeba.txt", "list_landmarks_celeba.txt"
COLUMNS = [f"{point}_{axis}" for point in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth") for axis in "xy"]
"""The five points; left and right as they are seen."""

_PARTS = {"0": "train", "1": "val", "2": "test"}
_WRONG = 0.1  # of a list's entries: with more that cannot be faces, the columns are wrong and not the entries


def _survey(folder: Folder) -> Survey:
    survey = Survey()
    photos: dict[str, str] = {}
    for name in folder.ending_in(*PHOTO_ENDINGS):
        if (other := photos.setdefault(name.rpartition("/")[2], name)) != name:
            raise DatasetError(
                "picture is there twice",
                f"{folder.uri}: holds both {other} and {name}: import aligned pictures and those in the wild one after "
                "the other; give a folder with the lists and one of the two folders of pictures",
            )
    wild = any("img_celeba" in name.split("/") for name in photos.values())
    points = _five_points(folder, WILD if wild else ALIGNED)
    identities, parts = _column(folder, IDENTITIES), _column(folder, PARTITIONS)
    listed = points.keys() | identities.keys() | parts.keys()
    for picture in sorted(listed - photos.keys()):
        survey.leave_out(picture, "is listed, but there is no such picture; copy it again")
    for picture in sorted(photos):
        if points and picture not in points:
            survey.leave_out(photos[picture], f"is not in {WILD if wild else ALIGNED}; copy the list again")
            continue
        identity = identities.get(picture, f"picture-{stem(picture)}")
        part = _PARTS.get(parts.get(picture, ""), "")
        survey.units.append(Unit(stem(picture), identity, (photos[picture],), part, points.get(picture)))
    return survey


def _five_points(folder: Folder, name: str) -> dict[str, tuple[float, ...]]:
    """Ten numbers of every picture in the order of ``COLUMNS``; empty without the list. Raises DatasetError."""
    if (path := folder.find(name)) is None:
        return {}
    columns, rows = parse_list(folder.load(path), path)
    if sorted(columns) != sorted(COLUMNS):
        raise DatasetError(
            "damaged list", f"{path}: its columns are {' '.join(columns) or 'not named'}; expected {' '.join(COLUMNS)}"
        )
    order = [columns.index(column) for column in COLUMNS]
    points = {}
    for picture, values in rows.items():
        try:
            points[picture] = tuple(float(values[column]) for column in order)
        except ValueError:
            raise DatasetError("damaged list", f"{path}: {picture}: {' '.join(values)} are not numbers") from None
    wrong = [picture for picture, values in points.items() if handedness(np.reshape(values, (5, 2))) < 0]
    if len(wrong) > max(1, _WRONG * len(points)):
        raise DatasetError(
            "implausible landmarks",
            f"{path}: {len(wrong)} of {len(points)} entries, e.g. {wrong[0]}, are those of mirrored faces: x and y, or "
            "left and right, are swapped; correct the names of the columns",
        )
    return points


def _column(folder: Folder, name: str) -> dict[str, str]:
    """The value of every picture in a list of one value each; empty without the list. Raises DatasetError."""
    if (path := folder.find(name)) is None:
        return {}
    rows = parse_list(folder.load(path), path)[1]
    if wrong := next((picture for picture, values in rows.items() if len(values) != 1), None):
        raise DatasetError("damaged list", f"{path}: {wrong[:40]!r} has {len(rows[wrong])} values, expected one")
    return {picture: values[0] for picture, values in rows.items()}


def _read(load: Load, unit: Unit) -> Footage:
    def frames() -> Iterator[Frame]:
        image = load_photo(load, unit.files[0])
        points = None
        if unit.details is not None:
            height, width = image.shape[:2]
            # Numbers of pixels from 1, as Matlab counts; the middle of a pixel is at 0.5 here.
            points = check_points(np.reshape(unit.details, (5, 2)) - 0.5, unit.files[0], width, height)
        yield Frame(0, image, points=points)

    return Footage(STILL_FPS, frames, still=True)


LAYOUT = Layout(
    name="celeba",
    title="CelebA (aligned or in the wild)",
    recognises=lambda folder: any(folder.find(name) for name in (IDENTITIES, PARTITIONS, ALIGNED, WILD)),
    survey=_survey,
    read=_read,
    landmarks=5,
)
