import numpy as np
import pytest
import torch

from jr2net.evaluation.metrics.geometry import (
    expression_rmse_mm,
    geometry_errors,
    icp_point_to_plane,
    similarity,
    surface_vertices,
    vertex_gaps,
)
from jr2net.face.model import FaceModel


@pytest.fixture(scope="module")
def bump() -> FaceModel:
    """A face-sized dome with a nose, 25 × 25 vertices; its last row is labelled as an eyeball, which is ignored."""
    side = 25
    y, x = torch.meshgrid(torch.linspace(-80, 80, side), torch.linspace(-60, 60, side), indexing="ij")
    z = 60 * (1 - (x / 90) ** 2 - (y / 110) ** 2) + 20 * torch.exp(-(x**2 + y**2) / 200)
    mean = torch.stack([x, y, z], -1).reshape(-1, 3)
    corner = (torch.arange(side - 1)[:, None] * side + torch.arange(side - 1)).reshape(-1)
    faces = torch.cat(
        [
            torch.stack([corner, corner + 1, corner + side], 1),
            torch.stack([corner + 1, corner + side + 1, corner + side], 1),
        ]
    )
    n = len(mean)
    generator = torch.Generator().manual_seed(0)
    landmarks = torch.randperm(n - side, generator=generator)[:68]
    landmarks[30] = n // 2  # the nose
    labels = torch.zeros(n, dtype=torch.int64)
    labels[-side:] = 2
    low = mean / 80
    waves = torch.stack([torch.sin(3 * low[:, 0] + k) * torch.cos(2 * low[:, 1] - k) for k in range(6)])
    direction = torch.randn(6, 1, 3, generator=generator)
    return FaceModel(
        mean=mean,
        faces=faces,
        identity_basis=2 * waves[..., None] * direction,
        expression_basis=torch.randn(51, 1, 3, generator=generator) * waves[torch.arange(51) % 6][..., None],
        albedo_mean=torch.full((n, 3), 0.5),
        albedo_basis=torch.zeros(2, n, 3),
        landmarks=landmarks,
        labels=labels,
        label_names=("skin", "lips", "sclera"),
        mirror=torch.arange(n),
        uv=torch.zeros(n, 2),
        name="bump",
    )


def rotation_about(axis: list[float], angle: float) -> np.ndarray:
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew


def test_similarity_recovers_a_known_transform():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(68, 3)) * 40
    rotation, translation = rotation_about([1, 2, 3], 2.5), np.array([3.0, -7.0, 1080.0])
    scale, r, t = similarity(points, 1.3 * points @ rotation.T + translation)
    assert scale == pytest.approx(1.3)
    np.testing.assert_allclose(r, rotation, atol=1e-12)
    np.testing.assert_allclose(t, translation, atol=1e-9)


def test_similarity_is_never_a_reflection():
    points = np.random.default_rng(0).normal(size=(68, 3))
    _, rotation, _ = similarity(points, points * [-1, 1, 1])
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_errors_are_zero_up_to_a_similarity(bump):
    truth = bump.shape(torch.randn(3, 6, generator=torch.Generator().manual_seed(1)), torch.zeros(3, 51))
    rotation = torch.tensor(rotation_about([0, 1, 0.2], 0.8), dtype=torch.float32)
    errors = geometry_errors(bump, 0.7 * truth @ rotation.T + torch.tensor([5.0, 6.0, 1000.0]), truth)
    assert errors.rmse.shape == (3,)
    assert max(errors.rmse.max(), errors.mae.max(), errors.vertex_rmse.max()) < 1e-3


