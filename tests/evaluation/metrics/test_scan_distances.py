"""Distances between reconstructions and scans: known answers, and scipy's and trimesh's opinion."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from jr2net.data.readers.problems import DatasetError
from jr2net.data.scans.mesh import NO_FACES, Mesh
from jr2net.data.scans.schemes import NOW_POINTS, SCHEMES, Landmarks
from jr2net.evaluation.metrics.geometry import surface_vertices
from jr2net.evaluation.metrics.scans import (
    align_landmarks,
    crop,
    nose_tip,
    now_region,
    point_to_plane,
    scan_to_mesh,
)
from jr2net.face.model import FaceModel

trimesh = pytest.importorskip("trimesh")


@pytest.fixture(scope="module")
def face(procedural_model: FaceModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, triangles of the skin, and landmarks of the mean face."""
    kept = surface_vertices(procedural_model).numpy()
    faces = procedural_model.faces.numpy()
    return procedural_model.mean.double().numpy(), faces[kept[faces].all(1)], procedural_model.landmarks.numpy()


def moved(points: np.ndarray, scale: float = 0.01, angle: float = 0.7) -> np.ndarray:
    return scale * Rotation.from_rotvec([angle, -0.3, 0.2]).apply(points) + [3, -1, 2]


def square(side: int = 41, step: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:side, :side] * step - step * (side - 1) / 2
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    faces = np.vstack(
        [np.stack(f, 1) for f in ([corner, corner + 1, corner + side], [corner + 1, corner + side + 1, corner + side])]
    )
    return np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], 1), faces


def test_a_known_similarity_is_undone(face: tuple[np.ndarray, ...]) -> None:
    vertices, faces, marks = face
    other = moved(vertices)
    truth, answer = Landmarks(vertices[marks], SCHEMES[68]), Landmarks(other[marks], SCHEMES[68])
    aligned = align_landmarks(other, answer, truth, "a")
    np.testing.assert_allclose(aligned, vertices, atol=1e-9)
    points = vertices[np.unique(faces)]
    np.testing.assert_allclose(point_to_plane(points, aligned, faces), 0, atol=1e-6)
    np.testing.assert_allclose(scan_to_mesh(points, aligned, faces), 0, atol=1e-6)


def test_icp_removes_what_the_landmarks_leave(face: tuple[np.ndarray, ...]) -> None:
    vertices, faces, _ = face
    off = Rotation.from_rotvec([0.03, -0.02, 0.02]).apply(vertices) + np.array([2, -1, 3])
    points = vertices[np.unique(faces)]
    assert np.abs(point_to_plane(points, off, faces)).max() < 0.05
    assert scan_to_mesh(points, 1.03 * off, faces).max() < 0.05


def test_a_plane_that_is_shifted_by_a_millimetre_is_found_again_and_a_step_is_not() -> None:
    vertices, faces = square()
    np.testing.assert_allclose(point_to_plane(vertices[::3] + np.array([0, 0, 1]), vertices, faces), 0, atol=1e-3)
    # Half of the points 1 mm above the plane, half 1 mm below, as on a chessboard: no motion makes that better.
    points = vertices + np.outer((-1.0) ** np.arange(len(vertices)), [0, 0, 1])
    assert np.sqrt((point_to_plane(points, vertices, faces) ** 2).mean()) == pytest.approx(1, abs=1e-2)
    assert scan_to_mesh(points, vertices, faces).mean() == pytest.approx(1, abs=1e-2)


def test_a_sphere_that_is_a_millimetre_too_large() -> None:
    sphere = trimesh.creation.icosphere(5, radius=100.0)
    points = 101.0 * trimesh.creation.icosphere(3).vertices
    distance = point_to_plane(points, sphere.vertices, sphere.faces)
    np.testing.assert_allclose(distance, 1, atol=0.05)  # in front of the surface
    assert scan_to_mesh(points, sphere.vertices, sphere.faces).max() < 0.1  # NoW's refinement also scales


def test_distances_are_those_of_a_general_minimiser_and_of_trimesh() -> None:
    """The least sum of squares over scale, rotation and translation, with every triangle tried for every point."""
    egg = trimesh.creation.icosphere(2)
    vertices, faces = egg.vertices * [70, 95, 60], egg.faces
    rng = np.random.default_rng(0)
    chosen = vertices[vertices[:, 2] > 10][::2]
    turned = Rotation.from_rotvec([0.05, 0.02, -0.04]).apply(chosen * 1.04)
    points = turned + np.array([2, -1, 1]) + rng.normal(0, 1.5, chosen.shape)

    def distances(change: np.ndarray) -> np.ndarray:
        placed = (1 + change[6]) * Rotation.from_rotvec(change[:3]).apply(vertices) + 100 * change[3:6]
        corners = np.repeat(placed[faces][None], len(points), 0).reshape(-1, 3, 3)
        nearest = trimesh.triangles.closest_point(corners, np.repeat(points, len(faces), 0))
        return np.linalg.norm(nearest.reshape(len(points), -1, 3) - points[:, None], axis=-1).min(1)

    best = least_squares(distances, np.zeros(7), x_scale=0.01)
    found = scan_to_mesh(points, vertices, faces)
    assert (found**2).sum() == pytest.approx(2 * best.cost, rel=1e-3)
    np.testing.assert_allclose(found, distances(best.x), atol=0.03)


