"""``aflw2000``: landmarks and head pose on AFLW2000-3D (Zhu et al. 2016), by yaw.

Data: the folder of the set, a photo and a ``.mat`` for every face. Every system is given the box of the true
landmarks, as published methods are. ``--predictions``: a folder with, for every ``NAME.jpg``, the ``NAME.json`` that
``jr2net reconstruct`` writes, of which ``landmarks`` (68 points in pixels of the photo, edges at integers) and
``rotation`` (pitch, yaw, roll in radians, the project's convention) are read; either may be absent, of all
faces alike.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from jr2net import storage
from jr2net.data.readers.layout import Folder, Problem, Survey, load_photo, stem
from jr2net.data.readers.mat import MatFace, parse_mat, to_published
from jr2net.data.readers.pairs import find_pairs
from jr2net.data.readers.problems import DatasetError, check_points
from jr2net.evaluation.figures import draw_points
from jr2net.evaluation.metrics.landmarks import box_nme
from jr2net.evaluation.metrics.pose import ANGLES, YAW_BINS, by_yaw, count_by_yaw, pose_errors
from jr2net.evaluation.protocols.protocol import Protocol, ProtocolError, ProtocolSettings, Systems
from jr2net.evaluation.protocols.result import Figure, Measured, Missing, Result, Table
from jr2net.evaluation.statistics import Estimate, compare_all, estimate_figures
from jr2net.face.landmarks import LANDMARKS
from jr2net.face.model import FaceModel
from jr2net.images.arrays import encode_jpeg
from jr2net.images.photo import PhotoError
from jr2net.inference.face import FittedFace
from jr2net.inference.photo import Photo
from jr2net.inference.reconstruction import Reconstructor

Array = NDArray[np.float64]

TITLE = "Landmarks and head pose by yaw, AFLW2000-3D"

TRIVIAL = "Frontal mean face"
"""The mean face, looking into the camera, put into the box: what the box alone tells."""

_BATCH = 16
_TRUE, _FOUND = (0, 255, 160), (255, 60, 60)

_NME = (
    *(Figure(f"nme {name}", f"Yaw {name}", "%") for name in YAW_BINS),
    Figure("nme mean", "Mean of the three", "%"),
    Figure("nme std", "STD of the three", "%", 2, 0),
    Figure("nme all", "All faces", "%"),
)
_POSE = tuple(Figure(f"pose {name}", "MAE" if name == "mae" else name.capitalize(), "°") for name in (*ANGLES, "mae"))


class Aflw2000Settings(ProtocolSettings):
    """Settings of ``aflw2000``."""

    overlays: int = Field(12, ge=0, description="number of faces, evenly spaced, that are drawn with -o")


@dataclass(frozen=True)
class LabelledPhoto:
    """A photo (H, W, 3) uint8 RGB of the set, its truth, and its name without the ending."""

    name: str
    image: np.ndarray
    truth: MatFace

    def photo(self) -> Photo:
        """With the box of the true landmarks."""
        return Photo.from_image(self.image, box=self.box, name=self.name)

    @property
    def box(self) -> list[float]:
        """Left, top, right, bottom of the true landmarks."""
        return [*self.truth.landmarks.min(0).tolist(), *self.truth.landmarks.max(0).tolist()]


Answer = tuple[np.ndarray, np.ndarray]
"""What a system says of a face: landmarks (68, 2), and pitch, yaw and roll (3,) as published; NaN where it does not."""


def measure(data: str, systems: Systems, settings: Aflw2000Settings) -> Result:
    """See the module. Raises ProtocolError or DatasetError naming the folder or file."""
    folder, survey = Folder(data), Survey()
    pairs = find_pairs(folder, (".mat",), survey)
    if not pairs:
        raise ProtocolError(f"{data}: holds no photo with a .mat beside it; give the folder of AFLW2000-3D")
    names = [stem(photo) for photo, _ in pairs]
    reconstructors = systems.reconstructors()
    shown = {names[index] for index in np.linspace(0, len(names) - 1, settings.overlays).round().astype(int)}
    answers: dict[str, list[Answer]] = defaultdict(list)
    truths: list[MatFace] = []
    measured: list[str] = []
    pictures: dict[str, bytes] = {}
    for faces in _read(folder, pairs, survey):
        truths += [face.truth for face in faces]
        measured += [face.name for face in faces]
        answers[TRIVIAL] += [_frontal(systems.model, face) for face in faces]
        for method, theirs in systems.predictions.items():
            answers[method] += [_prediction(theirs, face.name) for face in faces]
        for method, reconstructor in reconstructors.items():
            for face, fitted in zip(faces, _fit(reconstructor, faces), strict=True):
                answers[method].append((fitted.landmarks, to_published(fitted.fit.face["rotation"])))
                if face.name in shown:
                    pictures[f"{face.name.replace('/', '_')} {method}.jpg"] = _overlay(face, fitted)
    if not truths:
        raise ProtocolError(f"{data}: none of {len(pairs)} faces can be used, e.g. {survey.problems[-1].message}")
    for method, theirs in systems.predictions.items():
        _check_complete(method, theirs, measured, answers[method])
    photos = [str(number) for number in range(len(truths))]  # every photo is of a person of its own
    counts = count_by_yaw(np.array([truth.published[1] for truth in truths]))  # type: ignore[index]
    rows = {
        method: _of_bins(
            estimate_figures(partial(_figures, _joined(found), truths), photos, settings.draws, settings.seed), counts
        )
        for method, found in answers.items()
    }
    errors = {method: _errors(_joined(found), truths) for method, found in answers.items()}
    bootstrap = settings.draws, settings.seed
    compared = {
        figure: compare_all(figure, {name: each[figure] for name, each in errors.items()}, photos, *bootstrap)
        for figure in ("nme all", "pose mae")
    }
    return Result(
        "aflw2000",
        TITLE,
        data,
        (
            Table("landmarks", "Landmark error by yaw (68 points, size of the box)", _NME, rows, compared["nme all"]),
            Table("pose", "Pose error", _POSE, rows, compared["pose mae"]),
        ),
        Measured("faces", len(truths), len(names), len(truths)),
        quarantined=tuple(Missing(problem.name, problem.message) for problem in survey.problems),
        missing=_missing(rows[TRIVIAL]),
        notes=(
            "NME: mean distance of the 68 points, of which the true ones lie on the 3D face also where it hides them, "
            "over the square root of the area of their box. STD: of the three bins.",
            f"Faces by yaw: {', '.join(f'{count} in {name}' for name, count in counts.items())}. A bin of one face has "
            "no interval.",
            "Pose: mean absolute error of the file's angles, without the faces of which one is above 99°.",
            "Every system is given the box of the true landmarks; the frontal mean face knows nothing else.",
        ),
        settings=settings.model_dump(),
        files=pictures,
    )


def _read(folder: Folder, pairs: Sequence[tuple[str, str]], survey: Survey) -> Iterator[list[LabelledPhoto]]:
    """The faces in batches; those that cannot be used are noted in ``survey``."""
    for first in range(0, len(pairs), _BATCH):
        faces = []
        for photo, label in pairs[first : first + _BATCH]:
            try:
                faces.append(_read_face(folder, photo, label))
            except (DatasetError, PhotoError) as error:
                survey.problems.append(Problem(stem(photo), "", str(error)))
        yield faces


def _read_face(folder: Folder, photo: str, label: str) -> LabelledPhoto:
    """Raises DatasetError or PhotoError naming the file."""
    truth = parse_mat(folder.load(label), label)
    if truth.published is None:
        raise DatasetError("no pose", f"{label}: has no Pose_Para; give the dataset's own file")
    try:
        image = load_photo(folder.load, photo)
    except PhotoError as error:
        raise PhotoError(error.kind, f"{photo}: {error}") from None
    check_points(truth.landmarks, label, image.shape[1], image.shape[0])
    return LabelledPhoto(stem(photo), image, truth)


def _fit(reconstructor: Reconstructor, faces: Sequence[LabelledPhoto]) -> list[FittedFace]:
    return reconstructor([face.photo() for face in faces])


def _prediction(folder: str, name: str) -> Answer:
    """Of ``NAME.json``. Raises ProtocolError or StorageError naming the file."""
    uri = storage.join(folder, f"{name}.json")
    try:
        tree = json.loads(storage.read_bytes(uri))
        landmarks = np.array(tree.get("landmarks", np.full((LANDMARKS, 2), np.nan)), np.float64)
        rotation = np.array(tree["rotation"], np.float64) if "rotation" in tree else None
    except (ValueError, AttributeError, TypeError) as error:
        raise ProtocolError(f"{uri}: is not the JSON of a face ({error}); see `jr2net reconstruct`") from None
    if landmarks.shape != (LANDMARKS, 2) or (rotation is not None and rotation.shape != (3,)):
        raise ProtocolError(f"{uri}: landmarks must be 68 × 2 numbers, and rotation 3")
    return landmarks, np.full(3, np.nan) if rotation is None else to_published(rotation)


def _check_complete(method: str, folder: str, names: Sequence[str], answers: Sequence[Answer]) -> None:
    """Raises ProtocolError where a system leaves out some faces, or points of them: others would be measured on all."""
    for key, values in zip(("landmarks", "rotation"), _joined(answers), strict=True):
        known = np.isfinite(values).reshape(len(values), -1)
        if known.any() and not known.all():
            lacking = storage.join(folder, f"{names[int(np.argmin(known.all(1)))]}.json")
            raise ProtocolError(
                f"{lacking}: {method} leaves out {key} of {np.sum(~known.all(1))} of {len(names)} faces; "
                "give them of every face or of none"
            )


def _frontal(model: FaceModel, face: LabelledPhoto) -> Answer:
    """The model's mean landmarks, seen from the front, with the centre and the area of the face's box."""
    points = model.mean[model.landmarks, :2].double().cpu().numpy() * (1, -1)
    low, high = points.min(0), points.max(0)
    left, top, right, bottom = face.box
    scale = np.sqrt((right - left) * (bottom - top) / (high - low).prod())
    return (points - (low + high) / 2) * scale + ((left + right) / 2, (top + bottom) / 2), np.zeros(3)


def _joined(answers: Sequence[Answer]) -> tuple[Array, Array]:
    landmarks, angles = zip(*answers)
    return np.stack(landmarks).astype(np.float64), np.stack(angles).astype(np.float64)


def _figures(found: tuple[Array, Array], truths: Sequence[MatFace], drawn: NDArray[np.int64]) -> dict[str, float]:
    """Of the drawn faces: NME in percent, and pose errors in degrees."""
    true_landmarks = np.stack([truths[number].landmarks for number in drawn]).astype(np.float64)
    angles = np.stack([truths[number].published for number in drawn]).astype(np.float64)  # type: ignore[misc]
    landmarks, predicted = (each[drawn] for each in found)
    errors = 100 * box_nme(torch.from_numpy(landmarks), torch.from_numpy(true_landmarks)).numpy()
    figures = {f"nme {name}": value for name, value in by_yaw(errors, angles[:, 1]).items()}
    figures["nme all"] = float(errors.mean())
    return figures | {f"pose {name}": value for name, value in pose_errors(predicted, angles).items()}


def _errors(found: tuple[Array, Array], truths: Sequence[MatFace]) -> dict[str, Array]:
    """Of each face: NME in percent, and the mean pose error in degrees; NaN for a pose that does not count."""
    each = [_figures(found, truths, np.array([number])) for number in range(len(truths))]
    return {key: np.array([figures[key] for figures in each]) for key in ("nme all", "pose mae")}


def _of_bins(row: dict[str, Estimate], counts: Mapping[str, int]) -> dict[str, Estimate]:
    """The estimates with the number of faces of each bin; without an interval where a bin has a single face."""
    found = {f"nme {name}": (count, count) for name, count in counts.items()}
    fewest = min(counts.values())
    found |= {f"nme {name}": (fewest, sum(counts.values())) for name in ("mean", "std")}
    return row | {
        name: replace(row[name], people=faces) if least > 1 else Estimate(row[name].value, people=faces)
        for name, (least, faces) in found.items()
    }


def _missing(row: Mapping[str, Estimate]) -> tuple[Missing, ...]:
    """Bins without faces."""
    return tuple(
        Missing(f"faces with a yaw in {name}", "there are none: the mean of the three bins needs some in each")
        for name in YAW_BINS
        if not np.isfinite(row[f"nme {name}"].value)
    )


def _overlay(face: LabelledPhoto, fitted: FittedFace) -> bytes:
    """JPEG: the photo, and the fit over it with the true landmarks in green and those found in red."""
    overlay = fitted.overlay()
    draw_points(overlay, face.truth.landmarks, _TRUE)
    draw_points(overlay, fitted.landmarks, _FOUND)
    return encode_jpeg(np.concatenate([face.image, overlay], 1))


PROTOCOL = Protocol("aflw2000", TITLE, measure, Aflw2000Settings)
