import numpy as np
import pytest
import torch
from scipy.io import loadmat, savemat
from tiny_face import tiny_model, write_bfm

from jr2net.face.bfm import read_bfm
from jr2net.face.model import FaceModelError


@pytest.fixture
def files(tmp_path):
    return write_bfm(tmp_path)


def test_units_and_winding(files):
    model, truth = read_bfm(*files), tiny_model()
    assert torch.allclose(model.mean, truth.mean, atol=1e-3)
    assert torch.allclose(model.albedo_mean, truth.albedo_mean, atol=1e-5)
    assert torch.equal(model.faces, truth.faces)
    assert torch.equal(model.landmarks, truth.landmarks)
    assert torch.equal(model.expression_basis, truth.expression_basis)
    assert torch.equal(model.mirror, truth.mirror)
    assert 0 <= model.uv.min() <= model.uv.max() <= 1


def test_bases_are_components_times_deviations(files):
    content, model = loadmat(files[0]), read_bfm(*files)
    for mode in range(5):
        expected = (content["shapePC"][:, mode] * content["shapeEV"][mode] / 1000).reshape(-1, 3)
        assert np.allclose(model.identity_basis[mode], expected, atol=1e-4)
        expected = (content["texPC"][:, mode] * 10 / 255).reshape(-1, 3)
        assert np.allclose(model.albedo_basis[mode], expected, atol=1e-5)


def test_larger_models_are_truncated_to_the_papers_sizes(tmp_path):
    model = read_bfm(*write_bfm(tmp_path, components=90))
    assert model.sizes == {"identity": 80, "expression": 51, "albedo": 64}


def test_labels_of_the_expression_file_are_kept(files):
    mat, expressions = files
    arrays = dict(np.load(expressions))
    np.savez(expressions, **arrays, labels=np.arange(875) % 2, label_names=np.array(["skin", "lips"]))
    assert read_bfm(mat, expressions).has_label("lips").sum() == 437


def test_missing_expression_file_names_the_setting(files):
    with pytest.raises(FaceModelError, match=r"face\.expression_file"):
        read_bfm(files[0], None)


@pytest.mark.parametrize("key", ["shapeMU", "texEV", "tl"])
def test_a_missing_array_is_named(files, key):
    content = {name: value for name, value in loadmat(files[0]).items() if not name.startswith("__") and name != key}
    savemat(files[0], content)
    with pytest.raises(FaceModelError, match=f"01_MorphableModel.mat: {key} missing"):
        read_bfm(*files)


@pytest.mark.parametrize(
    ("key", "value"), [("shapePC", np.zeros((9, 5))), ("texMU", np.zeros((6, 1))), ("tl", np.full((1, 3), 99999))]
)
def test_inconsistent_arrays_are_rejected(files, key, value):
    content = {name: array for name, array in loadmat(files[0]).items() if not name.startswith("__")}
    savemat(files[0], content | {key: value})
    with pytest.raises(FaceModelError, match="do not fit together"):
        read_bfm(*files)


def test_expression_file_for_another_mesh_is_rejected(files):
    arrays = dict(np.load(files[1]))
    np.savez(files[1], **(arrays | {"expression_basis": np.zeros((51, 10, 3))}))
    with pytest.raises(FaceModelError, match=r"expressions\.npz: expression_basis is for"):
        read_bfm(*files)


def test_missing_and_corrupt_files_are_named(files):
    with pytest.raises(FaceModelError, match=r"none\.mat: no such file"):
        read_bfm(files[0].with_name("none.mat"), files[1])
    files[0].write_bytes(b"this is not Matlab's" * 50)
    with pytest.raises(FaceModelError, match=r"01_MorphableModel\.mat: not a readable"):
        read_bfm(*files)
