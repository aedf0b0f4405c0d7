"""Images of reconstructed faces: errors that are seen where they are, and faces without their expression."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from untrained_run import configuration

from jr2net.data.evaluation_frames import load_frames, spaced_frames
from jr2net.evaluation import Bench
from jr2net.evaluation.figures import Grid
from jr2net.evaluation.reconstruction import ground_truth, measure_frames
from jr2net.evaluation.reconstruction_grids import LARGEST_MM, _colours, reconstruction_grids
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters


@pytest.fixture(scope="module")
def bench(folders: dict[str, str], procedural_model: FaceModel) -> Bench:
    return Bench.load(configuration("dcnet", folders["prepare"]), procedural_model, folders)


@pytest.fixture(scope="module")
def frames(bench: Bench) -> dict:
    clips = bench.sets["large"]
    return load_frames(clips, spaced_frames(clips, 2), bench.cascade.camera.size)


@pytest.fixture(scope="module")
def truth(frames: dict) -> FaceParameters:
    found = ground_truth(frames)
    assert found is not None
    return found


def column(grid: Grid, name: str) -> list[np.ndarray]:
    images = [row.images[grid.columns.index(name)] for row in grid.rows]
    assert all(image is not None for image in images)
    return images  # type: ignore[return-value]


def test_no_error_is_blue_and_a_large_one_red() -> None:
    none, largest, unknown = _colours(np.array([[0.0, 2 * LARGEST_MM, np.nan]]))[0]
    assert none.argmax() == 2 and largest.argmax() == 0 and unknown.unique().numel() == 1


def test_errors_are_shown_where_they_are(bench: Bench, frames: dict, truth: FaceParameters) -> None:
    """A perfect fit has one colour; a mouth that is not opened has another colour below than above."""
    closed = truth.replace(expression=torch.zeros_like(truth.expression))
    opened = truth.replace(expression=torch.nn.functional.one_hot(torch.tensor([17] * len(truth)), 51).float())
    grids = reconstruction_grids(bench, "large", frames, {"RecNet": opened, "RecAugNet": closed}, opened, [0, 1])
    errors = grids[1]
    assert errors.title == "Errors: large" and errors.columns == ("input", "MeanFace", "RecNet", "RecAugNet")
    for perfect, wrong in zip(column(errors, "RecNet"), column(errors, "RecAugNet")):
        middle = perfect.shape[0] // 2
        assert len(np.unique(perfect.reshape(-1, 3), axis=0)) < len(np.unique(wrong.reshape(-1, 3), axis=0))
        differs = np.abs(perfect.astype(int) - wrong).sum(2)
        assert differs[middle:].mean() > differs[: middle // 2].mean()


def test_faces_are_shown_without_and_with_their_expression(bench: Bench, frames: dict, truth: FaceParameters) -> None:
    fits = {"RecNet": truth.replace(expression=torch.zeros_like(truth.expression)), "RecAugNet": truth}
    apart = reconstruction_grids(bench, "large", frames, fits, truth, [1])[2]
    assert apart.title == "Shape and expression apart: large"
    without, with_it = (column(apart, name)[0] for name in ("RecAugNet, no expression", "RecAugNet"))
    assert not np.array_equal(without, with_it)
    np.testing.assert_array_equal(with_it, column(apart, "ground truth")[0])
    np.testing.assert_array_equal(column(apart, "RecNet, no expression")[0], column(apart, "RecNet")[0])
    np.testing.assert_array_equal(column(apart, "RecNet")[0], without)


def test_without_ground_truth_no_errors_are_shown(bench: Bench, frames: dict, truth: FaceParameters) -> None:
    grids = reconstruction_grids(bench, "held_out", frames, {"RecNet": truth}, None, [0])
    assert [grid.title for grid in grids] == ["Overlays: held out", "Shape and expression apart: held out"]
    assert grids[1].columns == ("input", "RecNet, no expression", "RecNet")


def test_parts_show_the_frames_that_are_asked_for(bench: Bench) -> None:
    clips = bench.sets["large"]
    refs = spaced_frames(clips, 3)
    with torch.inference_mode():
        shown = measure_frames(bench, "large", refs, [0, 1, 2], [2])
        hidden = measure_frames(bench, "large", refs, [], [])
    assert [len(grid.rows) for grid in shown.grids] == [1, 1, 1] and hidden.grids == ()
