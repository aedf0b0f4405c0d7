import numpy as np
import pytest
import torch

from jr2net.face.obj_file import face_obj, read_obj


def test_round_trip(toy_model, tmp_path):
    face = toy_model.neutral(1)
    face = face.replace(expression=torch.rand(1, 51, generator=torch.Generator().manual_seed(0)))
    path = tmp_path / "face.obj"
    path.write_bytes(face_obj(toy_model, face))
    vertices, faces, uv = read_obj(path)
    assert np.abs(vertices - toy_model.shape(face.identity, face.expression)[0].numpy()).max() < 1e-3
    assert np.array_equal(faces, toy_model.faces.numpy())
    assert np.abs(uv - toy_model.uv.numpy()).max() < 1e-4


def test_vertices_have_albedo_colours(toy_model):
    line = next(line for line in face_obj(toy_model, toy_model.neutral(1)).decode().splitlines() if line[:2] == "v ")
    assert [float(value) for value in line.split()[4:]] == pytest.approx([0.5, 0.5, 0.5])


def test_empty_batch_is_rejected(toy_model):
    with pytest.raises(ValueError, match="no face"):
        face_obj(toy_model, toy_model.neutral(0))
