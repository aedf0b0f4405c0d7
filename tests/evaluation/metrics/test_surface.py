"""Nearest points of a mesh: against trimesh, brute force and cases with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from jr2net.evaluation.metrics.surface import Surface, closest_on_triangles

trimesh = pytest.importorskip("trimesh")


def uneven_mesh(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A sphere of 320 small triangles with a single one a hundred times as large beside it."""
    sphere = trimesh.creation.icosphere(2)
    large = np.array([[0, 0, 3], [200, 0, 3], [0, 200, 3.0]])
    vertices = np.vstack([sphere.vertices * np.random.default_rng(seed).uniform(0.8, 1.2, (162, 1)), large])
    return vertices, np.vstack([sphere.faces, [[162, 163, 164]]])


@pytest.mark.parametrize("seed", range(3))
def test_nearest_points_are_those_of_brute_force(seed: int) -> None:
    vertices, faces = uneven_mesh(seed)
    points = np.random.default_rng(seed).normal(0, 3, (300, 3))
    found, triangle = Surface(vertices, faces).nearest(points)
    every = np.array([closest_on_triangles(points, np.broadcast_to(vertices[f], (300, 3, 3))) for f in faces])
    distances = np.linalg.norm(every - points, axis=-1)
    np.testing.assert_allclose(np.linalg.norm(found - points, axis=1), distances.min(0), atol=1e-12)
    np.testing.assert_allclose(distances[triangle, np.arange(300)], distances.min(0), atol=1e-12)


def test_nearest_points_of_triangles_are_trimeshs() -> None:
    rng = np.random.default_rng(0)
    corners, points = rng.normal(size=(2000, 3, 3)), rng.normal(0, 2, (2000, 3))
    corners[:20, 2] = corners[:20, 1]  # without area
    expected = trimesh.triangles.closest_point(corners[20:], points[20:])
    np.testing.assert_allclose(closest_on_triangles(points, corners)[20:], expected, atol=1e-9)
    a, b = corners[:20, 0], corners[:20, 1]
    along = np.clip(((points[:20] - a) * (b - a)).sum(1) / ((b - a) ** 2).sum(1), 0, 1)
    segment = a + along[:, None] * (b - a)
    found = closest_on_triangles(points, corners)[:20]
    assert np.linalg.norm(found - points[:20], axis=1) == pytest.approx(np.linalg.norm(segment - points[:20], axis=1))


def test_a_plane_and_a_sphere() -> None:
    square = np.array([[-9, -9, 0], [9, -9, 0], [9, 9, 0], [-9, 9, 0.0]])
    plane = Surface(square, np.array([[0, 1, 2], [0, 2, 3]]))
    points = np.array([[1, 2, 3], [0, 0, -4], [9, 12, 4], [12, 13, 0.0]])
    np.testing.assert_allclose(np.linalg.norm(plane.nearest(points)[0] - points, axis=1), [3, 4, 5, 5])
    fine = trimesh.creation.icosphere(4)
    points = np.random.default_rng(1).normal(size=(100, 3))
    distance = np.linalg.norm(Surface(fine.vertices, fine.faces).nearest(points)[0] - points, axis=1)
    np.testing.assert_allclose(distance, np.abs(np.linalg.norm(points, axis=1) - 1), atol=3e-3)


def test_a_surface_has_triangles() -> None:
    with pytest.raises(ValueError, match="needs triangles"):
        Surface(np.zeros((3, 3)), np.zeros((0, 3), int))
