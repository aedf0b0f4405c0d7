"""Column names of captures, as different producers write them, and what each column holds.

``EyeBlinkLeft`` (Live Link Face), ``eyeBlinkLeft`` (ARKit, MediaPipe), ``eyeBlink_L`` (Unity), ``eye_blink_left`` and
``blendShapes.EyeBlinkLeft`` (Audio2Face) are one blendshape. Capitals, spaces and punctuation do not matter, and
prefixes that end with punctuation are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from jr2net.errors import UserError
from jr2net.face.arkit import ARKIT_NAMES

EXTRA = (
    "tongueOut", "headYaw", "headPitch", "headRoll", "leftEyeYaw", "leftEyePitch", "leftEyeRoll", "rightEyeYaw",
    "rightEyePitch", "rightEyeRoll",
)  # fmt: skip
"""What a capture may hold besides the 51 blendshapes: the tongue, and rotations of head and eyes in radians."""

_UNITS = {
    "": "", "s": "s", "sec": "s", "seconds": "s", "ms": "ms", "msec": "ms", "millis": "ms", "milliseconds": "ms",
    "us": "us", "microseconds": "us", "ns": "ns", "nanoseconds": "ns",
}  # fmt: skip
_TIME = re.compile(
    rf"(?:timecode|timestamp|time|elapsed|elapsedtime)({'|'.join(_UNITS)})|(sec|seconds|ms|milliseconds)"
)
_FRAME = re.compile(r"frames?(?:number|index|id|no)?")


class TrackError(UserError, ValueError):
    """A capture that cannot be used; the message names the file, the field and the remedy."""


class NotACaptureError(TrackError):
    """A file of another kind."""


@dataclass(frozen=True)
class Columns:
    """Where a capture's table holds what. Indices are those of its titles.

    shapes   of the 51 blendshapes, in the order of ``ARKIT_NAMES``
    extra    of the columns of ``EXTRA`` that there are
    time     of the time; None: there is none
    unit     of the time: s, ms, us or ns; "frame": frame numbers; empty: timecodes, or unknown
    count    of the number of blendshapes, which is 0 in frames without a face; None: there is no such column
    ignored  titles that mean nothing here
    """

    shapes: tuple[int, ...]
    extra: dict[str, int]
    time: int | None
    unit: str
    count: int | None
    ignored: tuple[str, ...]


def find_columns(titles: Sequence[str], source: str) -> Columns:
    """Raises TrackError where a blendshape is missing, or there twice."""
    meanings: dict[str, list[int]] = {}
    for index, title in enumerate(titles):
        if name := _meaning(title):
            meanings.setdefault(name, []).append(index)
    for name in ARKIT_NAMES:
        if len(indices := meanings.get(name, [])) > 1:
            # The title that is the name itself comes before those with a prefix.
            exact = [index for index in indices if _key(titles[index]) == name.lower()]
            if len(exact) != 1:
                raise TrackError(f"{source}: column {titles[indices[-1]].strip()!r} occurs twice; remove one")
            meanings[name] = exact
    missing = [name for name in ARKIT_NAMES if name not in meanings]
    used = {indices[0] for indices in meanings.values()}
    ignored = tuple(title.strip() for index, title in enumerate(titles) if title.strip() and index not in used)
    if missing:
        unknown = f" (unknown: {first_few([repr(title[:40]) for title in ignored])})" if ignored else ""
        raise TrackError(
            f"{source}: column {first_few(missing)} missing{unknown}; export it with all 52 ARKit blendshapes, "
            "and their names in the first line"
        )
    time = next((meanings[kind][0] for kind in ("timecode", "time", "frame") if kind in meanings), None)
    return Columns(
        tuple(meanings[name][0] for name in ARKIT_NAMES),
        {name: meanings[name][0] for name in EXTRA if name in meanings},
        time,
        "" if time is None else _unit(titles[time]),
        meanings.get("blendShapeCount", [None])[0],
        ignored,
    )


def count_blendshapes(titles: Iterable[str]) -> int:
    """How many titles name a blendshape."""
    return sum(_meaning(title) in ARKIT_NAMES for title in titles)


def first_few(names: Sequence[str], count: int = 5) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def _meaning(title: str) -> str:
    """The name of a blendshape or extra; timecode, time, frame or blendShapeCount; empty for anything else."""
    for key in _keys(title):
        if key in _NAMES:
            return _NAMES[key]
        if _TIME.fullmatch(key):
            return "timecode" if key == "timecode" else "time"
        if _FRAME.fullmatch(key):
            return "frame"
    return ""


def _unit(title: str) -> str:
    for key in _keys(title):
        if match := _TIME.fullmatch(key):
            return _UNITS[match[1] or match[2] or ""]
    return "frame"


def _keys(title: str) -> Iterator[str]:
    """The title in small letters and digits alone: whole, and without the parts that may be a prefix."""
    parts = [part.lower() for part in re.split(r"[^A-Za-z0-9]+", title) if part]
    for first in range(len(parts)):
        yield "".join(parts[first:])


def _key(title: str) -> str:
    return next(_keys(title), "")


_NAMES = {name.lower(): name for name in (*ARKIT_NAMES, *EXTRA, "blendShapeCount")} | {
    # eyeBlink_L, eyeBlink_R
    re.sub("(left|right)$", lambda side: side[0][0], name.lower()): name
    for name in ARKIT_NAMES
}
