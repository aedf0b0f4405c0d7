import numpy as np
import pytest
import torch

from jr2net.evaluation.figures import (
    OVERLAY_SIZE,
    Grid,
    GridRow,
    draw_points,
    expression_grid,
    overlay_grid,
    picture_grid,
    to_pictures,
)
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel


@pytest.fixture(scope="module")
def plate() -> FaceModel:
    """A square of skin, 100 mm wide, facing the camera."""
    mean = torch.tensor([[-50.0, -50, 0], [50, -50, 0], [50, 50, 0], [-50, 50, 0]])
    return FaceModel(
        mean=mean,
        faces=torch.tensor([[0, 1, 2], [0, 2, 3]]),
        identity_basis=torch.zeros(2, 4, 3),
        expression_basis=torch.zeros(51, 4, 3),
        albedo_mean=torch.full((4, 3), 0.5),
        albedo_basis=torch.zeros(2, 4, 3),
        landmarks=torch.zeros(68, dtype=torch.int64),
        labels=torch.zeros(4, dtype=torch.int64),
        label_names=("skin",),
        mirror=torch.arange(4),
        uv=torch.zeros(4, 2),
    )


def test_pictures_are_clamped_and_nan_is_black():
    (picture,) = to_pictures(torch.tensor([-1.0, 0.5, torch.nan])[None, :, None, None].expand(1, 3, 4, 4) * 2)
    assert picture.dtype == np.uint8 and picture.shape == (4, 4, 3)
    assert picture[0, 0].tolist() == [0, 255, 0]


def test_absent_columns_are_left_out():
    images = torch.rand(2, 3, 8, 8)
    grid = picture_grid("reenactment", "t", "", {"source": images, "truth": None, "DCNet": images}, ["a", "b"])
    assert grid.columns == ("source", "DCNet")
    assert [len(row.pictures) for row in grid.rows] == [2, 2]


def test_a_ragged_grid_is_refused():
    with pytest.raises(ValueError, match="'a': 1 pictures for 2 columns"):
        Grid("expression", "t", "", ("x", "y"), (GridRow("a", (None,)),))


def test_sweeps_are_rows_of_coefficients():
    sweeps = {"jawOpen": torch.rand(3, 3, 8, 8), "cheekPuff": torch.rand(3, 3, 8, 8)}
    grid = expression_grid("t", "", sweeps, [0, 0.5, 1], torch.rand(3, 8, 8))
    assert grid.columns == ("source", "0", "0.5", "1")
    assert [row.caption for row in grid.rows] == ["jawOpen", "cheekPuff"]


def test_overlays_show_the_mesh_where_it_is_seen(plate):
    images = torch.zeros(2, 3, 32, 32)
    images[:, 1] = 1
    landmarks = torch.full((2, 68, 2), torch.nan)
    landmarks[0, 0] = 4.0
    fits = {"RecNet": plate.neutral(2), "truth": None}
    grid = overlay_grid("t", "", images, fits, plate, Camera.default(32), ["a", "b"], landmarks)
    assert grid.columns == ("input", "RecNet")
    plain, fitted = grid.rows[1].pictures
    assert fitted.shape == (OVERLAY_SIZE, OVERLAY_SIZE, 3)
    assert plain[5, 5].tolist() == fitted[5, 5].tolist() == [0, 255, 0]
    centre = fitted[OVERLAY_SIZE // 2, OVERLAY_SIZE // 2].astype(int)
    assert centre[0] > 100 and centre[0] == centre[2]
    dotted = grid.rows[0].pictures[0]
    assert dotted[27, 27].tolist() != [0, 255, 0]  # 4.0 of 32 is 28.0 of 224, between pixels 27 and 28


def test_points_that_were_not_detected_are_not_drawn():
    picture = np.zeros((8, 8, 3), np.uint8)
    draw_points(picture, np.full((68, 2), np.nan))
    assert picture.max() == 0
