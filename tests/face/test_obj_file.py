import numpy as np
import pytest
import torch
import trimesh

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


def test_trimesh_loads_it_upright_in_the_models_order(procedural_model, tmp_path):
    path = tmp_path / "face.obj"
    path.write_bytes(face_obj(procedural_model, procedural_model.neutral(1)))
    mesh = trimesh.load(path, process=False, maintain_order=True)
    mean = procedural_model.mean.numpy()
    assert np.array_equal(mesh.faces, procedural_model.faces.numpy()) and np.abs(mesh.vertices - mean).max() < 1e-3
    nose, chin = mesh.vertices[procedural_model.landmarks[30]], mesh.vertices[procedural_model.landmarks[8]]
    assert nose[2] > mean[:, 2].mean() + 30 and nose[1] > chin[1] + 30  # faces +z, y up
    assert mesh.face_normals[:, 2].mean() > 0.3


def test_empty_batch_is_rejected(toy_model):
    with pytest.raises(ValueError, match="no face"):
        face_obj(toy_model, toy_model.neutral(0))
