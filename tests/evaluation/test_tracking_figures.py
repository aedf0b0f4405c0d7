"""Figures of tracked expressions, and how late answers are in video."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jr2net.config import BackboneConfig
from jr2net.data.readers.expressions import LabelledImages
from jr2net.evaluation.tracking import by_shape, delays, figures, parts, systems_of, track
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.model import FaceModel
from jr2net.inference.messages import ModelInfo
from jr2net.inference.reconstruction import Reconstructor
from jr2net.networks.recnet import RecNet

FRAMES, RATE = 120, 25.0


def smile(late: float = 0.0) -> np.ndarray:
    """Coefficients (FRAMES, 51) of a face that smiles, a little unevenly, now and then."""
    times = (np.arange(FRAMES) - late) / RATE
    expression = np.zeros((FRAMES, len(ARKIT_NAMES)))
    for side, speed in (("Left", 3.0), ("Right", 3.2)):
        expression[:, ARKIT_NAMES.index(f"mouthSmile{side}")] = 0.5 + 0.3 * np.sin(speed * times) * np.sin(times)
    return expression


def labelled(kinds: list[str]) -> LabelledImages:
    return LabelledImages(
        "set",
        smile(),
        "exact",
        ["a"] * FRAMES,
        lambda number: np.full((32, 32, 3), number, np.uint8),
        {},
        kinds,
        {"late": smile(2)},
        [(np.arange(FRAMES), RATE)],
    )


@pytest.fixture
def images() -> LabelledImages:
    return labelled([""] * FRAMES)


def test_trivial_answers_and_those_of_the_set_stand_beside_ours(images: LabelledImages) -> None:
    found = {name: figures(answers, images.truth) for name, answers in systems_of(images, {"ours": smile()}).items()}
    assert list(found) == ["Zero", "Mean", "late", "ours"]
    assert found["ours"]["mae"] == 0 and found["ours"]["correlation smiles"] == pytest.approx(1)
    assert found["Zero"]["mae"] == pytest.approx(images.truth.mean())
    assert found["Mean"]["mae smiles"] < found["Zero"]["mae smiles"]
    assert found["Mean"]["correlation"] == found["Zero"]["correlation"] == 0
    assert 0.5 < found["late"]["correlation"] < 1
    assert np.isnan(found["ours"]["correlation blinks"]), "no blink in the truth"


def test_every_blendshape_has_what_the_truth_decides() -> None:
    shapes = by_shape(smile(), smile())
    assert list(shapes) == list(ARKIT_NAMES)
    assert shapes["mouthSmileLeft"]["correlation"] == pytest.approx(1) and "side_bias" in shapes["mouthSmileLeft"]
    assert set(shapes["jawOpen"]) == {"mae", "bias"}


def test_delays_are_measured_in_video(images: LabelledImages) -> None:
    late = delays(images, smile(2))
    assert late["delay_frames"] == pytest.approx(2, abs=0.1)
    assert late["delay_ms"] == pytest.approx(80, abs=4) and late["fps"] == RATE
    assert 0 < late["smoothing_frames"] < 4
    assert late["smoothed_frames"] == pytest.approx(late["delay_frames"] + late["smoothing_frames"], abs=0.5)
    assert delays(images, np.zeros_like(images.truth)) == {"fps": RATE}


def test_kinds_are_evaluated_apart(images: LabelledImages) -> None:
    assert {name: len(chosen) for name, chosen in parts(images).items()} == {"all": FRAMES}
    kinds = ["take"] * 100 + ["only"] * 19 + ["neutral"]
    assert {name: len(chosen) for name, chosen in parts(labelled(kinds)).items()} == {"take": 100, "only": 19}


def test_a_network_tracks_every_image_by_itself(images: LabelledImages, procedural_model: FaceModel) -> None:
    torch.manual_seed(0)
    network = RecNet(procedural_model.sizes, BackboneConfig(layers=10, width=8)).eval()
    torch.nn.init.normal_(network.expression.linear.weight, std=0.05)
    reconstructor = Reconstructor(network, procedural_model, ModelInfo("recnet", "digest", 32, 5.0), batch_size=50)
    tracked = track(reconstructor, images)
    assert tracked.expression.shape == images.truth.shape and 0 < tracked.seconds < 60
    alone = reconstructor.fit([images.image(77)])[0].face["expression"]
    np.testing.assert_allclose(tracked.expression[77], alone, atol=1e-5)
