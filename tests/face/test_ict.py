import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_face import ICT_PARTS, ict_displacement, ict_head, landmarks, write_ict_folder

from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.ict import NARROW_FACE, ict_shapes, read_ict_folder
from jr2net.face.model import FaceModelError


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("ict") / "repository" / "FaceXModel"
    write_ict_folder(path)
    return path


@pytest.fixture(scope="module")
def model(folder):
    return read_ict_folder(folder, ICT_PARTS)


@pytest.fixture
def broken(folder, tmp_path):
    """A copy of the folder that tests may damage."""
    return Path(shutil.copytree(folder, tmp_path / "FaceXModel"))


def test_model_is_the_narrow_face_in_millimetres(model):
    head, _ = ict_head()
    kept = {tuple(row) for row in np.round(model.mean.numpy(), 2).tolist()}
    assert kept <= {tuple(row) for row in np.round(head.astype(np.float32), 2).tolist()}
    assert model.mean[:, 1].max() < 119  # no hair
    assert model.sizes == {"identity": 3, "expression": 51, "albedo": 64}
    assert model.license.startswith("ICT-FaceKit")


def test_parent_repository_is_accepted(folder, model):
    assert read_ict_folder(folder.parent, ICT_PARTS).digest == model.digest


def test_faces_point_outwards(model):
    corners = model.mean[model.faces][model.has_label("skin")[model.faces].all(1)]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normals[:, 2] > 0).all()


def test_landmarks_come_from_the_file(model):
    head, _ = ict_head()
    assert np.allclose(model.mean[model.landmarks].numpy(), head[landmarks(head)], atol=1e-4)


def test_every_shape_comes_from_the_file_of_its_name(model):
    sources = sorted({source for name in ARKIT_NAMES for source in ict_shapes(name)})
    assert len(sources) == 53
    for name, basis in zip(ARKIT_NAMES, model.expression_basis.numpy()):
        if name.startswith("eyeLook"):
            continue
        expected = sum(ict_displacement(sources.index(source)) for source in ict_shapes(name))
        skin = model.has_label("skin", "lips").numpy()
        assert np.allclose(basis[skin], expected[: skin.sum()], atol=1e-3), name


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("eyeBlinkLeft", ("eyeBlink_L",)),
        ("noseSneerRight", ("noseSneer_R",)),
        ("browInnerUp", ("browInnerUp_L", "browInnerUp_R")),
        ("cheekPuff", ("cheekPuff_L", "cheekPuff_R")),
        ("jawLeft", ("jawLeft",)),
        ("mouthRight", ("mouthRight",)),
        ("jawOpen", ("jawOpen",)),
    ],
)
def test_arkit_names_map_to_ict_files(name, files):
    assert ict_shapes(name) == files


@pytest.mark.parametrize(
    ("name", "side", "axis", "sign"),
    [
        ("eyeLookUpLeft", 1, 1, 1),
        ("eyeLookDownRight", -1, 1, -1),
        ("eyeLookOutLeft", 1, 0, 1),
        ("eyeLookInLeft", 1, 0, -1),
        ("eyeLookOutRight", -1, 0, -1),
        ("eyeLookInRight", -1, 0, 1),
    ],
)
def test_gaze_turns_one_eyeball(model, name, side, axis, sign):
    basis = model.expression_basis[ARKIT_NAMES.index(name)]
    pupil = model.has_label("pupil")
    own = pupil & (model.mean[:, 0] * side > 0)
    assert (basis[own, axis] * sign > 4).all()
    assert (basis[pupil & ~own] == 0).all()


def test_parts_are_labelled(model):
    names = [model.label_names[label] for label in model.labels]
    assert {"skin", "lips", "teeth_upper", "sclera", "iris", "pupil"} == set(names)
    lips = model.mean[model.has_label("lips")]
    assert lips[:, 0].abs().max() < 32
    assert (lips[:, 1] + 42).abs().max() < 16
    pupils = model.mean[model.has_label("pupil")]
    assert sorted(pupils[:, 0].round().tolist()) == [-32, 32]
    assert model.mean[model.has_label("sclera"), 2].min() > 75  # the eyeballs' backs are gone


def test_left_and_right_are_mirrored(model):
    mirror = model.mirror.numpy()
    assert np.array_equal(mirror[mirror], np.arange(len(mirror)))
    assert np.allclose(model.mean.numpy()[mirror], model.mean.numpy() * [-1, 1, 1], atol=1e-4)


def test_identity_does_not_move_the_head(model):
    skin = model.has_label("skin", "lips")
    modes = model.identity_basis[:, skin].double()
    arm = (model.mean[skin] - model.mean[skin].mean(0)).double()
    assert modes.mean(1).abs().max() < 1e-4
    assert np.abs(np.cross(arm.numpy(), modes.numpy()).mean(1)).max() < 1e-2
    flat = modes.flatten(1)
    gram = flat @ flat.t()
    assert (gram - gram.diag().diag()).abs().max() < 1e-4 * gram.max()
    assert (gram.diag().diff() <= 0).all()


def test_error_names_a_missing_expression_file(broken):
    (broken / "mouthFunnel.obj").unlink()
    with pytest.raises(FaceModelError, match=r"mouthFunnel\.obj: no such file; give the complete folder"):
        read_ict_folder(broken, ICT_PARTS)


def test_another_topology_is_rejected(folder):
    with pytest.raises(FaceModelError, match=r"generic_neutral_mesh\.obj: .* fewer than ICT-FaceKit's topology"):
        read_ict_folder(folder, NARROW_FACE)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("jawOpen.obj", lambda text: text.replace("v ", "# ", 1), "the neutral mesh has"),
        ("jawOpen.obj", lambda text: text.replace("v ", "v x", 1), "vertices cannot be read"),
        ("jawOpen.obj", lambda text: "", "vertices cannot be read"),
        (
            "generic_neutral_mesh.obj",
            lambda text: text.replace("f ", "f 9999999/1 ", 1),
            "they refer to missing vertices",
        ),
        ("generic_neutral_mesh.obj", lambda text: text.replace("f ", "f one/", 1), "faces or texture"),
        ("vertex_indices.json", lambda text: "{}", "idx_to_landmark_verts cannot be read"),
        ("vertex_indices.json", lambda text: json.dumps({"idx_to_landmark_verts": [1, 2]}), "68 vertices"),
    ],
)
def test_error_names_a_damaged_file(broken, name, change, message):
    (broken / name).write_text(change((broken / name).read_text()))
    with pytest.raises(FaceModelError, match=message) as error:
        read_ict_folder(broken, ICT_PARTS)
    assert name in str(error.value)


def test_folder_without_identities_is_rejected(broken):
    for path in broken.glob("identity*.obj"):
        path.unlink()
    with pytest.raises(FaceModelError, match=r"no identity000\.obj"):
        read_ict_folder(broken, ICT_PARTS)
