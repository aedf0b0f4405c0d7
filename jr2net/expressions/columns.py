"""Column names of captures, as different producers write them, and what each column holds.

``EyeBlinkLeft`` (Live Link Face), ``eyeBlinkLeft`` (ARKit, MediaPipe), ``eyeBlink_L`` (Unity, Face Cap),
``eye_blink_left`` and ``blendShapes.EyeBlinkLeft`` (Audio2Face) are one blendshape. Capitals, spaces and punctuation do
not matter. Prefixes that end with punctuation are skipped, others and suffixes where all blendshapes share them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from jr2net.errors import UserError
from jr2net.face.arkit import ARKIT_NAMES

EXTRA = (
    "tongueOut", "headYaw", "headPitch", "headRoll", "leftEyeYaw", "leftEyePitch", "leftEyeRoll", "rightEyeYaw",
    "rightEyePitch", "rightEyeRoll",
)  # fmt: skip
"""What a capture may hold besides the 51 blendshapes: the tongue, and rotations of head and eyes in radians."""

UNITS = {
    "": "", "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s", "ms": "ms", "msec": "ms", "millis": "ms",
    "milliseconds": "ms", "us": "us", "µs": "us", "microseconds": "us", "ns": "ns", "nanoseconds": "ns",
    "ticks": "ticks",
}  # fmt: skip
"""Units of time as files write them, by those that ``jr2net.expressions.timing`` knows."""

MOST_TITLES = 5000
"""Some captures hold 478 landmarks too; more columns than this are no capture."""

_LONGEST_TITLE = 300

_UNIT = f"({'|'.join(UNITS)})"
_WHOSE = (
    "(?:frame|capture|video|audio|camera|image|recording|record|media|animation|tracking|face|arkit|scene|unix|epoch"
    "|utc|local|system|device|sample|relative|current|elapsed)*"
)
_TIMES = {
    "timecode": re.compile(r"(?:smpte)?timecode()"),
    "time": re.compile(
        rf"{_WHOSE}(?:timestamp|datetime|time|elapsed|clock){_UNIT}|(?:t|pts){_UNIT}"
        r"|(sec|seconds|ms|msec|millis|milliseconds|ticks)"
    ),
    "delta": re.compile(rf"(?:delta(?:time|t)?|dt){_UNIT}"),
    "frame": re.compile(r"frames?(?:number|index|id|idx|no|num|count)?()"),
}
"""What a time column may be called, the most telling first; the groups are its unit."""

_FACE = re.compile(
    r"blendshapecount|(?:num|number|count)?(?:of)?faces?(?:count)?|success|valid"
    r"|(?:is|has|was)?(?:face)?(?:is)?(?:tracked|tracking|trackingstatus|detected|found|visible|valid|present)|hasface"
)
_WHO = re.compile(r"(?:face|subject|actor|person|head|user)(?:id|idx|index|name|no|num|number)")

_KINDS = {**_TIMES, "face": _FACE, "who": _WHO}

_OTHERS = {
    r"\bAU\d\d": "action units (OpenFace)",
    r"CTRL_expressions": "MetaHuman's own controls",
    r"(?i)brow_?lowerer_?l|browLowerL": "FACS poses (Audio2Face's or Meta's own)",
    r"(?i)viseme|sil\b": "visemes",
    r"(?i)landmark|\bx_0\b": "landmarks",
}
"""Coefficients of other systems, which ARKit's cannot be taken from, by what their names look like."""


class TrackError(UserError, ValueError):
    """A capture that cannot be used; the message names the file, the field and the remedy."""


class NotACaptureError(TrackError):
    """A file of another kind."""


