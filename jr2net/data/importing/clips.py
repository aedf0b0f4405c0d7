"""One unit of a dataset to the rows of its clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from jr2net.data.importing.duplicates import clip_hash, perceptual_hash
from jr2net.data.importing.following import Follower, Sight, box_of
from jr2net.data.importing.settings import Gates, ImportSettings
from jr2net.data.importing.shots import failed_gate, sharpness, shots, smoothed_crops
from jr2net.data.readers.layout import Footage, Frame, Layout, Load, Problem, Unit
from jr2net.data.readers.problems import DatasetError
from jr2net.errors import StorageError, UserError
from jr2net.images.arrays import encode_jpeg, encode_matte
from jr2net.images.clip import ClipRow
from jr2net.images.crop import Crop
from jr2net.images.face_detector import FaceDetector, load_face_detector
from jr2net.images.photo import PhotoError
from jr2net.images.segmentation import Segmenter, load_segmenter
from jr2net.images.video import VideoError

ROW_FRAMES = 16
"""Most frames of a row."""

NO_FACE, BLURRED, SHORT = "no face", "blurred", "short clip"


@dataclass(frozen=True)
class Tools:
    """The networks of an import; None where they are not used."""

    detector: FaceDetector | None = None
    segment: Segmenter | None = None


@dataclass(frozen=True)
class ClipSummary:
    """What is remembered of a clip beside its rows. face: side of its largest face in pixels of the footage."""

    clip_id: str
    identity: str
    frames: int
    face: float
    hash: str


@dataclass
class Imported:
    """What has become of some units.

    rejected: number of frames that were left out, by reason. problems: units and files that gave nothing.
    """

    rows: list[ClipRow] = field(default_factory=list)
    clips: list[ClipSummary] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    def add(self, other: Imported) -> None:
        self.rows += other.rows
        self.clips += other.clips
        self.rejected += other.rejected
        self.problems += other.problems


@dataclass
class _Clip:
    """A clip that is being filled: what is known of each frame that is kept."""

    crops: dict[int, Crop]
    sights: dict[int, Sight]
    numbers: list[int] = field(default_factory=list)
    images: list[bytes] = field(default_factory=list)
    mattes: list[bytes] = field(default_factory=list)
    landmarks: list[np.ndarray] = field(default_factory=list)
    expressions: list[np.ndarray] = field(default_factory=list)
    hashes: list[np.ndarray] = field(default_factory=list)


def load_tools(settings: ImportSettings) -> Tools:
    """The networks that the settings ask for. Raises DetectorError or SegmenterError where they are not installed."""
    return Tools(
        detector=load_face_detector("mediapipe") if settings.detector else None,
        segment=load_segmenter() if settings.mattes else None,
    )


def import_unit(load: Load, layout: Layout, unit: Unit, settings: ImportSettings, tools: Tools) -> Imported:
    """The clips of a unit. A file that cannot be used is a problem of the result, by its name; StorageErrors and
    errors that are no UserErrors are raised."""
    found = Imported()
    try:
        footage = layout.read(load, unit)
        clips = _cut(footage, settings, tools, found.rejected)
        _fill(clips, footage, settings, tools, found.rejected)
    except StorageError:
        raise
    except UserError as error:
        found.problems.append(Problem(unit.name, _reason(error), _message(unit, error)))
        return found
    fewest = 1 if footage.still else settings.gates.frames
    kept = [clip for clip in clips if len(clip.numbers) >= fewest]
    found.rejected[SHORT] += sum(len(clip.numbers) for clip in clips if len(clip.numbers) < fewest)
    found.rejected = +found.rejected
    for number, clip in enumerate(kept, start=1):
        clip_id = unit.name if number == 1 else f"{unit.name}~{number}"
        found.rows += _rows(clip, clip_id, f"{settings.name}/{unit.identity}", footage.fps, settings)
        faces = (
            box_of(landmarks) for landmarks in (clip.sights[n].landmarks for n in clip.numbers) if landmarks is not None
        )
        face = max(max(right - left, bottom - top) for left, top, right, bottom in faces)
        found.clips.append(
            ClipSummary(clip_id, found.rows[-1].identity, len(clip.numbers), round(face, 1), clip_hash(clip.hashes))
        )
    if not kept:
        frames = sum(found.rejected.values())
        reason = found.rejected.most_common(1)[0][0] if frames else "no frames"
        counts = ", ".join(f"{count} {name}" for name, count in found.rejected.most_common())
        found.problems.append(
            Problem(
                unit.name, reason, f"{unit.files[0]}: none of {frames} frames can be used: {counts or 'it has none'}"
            )
        )
    return found


def _cut(footage: Footage, settings: ImportSettings, tools: Tools, rejected: Counter[str]) -> list[_Clip]:
    """Goes through the frames for the first time: finds the face in each and cuts the footage into clips."""
    follow = Follower(tools.detector, footage.still)
    sights = [follow(frame) for frame in _chosen(footage, settings.fps)]
    rejected[NO_FACE] += sum(sight.landmarks is None for sight in sights)
    seen = [sight for sight in sights if sight.landmarks is not None]
    clips = []
    for shot in [seen] if footage.still and seen else shots(sights, footage.fps):
        numbers = [sight.number for sight in shot]
        seconds = None if footage.still else np.array(numbers) / footage.fps
        crops = smoothed_crops([sight.landmarks for sight in shot if sight.landmarks is not None], seconds)
        kept = {sight.number: sight for sight in shot if not _rejects(sight, settings.gates, rejected)}
        clips.append(_Clip(dict(zip(numbers, crops)), kept))
    return clips


def _rejects(sight: Sight, gates: Gates, rejected: Counter[str]) -> bool:
    reason = failed_gate(sight.landmarks, gates) if sight.landmarks is not None else NO_FACE
    rejected[reason] += bool(reason)
    return bool(reason)


def _fill(
    clips: Sequence[_Clip], footage: Footage, settings: ImportSettings, tools: Tools, rejected: Counter[str]
) -> None:
    """Goes through the frames again: crops and encodes those that are kept."""
    owners = {number: clip for clip in clips for number in clip.sights}
    if not owners:
        return
    for frame in _chosen(footage, settings.fps):
        if (clip := owners.get(frame.number)) is None:
            continue
        crop, landmarks = clip.crops[frame.number], clip.sights[frame.number].landmarks
        assert landmarks is not None
        image = crop.apply(frame.image, settings.size)
        if sharpness(image) < settings.gates.sharpness:
            rejected[BLURRED] += 1
            continue
        clip.numbers.append(frame.number)
        clip.images.append(encode_jpeg(image))
        clip.landmarks.append(crop.to_crop(landmarks.astype(np.float64), settings.size))
        clip.hashes.append(perceptual_hash(image))
        if frame.expression is not None:
            clip.expressions.append(frame.expression)
        if tools.segment is not None:
            clip.mattes.append(encode_matte(tools.segment(image)))


def _rows(clip: _Clip, clip_id: str, identity: str, fps: float, settings: ImportSettings) -> Iterator[ClipRow]:
    """Rows of consecutive frames."""
    numbers = np.array(clip.numbers, np.int32)
    usual = int(np.median(np.diff(numbers))) if len(numbers) > 1 else 1
    start = 0
    for end in range(1, len(numbers) + 1):
        whole = end == len(numbers) or end - start == ROW_FRAMES
        if not whole and numbers[end] - numbers[end - 1] <= usual + 1:
            continue
        part = slice(start, end)
        yield ClipRow(
            clip_id=clip_id,
            identity=identity,
            fps=fps,
            frame=numbers[part],
            images=tuple(clip.images[part]),
            landmarks=np.stack(clip.landmarks[part]).astype(np.float32),
            license=settings.licence,
            matte=tuple(clip.mattes[part]) if clip.mattes else None,
            expression=np.stack(clip.expressions[part]).astype(np.float32) if clip.expressions else None,
        )
        start = end


def _chosen(footage: Footage, fps: float | None) -> Iterator[Frame]:
    """The frames, or evenly spaced ones where the footage has more than ``fps`` a second."""
    for frame in footage.frames():
        part = 1.0 if fps is None or footage.still else min(1.0, fps / footage.fps)
        if int((frame.number + 1) * part + 1e-6) > int(frame.number * part + 1e-6):
            yield frame


def _reason(error: UserError) -> str:
    """A few words, by which such errors are counted."""
    if isinstance(error, DatasetError):
        return error.reason
    if isinstance(error, VideoError | PhotoError):
        kind = "video" if isinstance(error, VideoError) else "picture"
        return {"broken": f"damaged {kind}", "large": f"{kind} too large", "format": f"unknown {kind} format"}[
            error.kind
        ]
    return "damaged capture" if type(error).__name__ == "TrackError" else "cannot be used"


def _message(unit: Unit, error: UserError) -> str:
    """The error's message, with the name of the file if it has none."""
    text = str(error)
    return text if any(text.startswith(name) for name in unit.files) else f"{unit.files[0]}: {text}"
