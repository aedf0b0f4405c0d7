"""A folder of videos and photos as a user has them, in subfolders or not.

The folder that a file lies in names its person: ``anna/holiday.mp4``. A file at the top is of a person of its own. In a
picture that shows several people the largest face counts; in a video it is followed, and a new clip begins where it is
lost.
"""

from __future__ import annotations

from collections.abc import Iterator

from jr2net.data.readers.layout import (
    PHOTO_ENDINGS,
    STILL_FPS,
    VIDEO_ENDINGS,
    Folder,
    Footage,
    Frame,
    Layout,
    Load,
    Survey,
    Unit,
    load_photo,
    load_video,
    plain_frames,
    stem,
)


def _survey(folder: Folder) -> Survey:
    survey, taken = Survey(), set()
    for file in folder.ending_in(*VIDEO_ENDINGS, *PHOTO_ENDINGS):
        name = file if stem(file) in taken else stem(file)  # a.jpg and a.png are two
        taken.add(name)
        survey.units.append(Unit(name, file.rpartition("/")[0] or name, (file,)))
    return survey


def _read(load: Load, unit: Unit) -> Footage:
    def photo() -> Iterator[Frame]:
        yield Frame(0, load_photo(load, unit.files[0]))

    return load_video(load, unit.files[0], plain_frames) if unit.is_video else Footage(STILL_FPS, photo, still=True)


LAYOUT = Layout(
    name="footage",
    title="videos and photos, each in the folder of its person",
    recognises=lambda folder: bool(folder.ending_in(*VIDEO_ENDINGS, *PHOTO_ENDINGS)),
    survey=_survey,
    read=_read,
)