def test_icp_reverts_a_small_rigid_motion(bump):
    surface = bump.mean.double().numpy()
    z = 60 * (1 - (surface[:, 0] / 90) ** 2 - (surface[:, 1] / 110) ** 2)
    assert np.isfinite(z).all()
    normals = np.stack([120 * surface[:, 0] / 8100, 120 * surface[:, 1] / 12100, np.ones(len(surface))], 1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    surface = np.column_stack([surface[:, :2], z])
    moved = surface @ rotation_about([1, 1, 0], 0.03).T + [0.5, -0.5, 1.5]
    before = np.sqrt((((moved - surface) * normals).sum(1) ** 2).mean())
    _, distance = icp_point_to_plane(moved, surface, normals, iterations=20)
    assert np.sqrt((distance**2).mean()) < 0.1 * before


def test_better_prediction_has_a_smaller_error_than_the_mean_face(bump):
    identity = torch.randn(8, 6, generator=torch.Generator().manual_seed(2))
    neutral = torch.zeros(8, 51)
    truth, mean_face = bump.shape(identity, neutral), bump.shape(identity * 0, neutral)
    mean_summary = geometry_errors(bump, mean_face, truth).summary()
    near_summary = geometry_errors(bump, bump.shape(identity * 0.8, neutral), truth).summary()
    assert set(mean_summary) == {
        "rmse_mm",
        "std_mm",
        "median_mm",
        "p80_mm",
        "mae_mm",
        "mae_std_mm",
        "vertex_rmse_mm",
    }
    assert all(value > 0 for value in mean_summary.values())
    assert mean_summary["mae_mm"] < mean_summary["rmse_mm"] < mean_summary["vertex_rmse_mm"]
    assert mean_summary["median_mm"] <= mean_summary["p80_mm"]
    assert near_summary["rmse_mm"] < 0.5 * mean_summary["rmse_mm"]


def test_scale_of_the_prediction_does_not_matter(bump):
    truth = bump.shape(torch.ones(1, 6), torch.zeros(1, 51))
    large = geometry_errors(bump, bump.mean[None], truth).rmse
    small = geometry_errors(bump, bump.mean[None] * 0.1, truth).rmse
    np.testing.assert_allclose(large, small, rtol=1e-5)


def test_only_the_surface_inside_the_crop_counts(bump):
    truth = bump.mean[None].clone()
    spoiled = truth.clone()
    spoiled[:, ~surface_vertices(bump)] += 50  # the eyeballs
    far = (bump.mean - bump.mean[bump.landmarks[30]]).norm(dim=-1) > 60
    far[bump.landmarks] = False  # keeps the alignment unchanged
    spoiled[:, far, 2] -= 1
    assert geometry_errors(bump, spoiled, truth, crop_mm=60).vertex_rmse[0] < 1e-3
    assert geometry_errors(bump, spoiled, truth, crop_mm=200).vertex_rmse[0] > 0.1


def test_expression_error_is_the_rms_displacement(bump):
    truth = torch.rand(4, 51, generator=torch.Generator().manual_seed(3))
    assert expression_rmse_mm(bump, truth, truth) == 0
    one = truth.clone()
    one[:, 20] += 0.5
    surface = surface_vertices(bump)
    expected = 0.5 * bump.expression_basis[20, surface].square().sum(-1).mean().sqrt()
    assert expression_rmse_mm(bump, one, truth) == pytest.approx(float(expected), rel=1e-5)


def test_invalid_meshes_are_rejected(bump):
    with pytest.raises(ValueError, match=r"both must be \(M, 625, 3\)"):
        geometry_errors(bump, torch.zeros(2, 10, 3), torch.zeros(2, 10, 3))
    with pytest.raises(ValueError, match="NaN"):
        geometry_errors(bump, bump.mean[None] * torch.nan, bump.mean[None])


def test_vertex_gaps_are_what_vertex_rmse_is_made_of(bump: FaceModel) -> None:
    truth = bump.mean[None] + torch.randn(2, *bump.mean.shape, generator=torch.Generator().manual_seed(3))
    predicted = bump.mean[None].expand_as(truth)
    gaps = vertex_gaps(bump, predicted, truth, 60.0)
    errors = geometry_errors(bump, predicted, truth, 60.0)
    np.testing.assert_allclose(np.sqrt(np.nanmean(gaps**2, 1)), errors.vertex_rmse)
    assert np.isnan(gaps[:, ~surface_vertices(bump).numpy()]).all() and np.isfinite(gaps).any(1).all()
