"""VoxCeleb2 (J. S. Chung, A. Nagrani and A. Zisserman, Interspeech 2018): ``identity/video/clip.mp4``.

    dev/mp4/id00012/21Uxsk56VDQ/00001.mp4     clips; ``test/`` is the other part of the official split
    dev/txt/id00012/21Uxsk56VDQ/00001.txt     box tracks, also beside the clips
    train/id00012#21Uxsk56VDQ#003657#003994.mp4    whole pictures, as some programs that cut the footage anew name them
    vox2_meta.csv, vox-metadata.csv           the official split by person, where folders do not tell

A box track gives, for every frame, a box in fractions of the original footage. The published clips are cut-outs of 224
pixels, square, to which the boxes do not apply; in clips that are whole pictures, the box says which face is meant. A
clip is of the video's person, in both cases, and all videos of a person have that person's identity.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from jr2net.data.readers.layout import (
    VIDEO_ENDINGS,
    Folder,
    Footage,
    Frame,
    Layout,
    Load,
    Survey,
    Unit,
    load_video,
    plain_frames,
    stem,
)
from jr2net.data.readers.problems import DatasetError
from jr2net.data.readers.tables import parse_csv, text_of

_PERSON = re.compile(r"id\d{5,}")
_PARTS = {"dev": "train", "train": "train", "test": "test", "val": "val"}
_LISTS = {"vox2_meta.csv": ("VoxCeleb2 ID", "Set"), "vox-metadata.csv": ("person_id", "partition")}


def _survey(folder: Folder) -> Survey:
    survey, split = Survey(), _official_split(folder)
    tracks = {key: name for name in folder.ending_in(".txt") if (key := _place(name)) is not None}
    seen: dict[tuple[str, ...], str] = {}
    for name in folder.ending_in(*VIDEO_ENDINGS):
        if (place := _place(name)) is None:
            survey.leave_out(name, "does not lie in identity/video/, where VoxCeleb2 has its clips", "no identity")
            continue
        if place in seen:
            survey.leave_out(name, f"is the same clip as {seen[place]}; remove one", "clip is there twice")
            continue
        seen[place] = name
        person = place[0]
        above = [_PARTS[part] for part in name.split("/") if part in _PARTS]
        files = (name, tracks[place]) if place in tracks else (name,)
        survey.units.append(Unit("/".join(place), person, files, above[0] if above else split.get(person, "")))
    for place in sorted(tracks.keys() - seen.keys()):
        survey.leave_out(tracks[place], "there is no clip of this track; copy it again")
    return survey


def _place(name: str) -> tuple[str, ...] | None:
    """(identity, video, clip) of a file; None where nothing names a person."""
    *folders, base = stem(name).split("/")
    parts = [*folders, *base.split("#")]
    person = next((index for index, part in enumerate(parts[:-1]) if _PERSON.fullmatch(part)), None)
    return tuple(parts[person:]) if person is not None else None


def _official_split(folder: Folder) -> dict[str, str]:
    """Part by person, from the lists that there are."""
    split = {}
    for base, (person, part) in _LISTS.items():
        if (path := folder.find(base)) is not None:
            for row in parse_csv(folder.load(path), path, (person, part)):
                split[row[person]] = _PARTS.get(row[part].lower(), row[part].lower())
    return split


def parse_track(content: bytes, name: str) -> dict[int, tuple[float, float, float, float]]:
    """A box track: (left, top, right, bottom) in fractions of the footage by number of the frame, in the file's order.

    The header is ``Identity``, ``Reference``, …; the table has the columns FRAME X Y W H. Raises DatasetError.
    """
    lines = [line.split() for line in text_of(content, name).splitlines()]
    start = next((number for number, line in enumerate(lines) if line[:5] == ["FRAME", "X", "Y", "W", "H"]), None)
    if start is None:
        raise DatasetError("damaged track", f"{name}: has no table FRAME X Y W H; copy it again")
    boxes = {}
    for number, line in enumerate(lines[start + 1 :], start=start + 2):
        if not line:
            continue
        try:
            frame, (x, y, width, height) = int(line[0]), map(float, line[1:5])
        except ValueError:
            raise DatasetError("damaged track", f"{name}: line {number} is not FRAME X Y W H; copy it again") from None
        boxes[frame] = (x, y, x + width, y + height)
    if not boxes:
        raise DatasetError("damaged track", f"{name}: has no boxes; copy it again")
    return boxes


def _read(load: Load, unit: Unit) -> Footage:
    boxes = list(parse_track(load(unit.files[1]), unit.files[1]).values()) if len(unit.files) > 1 else []

    def frames(pictures: Iterator[np.ndarray]) -> Iterator[Frame]:
        for frame in plain_frames(pictures):
            height, width = frame.image.shape[:2]
            if width == height or frame.number >= len(boxes):
                yield frame
                continue
            left, top, right, bottom = boxes[frame.number]
            yield Frame(frame.number, frame.image, box=(left * width, top * height, right * width, bottom * height))

    return load_video(load, unit.files[0], frames)


LAYOUT = Layout(
    name="voxceleb2",
    title="VoxCeleb2 (identity/video/clip.mp4)",
    recognises=lambda folder: any(_place(name) for name in folder.ending_in(*VIDEO_ENDINGS)),
    survey=_survey,
    read=_read,
)
