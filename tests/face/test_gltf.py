import io
import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from jr2net.config import FaceConfig
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.gltf import FaceMotion, animated_face_glb, face_glb, vertex_normals
from jr2net.face.load import load_face_model
from jr2net.face.parameters import FaceParameters


@pytest.fixture(scope="module")
def model():
    return load_face_model(FaceConfig())


@pytest.fixture(scope="module")
def face(model) -> FaceParameters:
    generator = torch.Generator().manual_seed(0)
    return FaceParameters(
        identity=torch.randn(2, model.sizes["identity"], generator=generator),
        expression=torch.rand(2, 51, generator=generator),
        albedo=torch.randn(2, model.sizes["albedo"], generator=generator),
        rotation=torch.zeros(2, 3),
        translation=torch.tensor([[0.0, 0.0, 1080.0]] * 2),
        light=torch.zeros(2, 9, 3),
    )


def _read(glb: bytes) -> tuple[dict, list[np.ndarray]]:
    """The JSON document and the values of every accessor, sparse ones expanded."""
    length = int.from_bytes(glb[12:16], "little")
    document, binary = json.loads(glb[20 : 20 + length]), glb[28 + length :]

    def view(index: int, kind: str) -> np.ndarray:
        part = document["bufferViews"][index]
        return np.frombuffer(binary[part["byteOffset"] :][: part["byteLength"]], kind)

    def values(accessor: dict) -> np.ndarray:
        kind = {5126: "<f4", 5125: "<u4"}[accessor["componentType"]]
        width = {"VEC3": 3, "SCALAR": 1}[accessor["type"]]
        if "bufferView" in accessor:
            return view(accessor["bufferView"], kind).reshape(-1, width)
        filled = np.zeros((accessor["count"], width), kind)
        if sparse := accessor.get("sparse"):
            rows = view(sparse["indices"]["bufferView"], "<u4")
            filled[rows] = view(sparse["values"]["bufferView"], kind).reshape(-1, width)
        return filled

    return document, [values(accessor) for accessor in document["accessors"]]


def test_neutral_plus_weighted_targets_is_the_fitted_shape_in_metres(model, face):
    document, arrays = _read(face_glb(model, face))
    mesh = document["meshes"][0]
    primitive = mesh["primitives"][0]
    shape = arrays[primitive["attributes"]["POSITION"]].astype(np.float64)
    for weight, target in zip(mesh["weights"], primitive["targets"], strict=True):
        shape += weight * arrays[target["POSITION"]]
    fitted = model.shape(face.identity, face.expression)[0].numpy() / 1000
    assert (
        np.abs(shape - fitted).max() < 1e-4
    )  # 0.1 mm: each of 51 sparse targets leaves out displacements below 0.01 mm


def test_targets_are_named_and_weighted_by_the_expression(model, face):
    document, _ = _read(face_glb(model, face[1]))
    assert document["meshes"][0]["extras"]["targetNames"] == list(ARKIT_NAMES)
    assert document["meshes"][0]["weights"] == pytest.approx(face.expression[1].tolist())


def test_the_face_model_and_its_licence_are_credited(model, face):
    credit = _read(face_glb(model, face))[0]["asset"]["copyright"]
    holder = (Path(__file__).parents[2] / "LICENSE").read_text().splitlines()[2]
    assert "'procedural face': MIT License, " in credit and credit.endswith(holder.replace("C", "c", 1))
    bare = _read(face_glb(replace(model, name="mine", license=""), face))[0]["asset"]["copyright"]
    assert bare.endswith("the face model 'mine': licence not stated")


def test_accessors_have_correct_bounds(model, face):
    document, arrays = _read(face_glb(model, face))
    bounded = [(part, values) for part, values in zip(document["accessors"], arrays, strict=True) if "min" in part]
    assert len(bounded) == 52
    for part, values in bounded:
        assert np.array_equal(part["min"], values.min(0)) and np.array_equal(part["max"], values.max(0))


def test_trimesh_loads_it_upright_in_metres_with_names(model, face):
    (mesh,) = trimesh.load(io.BytesIO(face_glb(model, face)), file_type="glb", process=False).geometry.values()
    assert np.array_equal(mesh.faces, model.faces.numpy())
    assert 0.1 < np.ptp(mesh.vertices[:, 1]) < 0.5
    nose, chin = mesh.vertices[model.landmarks[30]], mesh.vertices[model.landmarks[8]]
    assert nose[2] > mesh.vertices[:, 2].mean() + 0.03 and nose[1] > chin[1] + 0.03  # faces +z, y up
    assert mesh.vertex_normals[:, 2].mean() > 0.3
    assert mesh.metadata["targetNames"] == list(ARKIT_NAMES)


def test_the_order_of_the_vertices_is_the_same_for_everybody(model, face):
    first, second = (_read(face_glb(model, face[n])) for n in (0, 1))
    indices = [arrays[document["meshes"][0]["primitives"][0]["indices"]] for document, arrays in (first, second)]
    assert np.array_equal(*indices) and np.array_equal(indices[0].reshape(-1, 3), model.faces.numpy())


def test_colours_are_linear(model, face):
    document, arrays = _read(face_glb(model, face))
    colours = arrays[document["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]]
    seen = np.where(colours <= 0.0031308, 12.92 * colours, 1.055 * colours ** (1 / 2.4) - 0.055)
    assert np.allclose(seen, model.reflectance(face.albedo)[0].clamp(0, 1).numpy(), atol=1e-3)


VALIDATE = """
const { validateBytes } = require("gltf-validator");
validateBytes(new Uint8Array(require("fs").readFileSync(0))).then((report) => console.log(JSON.stringify(report)));
"""


def test_khronos_validator_finds_nothing(model, face):
    """Runs where npm's ``gltf-validator`` is found: ``npm install --global gltf-validator``, or in NODE_PATH."""
    node = shutil.which("node")
    npm = subprocess.run(["npm", "root", "--global"], capture_output=True, text=True).stdout if node else ""
    environment = {**os.environ, "NODE_PATH": os.pathsep.join([os.environ.get("NODE_PATH", ""), npm.strip()])}
    found = node and subprocess.run([node, "-e", 'require("gltf-validator")'], env=environment, capture_output=True)
    if not found or found.returncode:
        pytest.skip("Node.js or npm's gltf-validator is not installed")
    motion = FaceMotion(np.arange(5) / 30, np.random.default_rng(0).random((5, 51)), np.zeros((5, 3)), np.ones((5, 3)))
    for content in (face_glb(model, face), animated_face_glb(model, face, motion)):
        run = subprocess.run([node, "-e", VALIDATE], input=content, env=environment, capture_output=True, check=True)
        assert json.loads(run.stdout)["issues"]["messages"] == []


def test_empty_batch_is_rejected(model, face):
    with pytest.raises(ValueError, match="no face"):
        face_glb(model, face[2:])


def test_normals_have_unit_length_and_point_outwards():
    sphere = trimesh.creation.icosphere(3)
    normals = vertex_normals(sphere.vertices, sphere.faces)
    assert np.allclose(normals, sphere.vertices, atol=0.02)
    alone = vertex_normals(np.zeros((1, 3)), np.zeros((0, 3), int))
    assert np.linalg.norm(alone) == pytest.approx(1)
