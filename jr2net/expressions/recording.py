"""A capture as its file holds it, row by row, and the track that it means: scale, times and gaps resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from jr2net.expressions.columns import TrackError, first_few
from jr2net.expressions.gaps import BRIDGE_S, fill, seen_frames
from jr2net.expressions.timing import Timeline, timeline
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.storage import base_name

_LARGEST_OF_UNIT = 2.0  # amplified captures exceed 1; they are clamped
_SMALLEST_OF_HUNDRED = 5.0


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
    times    a cell for each row; None: there are none
    unit     of the times (``timeline``)
    fps      frames per second if the file states it and has no times; 0: it does not
    lines    (N,) the row's number in the file, as errors name it
    ignored  titles of columns that are not used
    """

    source: str
    shapes: np.ndarray
    extra: Mapping[str, np.ndarray]
    times: Sequence[str] | None
    unit: str
    lines: Sequence[int]
    fps: float = 0.0
    ignored: Sequence[str] = ()


def to_track(recording: Recording) -> Track:
    """Raises TrackError for a capture without a face, with a blank column, an unclear scale, or two captures in one."""
    source, shapes = recording.source, recording.shapes
    _check_numbers(shapes, source)
    scale = _scale(recording)
    notes = [f"ignored columns: {first_few(recording.ignored)}"] if recording.ignored else []
    if scale != 1:
        notes.append(f"coefficients from 0 to {scale:g} are divided by {scale:g}")
        shapes = shapes / np.float32(scale)
    clamped = int(((shapes < 0) | (shapes > 1)).sum())
    if clamped:
        notes.append(f"{clamped} coefficients outside [0, 1] were clamped")
    times = _timeline(recording)
    shapes = shapes[times.rows].clip(0, 1)
    seen = np.isfinite(shapes).any(1)
    filled = fill(times.position, shapes, times.fps)
    in_track = seen_frames(times.position, seen)
    extra = {
        name: fill(times.position, values[times.rows, None], times.fps)[:, 0]
        for name, values in recording.extra.items()
        if np.isfinite(values).any()
    }
    notes += [*times.notes, *_filled_notes(shapes, seen, in_track, times.fps)]
    name = base_name(source).rpartition(".")[0] or source
    return Track(name, filled, times.fps, extra, clamped, None if in_track.all() else in_track, tuple(notes))


def _check_numbers(shapes: np.ndarray, source: str) -> None:
    if not len(shapes):
        raise TrackError(f"{source}: no frames; a capture has a line of column names and one line per frame")
    known = np.isfinite(shapes).any(0)
    if not known.any():
        raise TrackError(f"{source}: none of its {len(shapes)} frames shows a face; record the capture again")
    if not known.all():
        name = ARKIT_NAMES[int(np.argmin(known))]
        raise TrackError(f"{source}: column {name} holds no number; fill it or export the capture again")


def _scale(recording: Recording) -> float:
    """What 1 is in the file: 1, 100 or 255. Raises TrackError where it is none of them."""
    shapes = recording.shapes
    top = float(np.nanmax(shapes))
    above_one = (shapes > 1).sum() / max(int((shapes > 1e-6).sum()), 1)
    scale = 1.0
    if top > _LARGEST_OF_UNIT:
        integers = bool((shapes == np.rint(shapes))[np.isfinite(shapes)].all())
        if above_one < 0.1 or top < _SMALLEST_OF_HUNDRED or (top > 105 and not (integers and top <= 255)):
            raise _unclear(recording, int(np.nanargmax(shapes)))
        scale = 100.0 if top <= 105 else 255.0
    if np.nanmin(shapes) < -scale:
        raise _unclear(recording, int(np.nanargmin(shapes)))
    return scale


def _unclear(recording: Recording, cell: int) -> TrackError:
    row, shape = divmod(cell, len(ARKIT_NAMES))
    return TrackError(
        f"{recording.source}: line {recording.lines[row]}, {ARKIT_NAMES[shape]}: {recording.shapes[row, shape]:g} fits "
        "no scale that is known (0 to 1, 0 to 100, integers from 0 to 255); correct it, or bring the columns to 0 to 1"
    )


def _timeline(recording: Recording) -> Timeline:
    count = len(recording.shapes)
    if recording.times is None and recording.fps:
        return Timeline(np.arange(count), np.arange(count, dtype=float), recording.fps)
    times = recording.times if recording.times is not None else [""] * count
    return timeline(times, recording.unit, recording.lines, recording.source)


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
