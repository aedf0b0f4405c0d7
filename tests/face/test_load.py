import numpy as np
import pytest
from tiny_face import model_arrays, write_bfm, write_ict_folder

from jr2net import storage
from jr2net.cli import main
from jr2net.config import FaceConfig
from jr2net.face.load import load_face_model
from jr2net.face.model import FaceModelError


def test_model_file_is_loaded_and_decimated(tmp_path):
    path = tmp_path / "face.npz"
    np.savez(path, **model_arrays())
    assert len(load_face_model(FaceConfig(model=str(path))).mean) == 875
    assert len(load_face_model(FaceConfig(model=str(path), vertices=400)).mean) == pytest.approx(400, rel=0.05)


def test_mat_file_is_loaded_with_its_expressions(tmp_path):
    mat, expressions = write_bfm(tmp_path)
    assert load_face_model(FaceConfig(model=str(mat), expression_file=str(expressions))).sizes["expression"] == 51


def test_folder_is_loaded_as_ict(tmp_path):
    write_ict_folder(tmp_path / "FaceXModel")
    with pytest.raises(FaceModelError, match="ICT-FaceKit's topology"):  # the test head is smaller than ICT's
        load_face_model(FaceConfig(model=str(tmp_path)))


def test_procedural_is_the_default():
    model = load_face_model(FaceConfig())
    assert model.sizes == {"identity": 80, "expression": 51, "albedo": 64}


def test_unknown_source_is_rejected(tmp_path):
    with pytest.raises(FaceModelError, match=r"face\.model = .*nowhere'.*not found"):
        load_face_model(FaceConfig(model=str(tmp_path / "nowhere")))


def test_model_file_in_a_bucket(tmp_path, monkeypatch):
    np.savez(tmp_path / "face.npz", **model_arrays())
    buckets = {"s3://bucket/face.npz": (tmp_path / "face.npz").read_bytes()}
    monkeypatch.setattr(storage, "read_bytes", buckets.__getitem__)
    assert len(load_face_model(FaceConfig(model="s3://bucket/face.npz")).mean) == 875


def test_conversion_to_a_model_file(tmp_path, capsys):
    mat, expressions = write_bfm(tmp_path)
    output = tmp_path / "face.npz"
    assert main(["face", "convert", str(mat), str(output), "--expressions", str(expressions), "--vertices", "500"]) == 0
    assert 475 < len(load_face_model(FaceConfig(model=str(output))).mean) < 525
    assert "face.npz: " in capsys.readouterr().out


def test_failed_conversion_reports_the_error(tmp_path, capsys):
    assert main(["face", "convert", str(tmp_path / "nothing"), str(tmp_path / "face.npz")]) == 1
    assert "error: face.model" in capsys.readouterr().err
    assert not (tmp_path / "face.npz").exists()
