"""The confidence of an answer: high on a face, low where there is none or only a part of one; and without MediaPipe."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from jr2net.cli import main
from jr2net.evaluation.confidence import Answer, fit_logistic, reliability
from jr2net.expressions.tracks import Track
from jr2net.inference.confidence import LOW
from jr2net.inference.face import FittedFace
from jr2net.inference.framing import fraction_inside
from jr2net.inference.photo import NoFaceError, Photo, installed_detector
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor

SAMPLE = str(Path(__file__).parents[2] / "serve" / "page" / "sample.jpg")
BOX = (153, 158, 510, 516)


@pytest.fixture(scope="module")
def reconstructor() -> Reconstructor:
    return Reconstructor.load()


@pytest.fixture(scope="module")
def face(reconstructor: Reconstructor) -> FittedFace:
    return reconstructor(Photo.open(SAMPLE, box=BOX))


def fitted_in_its_box(reconstructor: Reconstructor, image: np.ndarray) -> FittedFace:
    return reconstructor(Photo.from_image(image, box=BOX))


def test_a_face_has_a_high_confidence(face: FittedFace) -> None:
    answer = face.to_json()
    assert 0.8 < answer["confidence"] <= 1 and answer["notes"] == []


def test_a_box_without_a_face_has_a_low_one_and_the_notes_say_so(reconstructor: Reconstructor) -> None:
    rng = np.random.default_rng(0)
    for picture in (np.full((640, 640, 3), 140, np.uint8), rng.integers(0, 255, (640, 640, 3), np.uint8)):
        answer = fitted_in_its_box(reconstructor, picture).to_json()
        assert answer["confidence"] < 0.1
        assert answer["notes"][0].startswith("the confidence is low (0.0")


def test_less_of_a_face_has_less_confidence(reconstructor: Reconstructor, face: FittedFace) -> None:
    half, masked, eyeless = (face.photo.image.copy() for _ in range(3))
    half[:, 300:] = 90
    masked[370:] = (200, 215, 235)
    eyeless[:300] = (200, 215, 235)
    for image in (half, masked, eyeless):
        assert fitted_in_its_box(reconstructor, image).confidence < min(LOW, face.confidence - 0.3)


def test_a_face_that_the_picture_cuts_off_has_a_low_one(reconstructor: Reconstructor, face: FittedFace) -> None:
    left, top, right, bottom = (round(v) for v in face.photo.face.box)
    brows, nose = round(float(face.landmarks[17:27, 1].mean())), round(float(face.landmarks[30, 1]))
    middle, margin = (left + right) // 2, 10
    cut = {
        "forehead": (left - margin, brows - 3, right + margin, bottom + margin),
        "below the nose": (left - margin, top - 150, right + margin, nose),
        "half": (left - margin, top - 150, middle, bottom + margin),
    }
    for name, (x, y, x_end, y_end) in cut.items():
        part = face.photo.image[y:y_end, x:x_end].copy()
        box = (left - x, top - y, right - x, bottom - y)
        assert reconstructor(Photo.from_image(part, box=box)).confidence < LOW, name
    # Hair, ears and chin at the border are how many pictures are framed.
    part = face.photo.image[top - 60 : bottom + 2, left - 2 : right + 2].copy()
    whole = reconstructor(Photo.from_image(part, box=(2, 60, right - left + 2, bottom - top + 60)))
    assert whole.confidence > 0.8


@pytest.mark.parametrize("turn", [0.0, 0.7, 3.1])
def test_the_fraction_of_a_face_inside_of_its_picture(face: FittedFace, turn: float) -> None:
    points = face.landmarks - face.landmarks.mean(0)
    points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    assert fraction_inside((2000, 2000), points + 1000) == 1
    assert fraction_inside((2000, 2000), points + 5000) == 0
    assert 0.3 < fraction_inside((2000, 1000), points + 1000) < 0.7


def test_a_generated_picture_says_how_sure_its_faces_are(reconstructor: Reconstructor, face: FittedFace) -> None:
    reenactor = Reenactor.load(reconstructor=reconstructor)
    nobody = fitted_in_its_box(reconstructor, np.full((640, 640, 3), 140, np.uint8))
    sure = reenactor(face, {"jawOpen": 0.5})
    assert sure.source.confidence > 0.8 and sure.driving is None and sure.notes == ()
    driven = reenactor(face, driving=nobody)
    assert driven.source.confidence > 0.8 and driven.driving is not None and driven.driving.confidence < 0.1
    assert [note[:35] for note in driven.notes] == ["driving: the confidence is low (0.0"]
    film = reenactor.animate(nobody, Track("take", np.zeros((2, 51), np.float32), 30.0))
    assert film.notes[0].startswith("source: the confidence is low (0.0")


def test_everything_works_where_mediapipe_cannot_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    installed_detector.cache_clear()
    assert main(["reconstruct", SAMPLE, "--formats", "json", "-o", str(tmp_path)]) == 0
    answer = json.loads((tmp_path / "sample.json").read_text())
    assert answer["faces_found"] == 1 and answer["confidence"] > 0.8
    np.testing.assert_allclose(answer["box"], BOX, atol=30)
    assert "confidence 0.98" in capsys.readouterr().out
    assert main(["reconstruct", SAMPLE, "--detector", "mediapipe", "-o", str(tmp_path)]) == 1
    assert "MediaPipe's face detector is not installed" in capsys.readouterr().err


def test_a_picture_without_a_face_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    with pytest.raises(NoFaceError, match="no face was found"):
        Photo.from_image(noise, detector=installed_detector())


def test_calibration_finds_the_probabilities_that_labels_were_drawn_with() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(0, 2, (4000, 2))
    truth = 1 / (1 + np.exp(-(0.5 + features @ [1.0, -2.0])))
    labels = (rng.random(4000) < truth).astype(float)
    assert fit_logistic(features, labels) == pytest.approx([0.5, 1.0, -2.0], abs=0.2)
    found = [Answer(float(sure), bool(right)) for sure, right in zip(truth, labels)]
    for _, count, sure, right in reliability(found):
        assert count > 100 and right == pytest.approx(sure, abs=0.08)
