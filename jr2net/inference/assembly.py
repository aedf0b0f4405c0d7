"""Tracked frames to one track: a constant rate, one identity, notes on what was found."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from jr2net.face.model import FaceModel
from jr2net.images.crop import Crop
from jr2net.inference.confidence import Doubts
from jr2net.inference.face_track import FaceTrack
from jr2net.inference.messages import FaceArrays, ModelInfo
from jr2net.inference.photo import NoFaceError

_STANDARD_RATES = (24000 / 1001, 24, 25, 30000 / 1001, 30, 50, 60000 / 1001, 60)
_MOST_FPS = 60.0
_IDENTITIES = 512  # frames whose identity is kept for the median
_CONSTANT = ("identity", "albedo", "light")
_SIZES = {"expression": 51, "rotation": 3, "translation": 3}


@dataclass(frozen=True)
class TrackedFrame:
    """A frame of a video.

    seconds  since the first frame
    face     the fitted face; its rotation and translation are those of the head in the picture's camera; None: no face
             was seen
    begins   whether a cut lies before it
    crop     the square that the network saw
    confidence  that the face is one which the fit describes (``FaceFollower.confidence``); NaN: not known
    """

    seconds: float
    face: FaceArrays | None
    begins: bool = False
    crop: Crop | None = None
    confidence: float = math.nan


def assemble(frames: Iterable[TrackedFrame], name: str, model: FaceModel, network: ModelInfo) -> FaceTrack:
    """The track of all frames. A frame takes about 250 bytes, however large its picture was.

    name: of the video; model, network: what the faces were fitted with. Raises NoFaceError where no frame shows one.
    """
    seconds, begins, sure, still = [], [], list[float](), _Still()
    values: dict[str, list[np.ndarray]] = {part: [] for part in _SIZES}
    for frame in frames:
        seconds.append(frame.seconds)
        begins.append(frame.begins)
        sure.append(frame.confidence)
        for part, rows in values.items():
            rows.append(np.full(_SIZES[part], np.nan, np.float32) if frame.face is None else frame.face[part])
        if frame.face is not None:
            still.add(frame.face)
    if not still.kept:
        raise NoFaceError(
            f"{name}: none of its {len(seconds)} frames shows a face. Use a video that shows one from the front"
        )
    instants, fps = np.array(seconds), frame_rate(np.array(seconds))
    grid = np.arange(int(np.floor(instants[-1] * fps + 0.1)) + 1) / fps  # stamps of whole milliseconds may fall short
    source = _sources(instants, grid)
    expression, rotation, translation = (_at(np.stack(rows), instants, grid, source) for rows in values.values())
    marked = np.zeros(len(grid), bool)
    marked[np.searchsorted(grid, instants[np.array(begins, bool)] - 1e-6).clip(0, len(grid) - 1)] = True
    track = FaceTrack(
        name, fps, grid, expression, rotation, translation, marked, still.median(), model=model, network=network,
        confidence=np.array(sure)[source],
    )  # fmt: skip
    return replace(track, notes=tuple(_notes(track)))


@dataclass
class _Still:
    """What does not change in a video, of up to ``_IDENTITIES`` frames that are evenly spaced."""

    kept: list[FaceArrays] = field(default_factory=list)
    _stride: int = 1
    _count: int = 0

    def add(self, face: FaceArrays) -> None:
        if self._count % self._stride == 0:
            self.kept.append({name: face[name] for name in _CONSTANT})
        self._count += 1
        if len(self.kept) > _IDENTITIES:
            self.kept, self._stride = self.kept[::2], 2 * self._stride

    def median(self) -> FaceArrays:
        return {name: np.median([face[name] for face in self.kept], axis=0).astype(np.float32) for name in _CONSTANT}


def frame_rate(seconds: np.ndarray) -> float:
    """The rate of frames at instants (T,): that of their usual distance, where it varies that of the shorter ones, a
    standard one if it is within 1 %; at most 60."""
    steps = np.diff(seconds)
    steps = steps[steps > 1e-4]
    if not len(steps):
        return 30.0
    even = np.ptp(steps) < 0.02 * steps.mean() + 0.002  # stamps of whole milliseconds
    rate = min(_MOST_FPS, 1 / float(steps.mean() if even else np.percentile(steps, 25)))
    nearest = min(_STANDARD_RATES, key=lambda standard: abs(standard - rate))
    return nearest if abs(nearest - rate) < 0.002 * rate or (not even and abs(nearest - rate) < 0.01 * rate) else rate


def _sources(instants: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """For each instant of the grid the frame that is shown then."""
    return (np.searchsorted(instants, grid + 1e-4, side="right") - 1).clip(0, len(instants) - 1)


def _at(values: np.ndarray, instants: np.ndarray, grid: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Values (N, K) of frames at the instants of the grid: between two frames with a face interpolated, else those of
    the frame that is shown."""
    after = (source + 1).clip(0, len(instants) - 1)
    span = np.maximum(instants[after] - instants[source], 1e-9)
    weight = ((grid - instants[source]) / span).clip(0, 1)[:, None]
    mixed = (1 - weight) * values[source] + weight * values[after]
    return np.where(np.isfinite(mixed), mixed, values[source]).astype(np.float32)


def _notes(track: FaceTrack) -> list[str]:
    notes = []
    unseen = ~track.seen
    if unseen.any():
        edges = np.flatnonzero(np.diff(np.concatenate([[False], unseen, [False]]).astype(int)))
        longest = float((edges[1::2] - edges[::2]).max()) / track.fps
        notes.append(f"{int(unseen.sum())} of {len(track)} frames show no face (longest gap {longest:.1f} s)")
    if len(doubtful := np.flatnonzero(track.doubtful)):
        notes += Doubts(len(doubtful), float(track.seconds[doubtful[0]])).notes(len(track))
    if cuts := int(track.begins.sum()):
        notes.append(f"{cuts} {'cut' if cuts == 1 else 'cuts'}: smoothing begins anew")
    return notes
