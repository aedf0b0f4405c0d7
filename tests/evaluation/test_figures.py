import numpy as np
import pytest
import torch

from jr2net.evaluation.figures import (
    OVERLAY_SIZE,
    Grid,
    GridRow,
    draw_points,
    expression_grid,
    image_grid,
    overlay_grid,
    to_image_arrays,
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


def test_images_are_clamped_and_nan_is_black():
    (image,) = to_image_arrays(torch.tensor([-1.0, 0.5, torch.nan])[None, :, None, None].expand(1, 3, 4, 4) * 2)
    assert image.dtype == np.uint8 and image.shape == (4, 4, 3)
    assert image[0, 0].tolist() == [0, 255, 0]


def test_missing_columns_are_omitted():
    images = torch.rand(2, 3, 8, 8)
    grid = image_grid("reenactment", "t", "", {"source": images, "truth": None, "DCNet": images}, ["a", "b"])
    assert grid.columns == ("source", "DCNet")
    assert [len(row.images) for row in grid.rows] == [2, 2]


def test_grid_with_rows_of_wrong_length_is_rejected():
    with pytest.raises(ValueError, match="'a': 1 images for 2 columns"):
        Grid("expression", "t", "", ("x", "y"), (GridRow("a", (None,)),))


def test_expression_grid_has_a_row_per_blendshape():
    sweeps = {"jawOpen": torch.rand(3, 3, 8, 8), "cheekPuff": torch.rand(3, 3, 8, 8)}
    grid = expression_grid("t", "", sweeps, [0, 0.5, 1], torch.rand(3, 8, 8))
    assert grid.columns == ("source", "0", "0.5", "1")
    assert [row.caption for row in grid.rows] == ["jawOpen", "cheekPuff"]


def test_overlays_show_the_mesh_over_the_image(plate):
    images = torch.zeros(2, 3, 32, 32)
    images[:, 1] = 1
    landmarks = torch.full((2, 68, 2), torch.nan)
    landmarks[0, 0] = 4.0
    fits = {"RecNet": plate.neutral(2), "truth": None}
    grid = overlay_grid("t", "", images, fits, plate, Camera.default(32), ["a", "b"], landmarks)
    assert grid.columns == ("input", "RecNet")
    plain, fitted = grid.rows[1].images
    assert fitted.shape == (OVERLAY_SIZE, OVERLAY_SIZE, 3)
    assert plain[5, 5].tolist() == fitted[5, 5].tolist() == [0, 255, 0]
    centre = fitted[OVERLAY_SIZE // 2, OVERLAY_SIZE // 2].astype(int)
    assert centre[0] > 100 and centre[0] == centre[2]
    dotted = grid.rows[0].images[0]
    assert dotted[27, 27].tolist() != [0, 255, 0]  # 4.0 of 32 is 28.0 of 224, between pixels 27 and 28


def test_undetected_points_are_not_drawn():
    image = np.zeros((8, 8, 3), np.uint8)
    draw_points(image, np.full((68, 2), np.nan))
    assert image.max() == 0
