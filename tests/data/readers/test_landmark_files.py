"""Landmark files: .mat, .pts, .t7 and .npy, what they hold, and what is said of damaged ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from landmark_files import face_points, mat_file, npy_file, pts_file, t7_file, turned_by

from jr2net.config import FaceConfig
from jr2net.data.readers.mat import euler_angles, from_published, parse_mat, to_published
from jr2net.data.readers.problems import DatasetError, check_points, handedness
from jr2net.data.readers.pts import parse_points
from jr2net.face.load import load_face_model

WEB_PAGE = b"\n<!DOCTYPE html><html><head><title>Quota exceeded</title></head></html>"


@pytest.mark.parametrize("key", ["pt2d", "pt3d_68"])
def test_a_mat_gives_landmarks_with_edges_at_integers(key: str) -> None:
    points = face_points()
    face = parse_mat(mat_file(points, key=key), "a.mat")
    assert face.landmarks == pytest.approx(points, abs=1e-3)
    assert (face.depth is None) == (key == "pt2d")


@pytest.mark.parametrize("angle", [(0.4, 0.0, 0.0), (0.0, 0.7, 0.0), (0.0, 0.0, 0.3)])
def test_a_single_angle_of_a_mat_is_turned_to_the_opposite_sense(angle: tuple[float, float, float]) -> None:
    face = parse_mat(mat_file(face_points(), angle), "a.mat")
    assert face.rotation == pytest.approx(-np.array(angle), abs=1e-6)


def test_published_angles_and_ours_are_the_same_rotation() -> None:
    published = np.array([0.3, -0.9, 0.5])
    face = parse_mat(mat_file(face_points(), (0.3, -0.9, 0.5)), "a.mat")
    assert face.published == pytest.approx(published, abs=1e-6)
    assert face.rotation == pytest.approx(from_published(published), abs=1e-6)
    assert to_published(from_published(published)) == pytest.approx(published)


def test_angles_are_the_inverse_of_the_rotation_matrix() -> None:
    angles = (0.3, -0.9, 0.5)
    assert euler_angles(turned_by(*angles)) == pytest.approx(angles)


@pytest.mark.parametrize(
    "name", [f"image{number}" for number in ("00050", "00081", "00251", "00430", "00475", "00514")]
)
def test_a_published_pose_turns_a_mean_face_as_its_own_landmarks_do(real_ground: Path, name: str) -> None:
    """The mean face, rotated rigidly to AFLW2000-3D's 3D landmarks, an independent computation of the same rotation."""
    path = real_ground / "data/datasets/AFLW2000-3D" / f"{name}.mat"
    if not path.is_file():
        pytest.skip(f"{path} does not exist")
    face = parse_mat(path.read_bytes(), name)
    assert face.depth is not None and face.rotation is not None
    model = load_face_model(FaceConfig())
    mean = model.mean[model.landmarks].double().numpy()
    seen = np.column_stack([face.landmarks[:, 0], -face.landmarks[:, 1], face.depth]).astype(np.float64)
    left, _, right = np.linalg.svd((seen - seen.mean(0)).T @ (mean - mean.mean(0)))
    fitted = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
    between = np.arccos((np.trace(fitted @ turned_by(*face.rotation.tolist()).T) - 1) / 2)
    assert np.degrees(between) < 5


def test_300w_lp_sample(real_ground: Path) -> None:
    path = real_ground / "data/datasets/300W-LP/IBUG/IBUG_image_008_1_0.mat"
    if not path.is_file():
        pytest.skip(f"{path} does not exist")
    face = parse_mat(path.read_bytes(), path.name)
    assert face.landmarks.shape == (68, 2) and face.landmarks.min() > 0 and face.landmarks.max() < 450
    assert face.rotation is not None and np.degrees(face.rotation[1]) == pytest.approx(44, abs=1)


@pytest.mark.parametrize("cut", [0, 20, 200, -40])
def test_a_truncated_mat_is_named(cut: int) -> None:
    with pytest.raises(DatasetError, match=r"^b\.mat: not a readable \.mat .*copy it again"):
        parse_mat(mat_file(face_points())[:cut], "b.mat")


def test_a_mat_without_landmarks_is_named() -> None:
    with pytest.raises(DatasetError, match="has no 68 landmarks"):
        parse_mat(mat_file(face_points()[:21]), "c.mat")


def test_point_files_agree() -> None:
    points = face_points()
    files = {
        "a.pts": pts_file(points),
        "a.npy": npy_file(points),
        "a.t7": t7_file(points),
        "b.t7": t7_file(points, True),
    }
    for name, content in files.items():
        assert parse_points(content, name) == pytest.approx(points, abs=1e-3), name


def test_ls3d_sample_has_the_landmarks_of_its_original(real_ground: Path) -> None:
    folder = real_ground / "data/datasets"
    path = folder / "LS3D-W_synthetic/image00050.t7"
    if not path.is_file():
        pytest.skip(f"{path} does not exist")
    original = parse_mat((folder / "AFLW2000-3D/image00050.mat").read_bytes(), "image00050.mat")
    assert parse_points(path.read_bytes(), path.name) == pytest.approx(original.landmarks, abs=1e-3)


@pytest.mark.parametrize("name", ["a.pts", "a.npy", "a.t7"])
def test_a_truncated_point_file_is_named(name: str) -> None:
    content = {"a.pts": pts_file, "a.npy": npy_file, "a.t7": t7_file}[name](face_points())
    for cut in (0, 3, len(content) // 2, len(content) - 3):
        with pytest.raises(DatasetError, match=rf"^{name}: not a readable"):
            parse_points(content[:cut], name)


def test_a_pts_with_fewer_lines_than_it_says_is_named() -> None:
    with pytest.raises(DatasetError, match="n_points is 68, but 67 lines"):
        parse_points(pts_file(face_points()[:67]).replace(b" 67", b" 68"), "a.pts")


def test_a_npy_is_not_unpickled() -> None:
    import io

    content = io.BytesIO()
    np.save(content, np.array([{"x": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DatasetError, match="not a readable"):
        parse_points(content.getvalue(), "a.npy")


def test_a_web_page_is_recognised_in_every_format() -> None:
    for name, parse in (("a.mat", parse_mat), ("a.pts", parse_points), ("a.t7", parse_points)):
        with pytest.raises(DatasetError, match="is a web page") as caught:
            parse(WEB_PAGE, name)
        assert caught.value.reason == "web page"


@pytest.mark.parametrize("roll", [0.0, 1.0, -2.0, 3.0])
def test_swapped_columns_are_noticed_however_the_head_is_tilted(roll: float) -> None:
    points = face_points(roll=roll)
    assert handedness(points) > 0.3
    check_points(points, "a")
    for wrong in (points[:, ::-1], [200, 0] + points * [-1, 1]):
        with pytest.raises(DatasetError, match="are swapped"):
            check_points(wrong, "a")


def test_left_and_right_swapped_in_five_points_are_noticed() -> None:
    points = np.array([[60, 80], [120, 80], [90, 110], [70, 140], [110, 140]])
    check_points(points, "a", 200, 200)
    with pytest.raises(DatasetError, match="left and right"):
        check_points(points[[1, 0, 2, 4, 3]], "a", 200, 200)


def test_landmarks_of_another_picture_are_noticed() -> None:
    with pytest.raises(DatasetError, match="outside of the picture of 100 × 80"):
        check_points(face_points() + 200, "a", 100, 80)