def test_the_crop_is_a_ball_and_an_empty_one_is_an_error() -> None:
    mesh = Mesh(square()[0], NO_FACES)
    near = crop(mesh, np.zeros(3), 30, "scan.obj")
    assert len(near) == (np.linalg.norm(mesh.vertices, axis=1) <= 30).sum()
    with pytest.raises(DatasetError, match=r"scan\.obj: 0 points within 30 mm"):
        crop(mesh, np.array([0, 0, 500.0]), 30, "scan.obj")


def test_the_tip_of_the_nose_is_a_landmark_or_the_foremost_point(face: tuple[np.ndarray, ...]) -> None:
    vertices, faces, marks = face
    mesh = Mesh(moved(vertices[np.unique(faces)], 1.0), NO_FACES)
    full = Landmarks(moved(vertices[marks], 1.0), SCHEMES[68])
    seven = Landmarks(full.points[list(NOW_POINTS)], SCHEMES[7])
    tip = nose_tip(mesh, full, "a")
    assert tip.tolist() == full.points[30].tolist()
    assert np.linalg.norm(nose_tip(mesh, seven, "a") - tip) < 8
    with pytest.raises(DatasetError, match="mm off the scan"):
        nose_tip(mesh, Landmarks(full.points + 100, SCHEMES[68]), "a")
    with pytest.raises(DatasetError, match="no tip of the nose"):
        nose_tip(mesh, Landmarks(full.points[:4], ((0,), (1,), (2,), (3,))), "a")


def test_the_region_of_now() -> None:
    points = np.array([[-45, 0, 0], [-15, 0, 0], [15, 0, 0], [45, 0, 0], [0, -40, 10], [-25, -70, 0], [25, -70, 0.0]])
    centre, radius = now_region(Landmarks(points, SCHEMES[7]), "a")
    np.testing.assert_allclose(centre, [0, -28, 7])
    assert radius == pytest.approx(0.7 * (90 + np.hypot(40, 10)))
    with pytest.raises(DatasetError, match="seven landmarks are needed"):
        now_region(Landmarks(points[:4], ((0,), (1,), (2,), (3,))), "a")


def test_landmarks_that_are_exchanged_are_noticed(face: tuple[np.ndarray, ...]) -> None:
    vertices, _, marks = face
    truth = Landmarks(vertices[marks], SCHEMES[68])
    shuffled = Landmarks(vertices[marks][np.random.default_rng(0).permutation(68)], SCHEMES[68])
    with pytest.raises(DatasetError, match=r"b\.obj: after alignment its landmarks miss the scan's by \d+ mm"):
        align_landmarks(vertices, shuffled, truth, "b.obj")


def test_planes_are_those_that_a_general_minimiser_finds() -> None:
    """Rotation and translation of least squares, each point to the plane of its nearest triangle of all."""
    egg = trimesh.creation.icosphere(3)
    vertices, faces = egg.vertices * [70, 95, 60], egg.faces
    normals = trimesh.triangles.normals(vertices[faces])[0]
    rng = np.random.default_rng(1)
    chosen = vertices[vertices[:, 2] > 10][::12]
    moved_points = Rotation.from_rotvec([0.03, 0.02, -0.02]).apply(chosen) + np.array([1, -1, 2])
    points = moved_points + rng.normal(0, 0.5, chosen.shape)
    corners = np.repeat(vertices[faces][None], len(points), 0).reshape(-1, 3, 3)

    def planes(change: np.ndarray) -> np.ndarray:
        placed = Rotation.from_rotvec(change[:3]).apply(points) + 100 * change[3:]
        every = trimesh.triangles.closest_point(corners, np.repeat(placed, len(faces), 0)).reshape(len(points), -1, 3)
        nearest = np.linalg.norm(every - placed[:, None], axis=-1).argmin(1)
        return ((placed - every[np.arange(len(points)), nearest]) * normals[nearest]).sum(1)

    best = least_squares(planes, np.zeros(6), x_scale=0.01, diff_step=1e-4)
    found = point_to_plane(points, vertices, faces)
    assert (found**2).sum() == pytest.approx(2 * best.cost, rel=0.02)
