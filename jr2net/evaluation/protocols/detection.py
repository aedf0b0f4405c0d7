"""``detection``: which faces the detectors find in pictures, and where they see one that is none.

Data: clip shards, whose landmarks say where the faces are. Their frames are pasted at random sizes into pictures of 720
lines; ``pictures`` is a folder of photos without faces for these, otherwise all are drawn. Every detector that is
installed is measured on the same pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from pydantic import Field

from jr2net.data.clips import ClipSource
from jr2net.data.shards import list_shards
from jr2net.evaluation.confidence import DESCRIBES, answers, reliability
from jr2net.evaluation.detection import Pasted, found, milliseconds, paste_faces, read_pictures
from jr2net.evaluation.protocols.protocol import Protocol, ProtocolError, ProtocolSettings, Systems
from jr2net.evaluation.protocols.result import Figure, Measured, Missing, Result, Table
from jr2net.evaluation.statistics import Estimate, compare_all, estimate
from jr2net.images.face_detector import DETECTORS, DetectorError, FaceDetector, detector_for_frames, load_face_detector

TITLE = "Faces found in pictures, and false alarms"

SIZES = (24, 48, 96, 192, 600)
"""Bounds of the classes of sizes, in pixels."""

_TITLES = {"own": "ours", "mediapipe": "MediaPipe, short range"}
_FIGURES = (
    Figure("found", "Faces found at IoU 0.5", "%", 1, 1),
    Figure("alarms", "Pictures without a face in which one is seen", "%", 1),
    Figure("others", "Other faces seen beside a pasted one", "a picture", 3),
    Figure("landmarks", "Distance of the inner landmarks over the eyes'", "", 3),
    Figure("ms", "Processor time of a 720p photo", "ms", 0),
    Figure("frame_ms", "Processor time of a 720p frame of a video", "ms", 0),
)

_RELIABILITY = (
    Figure("answers", "Answers", "", 0, 0),
    Figure("confidence", "Mean confidence", "%", 0, 0),
    Figure("right", "Right in fact", "%", 0, 0),
)


class DetectionSettings(ProtocolSettings):
    """Settings of ``detection``."""

    limit: int = Field(800, ge=1, description="largest number of frames that are pasted")
    pictures: str | None = Field(None, description="folder of photos without faces; none: all pictures are drawn")
    draws: int = Field(500, ge=100, description="of the bootstrap")


def measure(data: str, systems: Systems, settings: DetectionSettings) -> Result:
    """See the module. Raises ShardError or StorageError naming the file, ProtocolError where no frame has landmarks."""
    clips = ClipSource(list_shards(data))
    pasted = list(paste_faces(clips, read_pictures(settings.pictures), settings.limit, settings.seed))
    if not pasted:
        raise ProtocolError(f"{data}: no frame has landmarks; give clips with the places of their faces")
    detectors, missing = dict[str, FaceDetector](), []
    for kind in DETECTORS:
        try:
            detectors[_TITLES[kind]] = load_face_detector(kind)
        except DetectorError as error:
            missing.append(Missing(_TITLES[kind], str(error)))
    rows, by_size = dict[str, Mapping[str, Estimate]](), dict[str, Mapping[str, Estimate]]()
    samples: dict[str, dict[str, np.ndarray]] = {"found": {}, "alarms": {}}
    for name, detector in detectors.items():
        rows[name], by_size[name], each = _measure(detector, pasted, settings)
        for figure, values in samples.items():
            values[name] = each[figure]
    people = [picture.identity for picture in pasted]
    compared = [
        comparison
        for figure, values in samples.items()
        for comparison in compare_all(figure, values, people, settings.draws, settings.seed)
    ]
    reliable = {
        f"{method}: {bounds}": {
            "answers": Estimate(count),
            "confidence": Estimate(100 * sure),
            "right": Estimate(100 * right),
        }
        for method, reconstructor in systems.reconstructors().items()
        for bounds, count, sure, right in reliability(answers(pasted, reconstructor, load_face_detector()))
    }
    columns = tuple(Figure(key, f"{key} pixels", "%", 1, 1) for key in _classes())
    tables = (
        Table(
            "all",
            f"{len(pasted)} faces, {len(pasted)} pictures without one",
            _FIGURES,
            rows,
            tuple(compared),
            upright=True,
        ),
        Table("sizes", "Faces found, by the longer side of their box", columns, by_size),
        Table("reliability", "Answers by their confidence", _RELIABILITY, reliable),
    )
    return Result(
        "detection",
        TITLE,
        data,
        tables,
        Measured("images", len(pasted), len(pasted), len(set(people))),
        missing=tuple(missing),
        notes=(
            "The true box is around the clip's own landmarks. Times are the medians of 20 pictures with a face.",
            "Answers: every face that the default detector finds, and one for the box of the face in the same picture "
            f"without it. Right: the fit lies on the face, within {DESCRIBES:g} sides of its box on average.",
        ),
        settings=settings.model_dump(),
    )


def _measure(
    detector: FaceDetector, pasted: Sequence[Pasted], settings: DetectionSettings
) -> tuple[Mapping[str, Estimate], Mapping[str, Estimate], Mapping[str, np.ndarray]]:
    """Figures of all pictures, faces found by size, and figure -> (pictures,) what it is the mean of."""
    hits, others, errors = [], [], []
    for picture in pasted:
        faces = detector(picture.image)
        face = found(faces, picture.box)
        hits.append(100.0 * (face is not None))
        others.append(float(len(faces) - (face is not None)))
        if face is not None and face.landmarks is not None:
            errors.append(_distance(face.landmarks, picture.landmarks))
    alarms = [100.0 * bool(detector(picture.empty)) for picture in pasted]
    people = [picture.identity for picture in pasted]
    samples = {name: np.array(each) for name, each in (("found", hits), ("alarms", alarms), ("others", others))}
    rows = {name: estimate(each, people, draws=settings.draws, seed=settings.seed) for name, each in samples.items()}
    rows["landmarks"] = Estimate(float(np.mean(errors)) if errors else float("nan"))
    some = [picture.image for picture in pasted[:20]]
    rows["ms"] = Estimate(milliseconds(detector, some))
    rows["frame_ms"] = Estimate(milliseconds(detector_for_frames(detector) or detector, some))
    sides = np.array([picture.side for picture in pasted])
    classes = np.digitize(sides, SIZES[1:-1])
    chosen = {key: np.array(hits)[classes == number] for number, key in enumerate(_classes())}
    by_size = {key: Estimate(float(values.mean())) for key, values in chosen.items() if len(values)}
    return rows, by_size, samples


def _classes() -> list[str]:
    return [f"{low} to {high}" for low, high in pairwise(SIZES)]


def _distance(landmarks: np.ndarray, truth: np.ndarray) -> float:
    return float(np.linalg.norm((landmarks - truth)[17:], axis=-1).mean() / np.linalg.norm(truth[36] - truth[45]))


PROTOCOL = Protocol("detection", TITLE, measure, DetectionSettings)
