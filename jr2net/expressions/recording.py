"""A capture as its file holds it, row by row, and the track that it means: scale, faces, times and gaps resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from jr2net.expressions.columns import TrackError, first_few
from jr2net.expressions.gaps import BRIDGE_S, fill, seen_frames
from jr2net.expressions.scales import bring_to_units, find_scale
from jr2net.expressions.timing import timeline
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.storage import base_name


@dataclass(frozen=True)
class Track:
    """A capture: expressions over time.

    name        of the capture
    expression  (T, 51) float32 in [0, 1], order of ``ARKIT_NAMES``
    fps         frames per second
    extra       (T,) float32 each: ``tongueOut`` and rotations (radians) that the capture also holds
    clamped     number of values outside [0, 1] that were clamped
    seen        (T,) bool: frames of the capture; False: one that showed no face or was missing, and was filled
                (``jr2net.expressions.gaps``); None: all are
    notes       what was found in the file and done about it, in words
    """

    name: str
    expression: np.ndarray
    fps: float
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)
    clamped: int = 0
    seen: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.expression)

    @cached_property
    def seen_frames(self) -> np.ndarray:
        """Indices of the frames that are the capture's own."""
        return np.arange(len(self)) if self.seen is None else np.flatnonzero(self.seen)


@dataclass(frozen=True)
class Recording:
    """The rows of a capture.

    source   the file, as errors name it
    shapes   (N, 51) float32 on the file's scale, NaN where there is no number; all NaN: the row shows no face
    extra    (N,) float32 each
    times    for each column of times, a cell for each row, and the unit (``Columns.times``)
    lines    (N,) the row's number in the file, as errors name it
    fps      frames per second if the file states it outside its rows; 0: it does not
    who      a cell for each row that names the face; None: the file has one face
    percent  whether the file says that its coefficients are percentages
    ignored  titles of columns that are not used
    notes    what was found while reading, in words
    """

    source: str
    shapes: np.ndarray
    extra: Mapping[str, np.ndarray]
    times: Sequence[tuple[Sequence[str], str]]
    lines: Sequence[int]
    fps: float = 0.0
    who: Sequence[str] | None = None
    percent: bool = False
    ignored: Sequence[str] = ()
    notes: Sequence[str] = ()


def to_track(recording: Recording) -> Track:
    """Raises TrackError for a capture without a face, with a blank column, an unclear scale, or two captures in one."""
    source = recording.source
    notes = [*recording.notes, *_ignored(recording)]
    recording, others = _of_one_face(recording)
    notes += others
    shapes = _without_sentinels(recording.shapes)
    _check_numbers(shapes, source)
    scale = find_scale(shapes, recording.lines, source, recording.percent)
    if scale != 1:
        notes.append(f"coefficients from 0 to {scale:g} are divided by {scale:g}")
        shapes = shapes / np.float32(scale)
    clamped = int(((shapes < 0) | (shapes > 1)).sum())
    if clamped:
        notes.append(f"{clamped} coefficients outside [0, 1] were clamped")
    times = timeline(recording.times, recording.lines, source, recording.fps)
    shapes = shapes[times.rows].clip(0, 1)
    seen = np.isfinite(shapes).any(1)
    filled = fill(times.position, shapes, times.fps)
    in_track = seen_frames(times.position, seen)
    extra, said = bring_to_units({n: v for n, v in recording.extra.items() if np.isfinite(v).any()}, scale)
    extra = {n: fill(times.position, v[times.rows, None], times.fps)[:, 0] for n, v in extra.items()}
    notes += [*said, *times.notes, *_filled_notes(shapes, seen, in_track, times.fps)]
    name = base_name(source).rpartition(".")[0] or source
    return Track(name, filled, times.fps, extra, clamped, None if in_track.all() else in_track, tuple(notes))


def _ignored(recording: Recording) -> list[str]:
    return [f"ignored columns: {first_few(recording.ignored)}"] if recording.ignored else []


def _of_one_face(recording: Recording) -> tuple[Recording, list[str]]:
    """The rows of the first face, where a file has rows of several at the same times, and a note that says so."""
    who = recording.who or ()
    names = [name for name in dict.fromkeys(who) if name.strip().lower() not in ("", "nan", "none", "null", "-1")]
    times = recording.times[0][0] if recording.times else [""] * len(who)
    counts_rows = 2 * len(names) > len(who)
    if len(names) < 2 or counts_rows or len(set(times)) == len(times):  # one face, or one whose number changes
        return recording, []
    rows = [index for index, name in enumerate(who) if name == names[0]]
    one = replace(
        recording,
        shapes=recording.shapes[rows],
        extra={name: values[rows] for name, values in recording.extra.items()},
        times=[([cells[row] for row in rows], unit) for cells, unit in recording.times],
        lines=[recording.lines[row] for row in rows],
    )
    listed = first_few([repr(name[:40]) for name in names])
    return one, [f"it holds the faces {listed}: only the rows of {names[0][:40]!r} are used"]


def _without_sentinels(shapes: np.ndarray) -> np.ndarray:
    """Rows that repeat one number of no scale (-1, -999, 999) in every column show no face: they become NaN."""
    first = shapes[:, 0]
    impossible = np.flatnonzero((first < 0) | (first > 255))
    absent = impossible[(shapes[impossible] == first[impossible, None]).all(1)]
    if len(absent):
        shapes = shapes.copy()
        shapes[absent] = np.nan
    return shapes


def _check_numbers(shapes: np.ndarray, source: str) -> None:
    if not len(shapes):
        raise TrackError(f"{source}: no frames; a capture has a line of column names and one line per frame")
    known = np.isfinite(shapes).any(0)
    if not known.any():
        raise TrackError(f"{source}: none of its {len(shapes)} frames shows a face; record the capture again")
    if not known.all():
        name = ARKIT_NAMES[int(np.argmin(known))]
        raise TrackError(f"{source}: column {name} holds no number; fill it or export the capture again")


def _filled_notes(shapes: np.ndarray, seen: np.ndarray, in_track: np.ndarray, fps: float) -> list[str]:
    """What was filled: frames without a face, missing frames, single cells."""
    faceless, blank = int((~seen).sum()), int(np.isnan(shapes[seen]).sum())
    missing = max(0, int((~in_track).sum()) - faceless)
    edges = np.flatnonzero(np.diff(np.concatenate([[True], in_track, [True]]).astype(int)))
    longest = float((edges[1::2] - edges[::2]).max(initial=0)) / fps
    notes = []
    if faceless or missing:
        notes.append(
            f"of {len(in_track)} frames, {faceless} show no face and {missing} are missing (longest gap {longest:.1f} "
            f"s): gaps of up to {BRIDGE_S:g} s are bridged, longer ones hold the expression"
        )
    if blank:
        notes.append(f"blank cells that were interpolated: {blank}")
    return notes
