from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from tiny_face import tiny_model

from jr2net.face.decimate import decimate
from jr2net.face.model import FaceModel, FaceModelError
from jr2net.face.model_file import read_model_file


def _lopsided() -> FaceModel:
    """A model in which no vertex has an exact mirror image."""
    model = tiny_model()
    mean = model.mean + torch.rand(model.mean.shape, generator=torch.Generator().manual_seed(0))
    return replace(model, mean=mean, mirror=torch.zeros_like(model.mirror))


def _faces_per_edge(faces: np.ndarray) -> np.ndarray:
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    return np.unique(edges, axis=0, return_counts=True)[1]


def _sample_surface(model: FaceModel, samples: int = 200_000) -> np.ndarray:
    """(samples, 3) random points on the mesh."""
    rng = np.random.default_rng(0)
    corners = model.mean.numpy()[model.faces.numpy()]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = corners[rng.choice(len(corners), samples, p=area / area.sum())]
    weight = rng.dirichlet([1, 1, 1], samples)
    return np.einsum("sk,skc->sc", weight, chosen)


@pytest.mark.parametrize("source", [tiny_model, _lopsided])
@pytest.mark.parametrize("vertices", [300, 600])
def test_count_landmarks_and_topology(source, vertices):
    model = source()
    small = decimate(model, vertices)
    assert 0.95 * vertices < len(small.mean) < 1.05 * vertices
    assert torch.equal(small.mean[small.landmarks], model.mean[model.landmarks])
    assert (_faces_per_edge(small.faces.numpy()) > 2).mean() < 5e-3  # almost no non-manifold edges
    corners = small.mean[small.faces]
    assert (
        torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] > 0
    ).float().mean() > 0.98


def test_coefficients_keep_their_meaning():
    model = tiny_model()
    small = decimate(model, 400)
    rows = cKDTree(model.mean).query(small.mean)[1]
    identity, expression = torch.randn(1, 4), torch.rand(1, 51)
    assert torch.allclose(small.shape(identity, expression), model.shape(identity, expression)[:, rows], atol=1e-4)
    assert torch.equal(small.reflectance(torch.ones(1, 3)), model.reflectance(torch.ones(1, 3))[:, rows])
    assert torch.equal(small.labels, model.labels[rows])
    assert torch.equal(small.uv, model.uv[rows])


def test_symmetry_is_kept():
    small = decimate(tiny_model(), 400)
    mirror = small.mirror
    assert torch.equal(mirror[mirror], torch.arange(len(mirror)))
    assert torch.equal(small.mean[mirror], small.mean * torch.tensor([-1.0, 1, 1]))
    faces = {tuple(face) for face in small.faces.sort(1).values.tolist()}
    assert {tuple(face) for face in mirror[small.faces].sort(1).values.tolist()} == faces


def test_decimation_is_deterministic():
    assert decimate(tiny_model(), 400).digest == decimate(tiny_model(), 400).digest


def test_model_below_the_target_is_unchanged():
    model = tiny_model()
    assert decimate(model, 875) is model


def test_unreachable_vertex_count_is_rejected():
    with pytest.raises(FaceModelError, match=r"cannot be decimated to 30 vertices.*raise `face\.vertices`"):
        decimate(tiny_model(), 30)


def test_decimated_real_face_keeps_its_surface(real_ground):
    model = read_model_file(real_ground / "assets" / "ict_narrow_full.npz")
    small = decimate(model, 2200)
    assert 2100 < len(small.mean) < 2300
    skin = model.has_label("skin", "lips")
    distance = cKDTree(_sample_surface(small)).query(model.mean[skin].numpy())[0]
    assert distance.mean() < 0.5  # a third of it is the distance between samples
    assert np.percentile(distance, 99) < 2.0
    assert small.has_label("skin", "lips").float().mean() > 0.65