@dataclass(frozen=True)
class Columns:
    """Where a capture's table holds what. Indices are those of its titles.

    shapes   of the 51 blendshapes, in the order of ``ARKIT_NAMES``
    extra    of the columns of ``EXTRA`` that there are
    times    (index, unit) of the columns that hold a time, the most telling first. Units are s, ms, us, ns or ticks;
             "frame": frame numbers; "delta …": the time since the row before; empty: timecodes, or unknown
    faces    of the columns that are 0 or false in rows without a face
    who      of the number or name of the face, where a file may hold several; None: there is no such column
    percent  whether the titles say that coefficients are percentages
    ignored  titles that mean nothing here
    """

    shapes: tuple[int, ...]
    extra: dict[str, int]
    times: tuple[tuple[int, str], ...]
    faces: tuple[int, ...]
    who: int | None
    percent: bool
    ignored: tuple[str, ...]


def find_columns(titles: Sequence[str], source: str) -> Columns:
    """Raises TrackError where a blendshape is missing, or there twice."""
    if len(titles) > MOST_TITLES:
        raise TrackError(f"{source}: has {len(titles)} columns, and a capture some 60; export the blendshapes alone")
    meanings: dict[str, list[int]] = {}
    for index, title in enumerate(titles):
        if name := _meaning(title):
            meanings.setdefault(name, []).append(index)
    if not all(name in meanings for name in ARKIT_NAMES):
        meanings |= _with_common_affixes(titles, source)
    for name in ARKIT_NAMES:
        if len(indices := meanings.get(name, [])) > 1:
            # The title that is the name itself comes before those with a prefix.
            exact = [index for index in indices if _key(titles[index]) == name.lower()]
            if len(exact) != 1:
                both = " and ".join(repr(titles[index].strip()[:60]) for index in indices[:2])
                raise TrackError(f"{source}: column {name!r} occurs twice, as {both}; remove one")
            meanings[name] = exact
    times = [
        (index, unit) for kind in _TIMES for index in meanings.get(kind, []) for unit in (_unit(titles[index], kind),)
    ]
    shapes = [meanings[name][0] for name in ARKIT_NAMES if name in meanings]
    faces, who = meanings.get("face", []), meanings.get("who", [None])[0]
    used = {*shapes, *faces, who, *(index for index, _ in times)}
    used |= {meanings[name][0] for name in EXTRA if name in meanings}
    ignored = tuple(title.strip() for index, title in enumerate(titles) if title.strip() and index not in used)
    if len(shapes) < len(ARKIT_NAMES):
        raise TrackError(
            f"{source}: {_missing([name for name in ARKIT_NAMES if name not in meanings], titles, ignored)}"
        )
    return Columns(
        tuple(shapes),
        {name: meanings[name][0] for name in EXTRA if name in meanings},
        tuple(times),
        tuple(faces),
        who,
        2 * sum("%" in titles[index] for index in shapes) > len(shapes),
        ignored,
    )


def count_blendshapes(titles: Iterable[str]) -> int:
    """How many titles name a blendshape, be it with a prefix or suffix."""
    return sum(map(_is_blendshape, islice(titles, MOST_TITLES)))


def has_blendshapes(titles: Iterable[str], count: int = 1) -> bool:
    """Whether at least so many titles name a blendshape. Reads no more titles than it needs."""
    return sum(1 for _ in islice(filter(_is_blendshape, islice(titles, MOST_TITLES)), count)) == count


def time_columns(titles: Iterable[str]) -> list[str]:
    """The titles that name a time or the number of a frame."""
    return [title for title in islice(titles, MOST_TITLES) if _meaning(title) in _TIMES]


@lru_cache(4096)
def _is_blendshape(title: str) -> bool:
    if len(title) > _LONGEST_TITLE or not _STEM.search(title):
        return False
    return _name(title) in ARKIT_NAMES or bool(_ANYWHERE.fullmatch(_key(title)))


def first_few(names: Sequence[str], count: int = 5) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def _missing(missing: Sequence[str], titles: Sequence[str], unknown: Sequence[str]) -> str:
    """Why the titles are not those of a capture, and the remedy."""
    listed = f" (unknown: {first_few([repr(title[:40]) for title in unknown])})" if unknown else ""
    if 2 * len(missing) > len(ARKIT_NAMES):
        for pattern, other in _OTHERS.items():
            if any(re.search(pattern, title) for title in titles):
                return f"holds {other}, not ARKit's blendshapes{listed}; export it with the 52 ARKit blendshapes"
        numbers = sum(bool(re.fullmatch(r"[\s\d.,:;+-]+", title)) for title in unknown)
        if 2 * numbers > len(unknown) > 1:
            return f"the first line holds numbers{listed}, not the names of ARKit's 52 blendshapes; add a line of names"
    return (
        f"column {first_few(missing)} missing{listed}; export it with all 52 ARKit blendshapes, and their names in "
        "the first line"
    )


