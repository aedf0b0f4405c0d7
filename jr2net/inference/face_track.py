"""A tracked face: what a video shows of one person, over time, and its exports as CSV, JSON and animated GLB."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jr2net import storage
from jr2net.errors import UserError
from jr2net.expressions.gaps import fill
from jr2net.expressions.live_link import to_csv
from jr2net.expressions.recording import Track
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.gltf import FaceMotion, animated_face_glb
from jr2net.face.model import FaceModel
from jr2net.inference.confidence import LOW
from jr2net.inference.face import OutputError, rounded
from jr2net.inference.messages import FaceArrays, ModelInfo, to_parameters
from jr2net.inference.smoothing import EXPRESSION, ROTATION, TRANSLATION, OneEuroFilter, smooth_both_ways

Smoothing = Literal["two-sided", "causal", "none"]
SMOOTHINGS: tuple[Smoothing, ...] = ("two-sided", "causal", "none")
TRACK_FORMATS = (".csv", ".json", ".glb")

BRIDGE_S = 0.5
"""Gaps of up to this many seconds are smoothed across; a longer one, like a cut, begins anew."""

_GAZE = np.array([name.startswith("eyeLook") for name in ARKIT_NAMES])
_REST = 0.1  # fraction of the frames, those of least expression, whose median is taken for the neutral face


class NeutralError(UserError, ValueError):
    """A neutral frame that cannot be had."""


@dataclass(frozen=True)
class FaceTrack:
    """One person's face over T frames; values are NaN in frames that show none.

    name         of the video
    fps          frames per second
    seconds      (T,) since the first frame
    expression   (T, 51) in [0, 1]
    rotation     (T, 3) Euler angles of the head in radians, as ``FaceParameters`` has them
    translation  (T, 3) of the head in mm, in the camera of the picture
    begins       (T,) bool: a cut lies before the frame
    still        identity, albedo and light, each the median of many frames; one identity for the whole clip
    confidence   (T,) in [0, 1]: how probably the fit describes a face (``jr2net.inference.confidence``); NaN where none
                 is seen; None: not known
    notes        what was found in the video and done about it, in words
    """

    name: str
    fps: float
    seconds: np.ndarray
    expression: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    begins: np.ndarray
    still: FaceArrays
    model: FaceModel
    network: ModelInfo
    notes: tuple[str, ...] = ()
    confidence: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.seconds)

    @cached_property
    def seen(self) -> np.ndarray:
        """(T,) bool: the frames that show the face."""
        return np.isfinite(self.expression[:, 0])

    @property
    def doubtful(self) -> np.ndarray:
        """(T,) bool: the frames whose confidence is low."""
        return np.zeros(len(self), bool) if self.confidence is None else self.seen & (self.confidence < LOW)

    def smoothed(self, kind: Smoothing) -> FaceTrack:
        """The track smoothed over time by the 1 € filter: ``causal`` knows earlier frames only, and lags; ``two-sided``
        runs it forwards and backwards, and does not. Cuts and gaps of more than half a second begin anew."""
        if kind == "none":
            return self
        both = kind == "two-sided"
        return replace(
            self,
            expression=self._filtered(self.expression, EXPRESSION, both).clip(0, 1),
            rotation=self._filtered(self.rotation, ROTATION, both),
            translation=self._filtered(self.translation, TRANSLATION, both),
        )

    def _filtered(self, values: np.ndarray, setting: tuple[float, float], both: bool) -> np.ndarray:
        filtered = values.copy()
        for frames in self._stretches():
            known = np.arange(frames[0], frames[-1] + 1)
            bridged = np.stack([np.interp(known, frames, column) for column in values[frames].T], 1)
            if both:
                smooth = smooth_both_ways(bridged, self.fps, *setting)
            else:
                one_euro = OneEuroFilter(self.fps, *setting)
                smooth = np.stack([one_euro(value) for value in bridged])
            filtered[frames] = smooth[frames - frames[0]]
        return filtered

    def _stretches(self) -> list[np.ndarray]:
        """The frames with a face, parted at cuts and at long gaps."""
        frames = np.flatnonzero(self.seen)
        if not len(frames):
            return []
        cuts = np.cumsum(self.begins)
        apart = (np.diff(frames) > max(1.0, BRIDGE_S * self.fps)) | (np.diff(cuts[frames]) > 0)
        return np.split(frames, np.flatnonzero(apart) + 1)

    def relative_to(self, neutral: float | Literal["auto"]) -> FaceTrack:
        """The track less the person's own resting face, which is rescaled to 0 and takes nothing from full expressions.

        neutral: seconds of a frame that shows it, or ``auto``: the median of the tenth of the frames with the least
        expression. Gaze is left as it is. Raises NeutralError where there is no such frame.
        """
        rest = self._rest(neutral)
        rest[_GAZE] = 0
        values = ((self.expression - rest) / np.maximum(1 - rest, 0.05)).clip(0, 1).astype(np.float32)
        return replace(self, expression=values)

    def _rest(self, neutral: float | Literal["auto"]) -> np.ndarray:
        frames = np.flatnonzero(self.seen)
        if not len(frames):
            raise NeutralError(f"{self.name}: no frame shows a face, so none can be neutral")
        if neutral != "auto":
            end = self.seconds[-1] + 1 / self.fps
            if not 0 <= neutral <= end:
                raise NeutralError(
                    f"neutral = {neutral:g} s: the video lasts {end:.2f} s; give an instant of it, or auto"
                )
            nearest = frames[np.argmin(np.abs(self.seconds[frames] - neutral))]
            if abs(self.seconds[nearest] - neutral) > max(0.1, 1.5 / self.fps):
                raise NeutralError(f"neutral = {neutral:g} s: no face is seen there; give another instant, or auto")
            chosen = frames[np.abs(frames - nearest) <= 2]
        else:
            strength = self.expression[frames][:, ~_GAZE].sum(1)
            chosen = frames[np.argsort(strength, kind="stable")[: max(1, round(_REST * len(frames)))]]
        return np.median(self.expression[chosen], axis=0)

    def to_track(self) -> Track:
        """As a capture, to drive a photo with: gaps are bridged or held as those of captures are."""
        from jr2net.expressions.tracks import parse_csv

        return parse_csv(self.to_csv(), f"{self.name}.csv")

    def to_csv(self) -> bytes:
        """CSV as Live Link Face writes it, with timecodes and the angles of head and eyes; frames without a face have a
        timecode alone."""
        return to_csv(self.expression, self.rotation, self.seconds, self.fps)

    def frame_json(self, frame: int) -> dict[str, Any]:
        """One frame, JSON-serialisable; without a face, expression and pose are null."""
        seen = bool(self.seen[frame])
        return {
            "seconds": round(float(self.seconds[frame]), 4),
            "expression": rounded(self.expression[frame], 4) if seen else None,
            "rotation": rounded(self.rotation[frame], 5) if seen else None,
            "translation": rounded(self.translation[frame], 2) if seen else None,
            **self._confidence_json(frame),
            **({"cut": True} if self.begins[frame] else {}),
        }

    def _confidence_json(self, frame: int) -> dict[str, Any]:
        if self.confidence is None or not np.isfinite(self.confidence[frame]):
            return {}
        doubtful = {"doubtful": True} if self.doubtful[frame] else {}
        return {"confidence": round(float(self.confidence[frame]), 3), **doubtful}

    def head_json(self) -> dict[str, Any]:
        """What is the same in all frames: rate, names of the coefficients, the person, the network, notes."""
        return {
            "name": self.name,
            "fps": round(self.fps, 4),
            "names": list(ARKIT_NAMES),
            "model": self.network.digest,
            **{name: rounded(value, 5) for name, value in self.still.items()},
            "notes": list(self.notes),
        }

    def to_json(self) -> dict[str, Any]:
        return {**self.head_json(), "frames": [self.frame_json(frame) for frame in range(len(self))]}

    def to_glb(self) -> bytes:
        """Binary glTF of the person's own mesh with its 51 blendshapes, animated: their weights and the head's pose.

        Frames without a face are filled as those of captures are (``jr2net.expressions.gaps``).
        """
        if not self.seen.any():
            raise OutputError(f"{self.name}: no frame shows a face, so there is no mesh to animate")
        expression, rotation, translation = (
            fill(np.arange(len(self)), values, self.fps)
            for values in (self.expression, self.rotation, self.translation)
        )
        motion = FaceMotion(self.seconds, expression, rotation, translation)
        zeros = {"expression": np.zeros(51, np.float32), "rotation": np.zeros(3, np.float32)}
        face = to_parameters([{**self.still, **zeros, "translation": np.zeros(3, np.float32)}])
        return animated_face_glb(self.model, face, motion)

    def save(self, path: str | Path) -> None:
        """Writes a .csv, .json or .glb. Raises OutputError or StorageError."""
        writers: dict[str, Callable[[], bytes]] = {
            ".csv": self.to_csv,
            ".json": lambda: (json.dumps(self.to_json()) + "\n").encode(),
            ".glb": self.to_glb,
        }
        extension = Path(path).suffix.lower()
        if extension not in writers:
            raise OutputError(f"{path}: unsupported extension; tracks are written as {', '.join(TRACK_FORMATS)}")
        storage.write_bytes(str(path), writers[extension]())
