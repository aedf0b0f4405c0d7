"""Takes of Live Link Face: a capture of 52 blendshapes as CSV, and the video that was recorded with it.

Each take is a folder with ``MySlate_1_iPhone.csv``, ``MySlate_1_iPhone.mov`` and ``take.json``; a video and a CSV of
one name in any folder are a take, too. Takes are of the person that the topmost folder above theirs names; those that
have no folder above their own are all of one person.
"""

from __future__ import annotations

from collections import defaultdict
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
from jr2net.expressions.tracks import COMPANIONS, parse_capture

_TAKE = "take.json"
_ONE_PERSON = "person"


def _survey(folder: Folder) -> Survey:
    survey = Survey()
    captures = _by_folder(folder, ".csv")
    for parent, videos in sorted(_by_folder(folder, *VIDEO_ENDINGS).items()):
        here = {stem(name): name for name in captures.get(parent, ())}
        for video in videos:
            capture = here.get(stem(video))
            if capture is None and len(videos) == len(here) == 1:
                capture = next(iter(here.values()))
            if capture is None:
                survey.leave_out(video, "has no capture (.csv) beside it; import it with --layout footage")
                continue
            above = parent.rpartition("/")[0]
            survey.units.append(Unit(stem(video), above.partition("/")[0] or _ONE_PERSON, (video, capture)))
    used = {unit.files[1] for unit in survey.units}
    for names in captures.values():
        for name in names:
            if name not in used:
                survey.leave_out(name, "has no video beside it; a capture alone needs no import")
    return survey


def _by_folder(folder: Folder, *endings: str) -> dict[str, list[str]]:
    found = defaultdict(list)
    for name in folder.ending_in(*endings):
        if name.rpartition("/")[2].lower() not in COMPANIONS:
            found[name.rpartition("/")[0]].append(name)
    return found


def _recognises(folder: Folder) -> bool:
    if not folder.ending_in(*VIDEO_ENDINGS):
        return False
    captured = {stem(name) for name in folder.ending_in(".csv")}
    return folder.find(_TAKE) is not None or any(stem(name) in captured for name in folder.ending_in(*VIDEO_ENDINGS))


def _read(load: Load, unit: Unit) -> Footage:
    """The frames in which the phone saw the face, with what it captured at their time."""
    track = parse_capture(load(unit.files[1]), unit.files[1])
    seen = np.ones(len(track), bool) if track.seen is None else track.seen

    def frames(pictures: Iterator[np.ndarray]) -> Iterator[Frame]:
        for frame in plain_frames(pictures):
            moment = int((frame.number + 0.5) / footage.fps * track.fps)
            if moment < len(track) and seen[moment]:
                yield Frame(frame.number, frame.image, expression=track.expression[moment])

    footage = load_video(load, unit.files[0], frames)
    return footage


LAYOUT = Layout(
    name="livelink",
    title="takes of Live Link Face (video and .csv)",
    recognises=_recognises,
    survey=_survey,
    read=_read,
)
