import numpy as np
import torch
from tiny_face import model_arrays, skin_sheet

from jr2net.face.harmonic_albedo import PAINT, cotangent_laplacian, paint_albedo, skin_harmonics
from jr2net.face.model_file import read_model_file


def _paint(**options):
    arrays = model_arrays()
    names = tuple(arrays["label_names"])
    return paint_albedo(arrays["mean"], arrays["faces"], arrays["labels"], names, **options)


def test_albedo_is_deterministic():
    one, other = _paint(), _paint()
    assert all(np.array_equal(a, b) for a, b in zip(one, other))
    assert one[1].shape == (64, 875, 3)
    assert np.isfinite(one[1]).all()


def test_laplacian_of_linear_functions_is_zero_and_mass_sums_to_the_area():
    grid, quads = skin_sheet()
    flat = grid * [1, 1, 0]
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    laplacian, mass = cotangent_laplacian(flat, faces)
    inside = (np.abs(flat[:, 0]) < 70) & (flat[:, 1] > -99) & (flat[:, 1] < 89)
    assert np.abs(laplacian @ (2 * flat[:, 0] - 3 * flat[:, 1]))[inside].max() < 1e-9
    assert np.isclose(mass.sum(), 144 * 190)


def test_harmonics_are_orthogonal_and_sorted_by_frequency():
    arrays = model_arrays()
    points, faces = arrays["mean"].astype(np.float64), arrays["faces"]
    harmonics = skin_harmonics(points, faces, np.ones(len(points), bool), 21)
    laplacian, mass = cotangent_laplacian(points, faces)
    gram = harmonics @ np.diag(mass / mass.sum()) @ harmonics.T
    assert np.allclose(gram, np.eye(21), atol=1e-6)
    energy = np.diag(harmonics @ laplacian @ harmonics.T)
    assert energy[0] < 1e-9
    assert (np.diff(energy) > -1e-6).all()


def test_skin_tone_comes_first_and_varies_most():
    _, basis = _paint()
    size = np.sqrt((basis**2).mean((1, 2)))
    assert size.argmax() == 0
    assert (basis[0] > 0).all()


def test_parts_are_painted_by_label():
    arrays = model_arrays()
    names = ("skin", "lips", "mouth_socket", "teeth_upper", "sclera", "iris", "pupil", "unknown_label")
    labels = np.arange(875) % len(names)
    mean, basis = paint_albedo(arrays["mean"], arrays["faces"], labels, names)
    for name in ("mouth_socket", "teeth_upper", "sclera", "iris", "pupil"):
        assert np.allclose(mean[labels == names.index(name)], PAINT[name], atol=1e-6)
    assert np.allclose(mean[labels == 7], PAINT["skin"], atol=0.1)
    variation = [np.abs(basis[:, labels == part]).sum(0).mean() for part in range(len(names))]
    assert variation[names.index("teeth_upper")] < 0.2 * variation[names.index("skin")]


def test_lip_mask_and_brow_weight_paint_skin():
    points = model_arrays()["mean"]
    brow = np.exp(-((points[:, 1] - 55) ** 2) / 60)
    mask = np.abs(points[:, 1] + 42) < 12
    plain = _paint()[0]
    painted = _paint(lip_mask=mask, brow_weight=brow)[0]
    assert painted[brow > 0.9].mean() < 0.6 * plain[brow > 0.9].mean()
    outside = mask & (np.abs(points[:, 0]) > 35)
    assert (painted - plain)[outside, 1].mean() < -0.1  # lips are redder than skin


def test_mesh_of_three_triangles_is_painted():
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.0], [2, 1, 0]])
    mean, basis = paint_albedo(points, np.array([[0, 1, 2], [1, 3, 2], [1, 4, 3]]), np.zeros(5, int), ("skin",))
    assert basis.shape == (64, 5, 3)
    assert np.isfinite(basis).all()
    assert np.allclose(mean, PAINT["skin"])


def test_real_face_is_painted(real_ground):
    model = read_model_file(real_ground / "assets" / "ict_narrow_lo.npz")
    colour = {name: model.albedo_mean[model.has_label(name)].mean() for name in model.label_names}
    assert colour["mouth_socket"] < 0.15 < colour["iris"] < colour["lips"] < colour["skin"] < colour["teeth_upper"]
    assert 0 <= model.albedo_mean.min() <= model.albedo_mean.max() <= 1
    people = model.reflectance(torch.randn(50, 64, generator=torch.Generator().manual_seed(0)))
    skin = people[:, model.has_label("skin")]
    assert ((skin > 0) & (skin < 1)).float().mean() > 0.99
