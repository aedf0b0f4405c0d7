from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_face import model_arrays, tiny_model

from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.model import FaceModelError
from jr2net.face.model_file import read_model_file, write_model_file


def _write(path: Path, **changes: np.ndarray | None) -> Path:
    arrays = {key: value for key, value in (model_arrays() | changes).items() if value is not None}
    np.savez(path, **arrays)
    return path


def test_round_trip(tmp_path):
    model = tiny_model()
    write_model_file(model, tmp_path / "a.npz")
    read = read_model_file(tmp_path / "a.npz")
    assert read.digest == model.digest
    assert read.label_names == model.label_names
    assert read.license == model.license
    for field in ("labels", "mirror", "uv"):
        assert torch.equal(getattr(read, field), getattr(model, field))


def test_writing_is_deterministic_and_leaves_no_temporary_files(tmp_path):
    for name in ("a.npz", "b.npz"):
        write_model_file(tiny_model(), tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_expressions_are_ordered_by_name(tmp_path):
    order = np.random.default_rng(0).permutation(51)
    basis = model_arrays()["expression_basis"]
    path = _write(tmp_path / "m.npz", expression_basis=basis[order], expression_names=np.array(ARKIT_NAMES)[order])
    assert np.array_equal(read_model_file(path).expression_basis.numpy(), basis)


def test_half_precision_becomes_float32_and_missing_albedo_is_painted(tmp_path):
    basis = model_arrays()["identity_basis"].astype(np.float16)
    model = read_model_file(_write(tmp_path / "m.npz", identity_basis=basis))
    assert model.identity_basis.dtype == torch.float32
    assert model.sizes == {"identity": 4, "expression": 51, "albedo": 64}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"mirror": None}, "mirror missing"),
        (
            {"expression_names": np.array([*ARKIT_NAMES[:-1], "tongueOut"])},
            "missing: noseSneerRight; unknown: tongueOut",
        ),
        ({"expression_names": np.array(ARKIT_NAMES[:50])}, "51 shapes but expression_names 50"),
        ({"mean": np.full((875, 3), np.nan, np.float32)}, "mean holds NaN"),
        ({"mean": np.zeros((875, 2), np.float32)}, "mean has shape"),
        ({"faces": np.array([[0, 1, 875]])}, "faces refers to vertices outside"),
        ({"faces": np.array([[0.5, 1, 2]])}, "faces must be whole numbers"),
        ({"landmarks": np.arange(67)}, "landmarks has shape"),
        ({"labels": np.full(875, 2)}, "labels refers to names"),
        ({"uv": np.array(["a"])}, "uv must be numbers"),
        ({"label_names": np.array([1, 2])}, "label_names must be text"),
        ({"albedo_mean": np.zeros((875, 3))}, "albedo_mean and albedo_basis go together"),
        ({"brow_weight": np.zeros(3)}, "brow_weight has shape"),
    ],
)
def test_invalid_model_error_names_file_and_field(tmp_path, changes, field):
    path = _write(tmp_path / "wrong.npz", **changes)
    with pytest.raises(FaceModelError, match=field) as error:
        read_model_file(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [b"", b"not a zip at all", b"PK\x03\x04 cut off"])
def test_corrupt_file_is_rejected(tmp_path, content):
    path = tmp_path / "corrupt.npz"
    path.write_bytes(content)
    with pytest.raises(FaceModelError, match=r"corrupt\.npz.*again"):
        read_model_file(path)


def test_truncated_or_altered_file_is_rejected(tmp_path):
    whole = _write(tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    altered = bytearray(whole)
    altered[2000] ^= 0xFF  # inside of the first array: its checksum no longer matches
    (tmp_path / "altered.npz").write_bytes(altered)
    for name in ("cut.npz", "altered.npz"):
        with pytest.raises(FaceModelError, match=name):
            read_model_file(tmp_path / name)


def test_missing_file_and_folder_are_rejected(tmp_path):
    for path in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(FaceModelError, match=r"no such face model file|not a readable"):
            read_model_file(path)


def test_nothing_is_unpickled(tmp_path):
    path = _write(tmp_path / "m.npz", uv=np.array([{"a": 1}], dtype=object))
    with pytest.raises(FaceModelError, match="allow_pickle"):
        read_model_file(path)


def test_real_models(real_ground):
    model = read_model_file(real_ground / "assets" / "ict_narrow_lo.npz")
    assert model.sizes == {"identity": 80, "expression": 51, "albedo": 64}
    left = model.expression_basis[ARKIT_NAMES.index("eyeBlinkLeft")].norm(dim=1)
    assert model.mean[left.argmax(), 0] > 20  # the subject's left is +x
    assert model.license.startswith("MIT")