@lru_cache(MOST_TITLES)
def _meaning(title: str) -> str:
    """The name of a blendshape or extra; a kind of ``_TIMES``; "face"; "who"; empty for anything else."""
    if len(title) > _LONGEST_TITLE:
        return ""
    if name := _name(title):
        return name
    return next((kind for key in _tails(title) for kind, pattern in _KINDS.items() if pattern.fullmatch(key)), "")


def _name(title: str) -> str:
    """The name of a blendshape or extra; empty for anything else."""
    return next((_NAMES[key] for key in _keys(title) if key in _NAMES), "")


def _unit(title: str, kind: str) -> str:
    if kind in ("timecode", "frame"):
        return {"timecode": "", "frame": "frame"}[kind]
    match = next(match for key in _tails(title) if (match := _TIMES[kind].fullmatch(key)))
    unit = UNITS[next((group for group in match.groups() if group), "")]
    return f"delta {unit}" if kind == "delta" else unit


def _with_common_affixes(titles: Sequence[str], source: str) -> dict[str, list[int]]:
    """The columns of blendshapes whose names all have the same prefix and suffix; {} without them."""
    groups: dict[tuple[str, str], dict[str, list[int]]] = {}
    for index, title in enumerate(titles):
        if _is_blendshape(title) and (match := _ANYWHERE.fullmatch(_key(title))):
            groups.setdefault((match[1], match[3]), {}).setdefault(_NAMES[match[2]], []).append(index)
    whole = [(affixes, group) for affixes, group in groups.items() if set(ARKIT_NAMES) <= group.keys()]
    if len(whole) > 1:
        both = " and ".join(repr(titles[group["jawOpen"][0]].strip()[:60]) for _, group in whole[:2])
        raise TrackError(f"{source}: column 'jawOpen' occurs twice, as {both}; remove one of the sets")
    return whole[0][1] if whole else {}


def _keys(title: str) -> Iterator[str]:
    """The title in small letters and digits alone: whole, and without the parts that may be a prefix."""
    parts = [part.lower() for part in re.split(r"[^A-Za-z0-9µ]+", title) if part]
    for first in range(len(parts)):
        yield "".join(parts[first:])


def _tails(title: str) -> Iterator[str]:
    """As ``_keys``, but only a path before the title is skipped: ``processing_time`` is not a time of the capture.

    Then without what stands in brackets, which may be a unit or a remark.
    """
    for text in (title.lower(), re.sub(r"[(\[].*", "", title.lower())):
        parts = ["".join(re.findall(r"[a-z0-9µ]+", part)) for part in re.split(r"[.|:/]", text)]
        for first in range(len(parts)):
            yield "".join(parts[first:])


def _key(title: str) -> str:
    return next(_keys(title), "")


_SIDE = re.compile("(left|right)$")
_NAMES = (
    {name.lower(): name for name in (*ARKIT_NAMES, *EXTRA)}
    | {_SIDE.sub(lambda side: side[0][0], name.lower()): name for name in ARKIT_NAMES}  # eyeBlink_L, eyeBlink_R
    | {f"{side[0]}{name.lower()[: side.start()]}": name for name in ARKIT_NAMES if (side := _SIDE.search(name.lower()))}
)
"""Names without capitals and punctuation; the last are those with the side first (Left_eyeBlink)."""

_STEM = re.compile("eye|jaw|mouth|brow|cheek|nose", re.IGNORECASE)
_ANYWHERE = re.compile(f"(.*?)({'|'.join(sorted(_NAMES, key=len, reverse=True))})(.*)")
