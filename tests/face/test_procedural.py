"""The procedural face: a valid model, exactly symmetric, whose blendshapes match their names."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from jr2net.face.arkit import ARKIT_NAMES, MIRROR_ORDER, mirrored_name
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.face.procedural import anatomy, build_procedural_face
from jr2net.render.renderer import render

SIZE = 160
FLIP = torch.tensor([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return build_procedural_face()


def posed(model: FaceModel, coefficients: dict[str, float], people: int = 1, seed: int = 0) -> FaceParameters:
    """The mean face followed by random identities, all with these expression coefficients."""
    parameters = model.neutral(people)
    identity = torch.randn(parameters.identity.shape, generator=torch.Generator().manual_seed(seed))
    identity[0] = 0
    expression = torch.zeros_like(parameters.expression)
    for name, value in coefficients.items():
        expression[:, ARKIT_NAMES.index(name)] = value
    return parameters.replace(identity=identity, expression=expression)


def count_pixels(model: FaceModel, parameters: FaceParameters, *labels: str) -> list[int]:
    """Number of pixels of each image that show triangles whose vertices all have one of these labels."""
    visible = render(model, parameters, Camera.default(SIZE)).fragments.pix_to_face
    labelled = model.has_label(*labels)[model.faces].all(1)
    return [int((labelled[face.clamp(min=0)] & (face >= 0)).sum()) for face in visible]


def shape(model: FaceModel, name: str) -> Tensor:
    return model.expression_basis[ARKIT_NAMES.index(name)]


def moved(model: FaceModel, name: str, landmark: int) -> Tensor:
    return shape(model, name)[model.landmarks[landmark]]


EYEBALL = ("sclera", "iris", "pupil")
INSIDE = ("teeth_upper", "teeth_lower", "mouth_socket")


def test_sizes(model: FaceModel) -> None:
    assert model.sizes == {"identity": 80, "expression": 51, "albedo": 64}
    assert 2300 <= len(model.mean) <= 3000
    for label in model.label_names:
        assert model.has_label(label).any(), label
    extent = model.mean.max(0).values - model.mean.min(0).values
    assert 140 < extent[0] < 155 and 185 < extent[1] < 210
    assert model.uv.min() >= 0 and model.uv.max() <= 1


def test_build_is_deterministic(model: FaceModel) -> None:
    assert build_procedural_face().digest == model.digest


@pytest.mark.skipif(platform.machine() != "x86_64", reason="selects BLAS kernels for x86 processors")
def test_build_is_identical_on_other_processors(model: FaceModel) -> None:
    """Linear algebra differs in the last bits between processors, but checkpoints store the digest of the model."""
    code = "from jr2net.face.procedural import build_procedural_face; print(build_procedural_face().digest)"
    env = os.environ | {"OPENBLAS_CORETYPE": "Nehalem", "OMP_NUM_THREADS": "1"}
    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == model.digest


def test_mirror_is_exact(model: FaceModel) -> None:
    mirror = model.mirror
    assert torch.equal(mirror[mirror], torch.arange(len(mirror)))
    assert torch.equal(model.mean[mirror] * FLIP, model.mean)
    assert torch.equal(model.labels[mirror], model.labels)
    assert torch.equal(model.albedo_mean[mirror], model.albedo_mean)
    assert torch.equal(model.expression_basis[:, mirror] * FLIP, model.expression_basis[list(MIRROR_ORDER)])
    for mode in model.identity_basis:
        image = mode[mirror] * FLIP
        assert torch.equal(image, mode) or torch.equal(image, -mode)
    for mode in model.albedo_basis:
        image = mode[mirror]
        assert torch.equal(image, mode) or torch.equal(image, -mode)


def test_shapes_without_a_side_are_symmetric(model: FaceModel) -> None:
    for name in ("browInnerUp", "cheekPuff", "jawOpen", "mouthPucker", "mouthFunnel"):
        assert mirrored_name(name) == name
        assert torch.equal(shape(model, name)[model.mirror] * FLIP, shape(model, name))


def test_triangles_face_outwards(model: FaceModel) -> None:
    corners = model.mean[model.faces]
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normal.norm(dim=1) > 1e-4).all()
    middle = corners.mean(1)
    ball = model.has_label(*EYEBALL)[model.faces].all(1)
    eye = torch.tensor(anatomy.EYE_CENTRE, dtype=torch.float32) * torch.stack(
        [middle[:, 0].sign()] + 2 * [torch.ones(len(middle))], 1
    )
    assert (((middle - eye) * normal).sum(1) > 0)[ball].all()
    skin = model.has_label("skin")[model.faces].all(1)
    outwards = ((middle - torch.tensor(anatomy.CENTRE, dtype=torch.float32)) * normal).sum(1) > 0
    assert outwards[skin].float().mean() > 0.97  # nostrils and lid creases turn inwards
    # every vertex belongs to a triangle
    assert (model.faces.flatten().bincount(minlength=len(model.mean)) > 0).all()


def test_landmarks_are_ibug(model: FaceModel) -> None:
    points = model.mean[model.landmarks]
    x, y = points[:, 0], points[:, 1]
    assert len(set(model.landmarks.tolist())) == 68
    assert (x[:17].diff() > 0).all()  # from the subject's right ear to the left ear
    assert y[8] == y[:17].min()
    assert (x[17:27].diff() > 0).all() and (y[27:31].diff() < 0).all() and (x[31:36].diff() > 0).all()
    for outer, inner, top, bottom in ((36, 39, (37, 38), (41, 40)), (45, 42, (44, 43), (46, 47))):
        assert x[outer].abs() > x[inner].abs()
        assert y[list(top)].min() > y[[outer, inner]].max() and y[list(bottom)].max() < y[[outer, inner]].min()
    assert x[48] == x[48:68].min() and x[54] == x[48:68].max()
    assert y[48:60].argmax() in (2, 4) and y[48:60].argmin() == 9
    assert (x[48:55].diff() > 0).all() and (x[54:60].diff() < 0).all()
    assert (x[60:65].diff() > 0).all() and (x[64:68].diff() < 0).all()
    swap = dict(zip(range(17), range(16, -1, -1))) | {
        17: 26,
        21: 22,
        31: 35,
        36: 45,
        39: 42,
        41: 46,
        48: 54,
        60: 64,
        67: 65,
    }
    for right, left in swap.items():
        assert model.mirror[model.landmarks[right]] == model.landmarks[left]
    assert 88 < x[45] - x[36] < 95


def test_lids_close_over_the_eyeballs(model: FaceModel) -> None:
    open_eyes = count_pixels(model, posed(model, {}, 6), *EYEBALL)
    closed = count_pixels(model, posed(model, {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}, 6), *EYEBALL)
    assert min(open_eyes) > 150
    assert max(closed) <= 2
    wide = count_pixels(model, posed(model, {"eyeWideLeft": 1.0, "eyeWideRight": 1.0}), *EYEBALL)
    squint = count_pixels(model, posed(model, {"eyeSquintLeft": 1.0, "eyeSquintRight": 1.0}), *EYEBALL)
    assert wide[0] > 1.15 * open_eyes[0] and squint[0] < 0.75 * open_eyes[0]


def test_half_closed_lids_do_not_intersect_the_eyeball(model: FaceModel) -> None:
    """Half closed, about half of the eyeball is visible."""
    counts = [
        count_pixels(model, posed(model, {"eyeBlinkLeft": value, "eyeBlinkRight": value}), *EYEBALL)[0]
        for value in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert counts == sorted(counts, reverse=True)
    assert 0.25 * counts[0] < counts[2] < 0.7 * counts[0]


def test_gaze_moves_the_pupil(model: FaceModel) -> None:
    pupil = model.has_label("pupil") & (model.mean[:, 0] > 0)
    for name, axis, sign in (("Up", 1, 1), ("Down", 1, -1), ("Out", 0, 1), ("In", 0, -1)):
        offset = shape(model, f"eyeLook{name}Left")[pupil].mean(0)
        assert sign * offset[axis] > 5
        ball = model.has_label(*EYEBALL) & (model.mean[:, 0] > 0)
        centre = torch.tensor(anatomy.EYE_CENTRE, dtype=torch.float32)
        radius = (model.mean[ball] + shape(model, f"eyeLook{name}Left")[ball] - centre).norm(dim=1)
        assert torch.allclose(radius, torch.full_like(radius, anatomy.EYE_RADIUS), atol=1e-2)


def test_open_jaw_shows_teeth_and_mouth_socket(model: FaceModel) -> None:
    closed = count_pixels(model, posed(model, {}, 12), *INSIDE)
    assert closed[0] == 0 and sum(closed) <= 12  # no identity opens the mouth
    opened = posed(model, {"jawOpen": 1.0})
    for label in INSIDE:
        assert count_pixels(model, opened, label)[0] > 10, label
    assert count_pixels(model, posed(model, {"jawOpen": 1.0, "mouthClose": 1.0}), *INSIDE)[0] <= 2
    lips = model.mean[model.landmarks] + shape(model, "jawOpen")[model.landmarks]
    assert 18 < lips[62, 1] - lips[66, 1] < 35


def test_jaw_rotates_about_its_joints(model: FaceModel) -> None:
    opened = shape(model, "jawOpen")
    lower, upper = model.has_label("teeth_lower"), model.has_label("teeth_upper")
    assert opened[upper].abs().max() == 0
    axis = torch.tensor(anatomy.JAW_AXIS, dtype=torch.float32)[1:]
    before, after = model.mean[lower][:, 1:] - axis, (model.mean + opened)[lower][:, 1:] - axis
    assert torch.allclose(before.norm(dim=1), after.norm(dim=1), atol=1e-2)
    assert moved(model, "jawOpen", 8)[1] < -15 and moved(model, "jawOpen", 30).norm() < 0.5


@pytest.mark.parametrize(
    ("name", "landmark", "direction"),
    [
        ("mouthSmileLeft", 54, (1, 1, -1)),
        ("mouthFrownLeft", 54, (0, -1, 0)),
        ("mouthStretchLeft", 54, (1, -1, 0)),
        ("mouthDimpleLeft", 54, (1, 0, -1)),
        ("mouthPucker", 54, (-1, 0, 1)),
        ("mouthFunnel", 54, (-1, 0, 1)),
        ("mouthLeft", 51, (1, 0, 0)),
        ("mouthRight", 51, (-1, 0, 0)),
        ("jawLeft", 8, (1, 0, 0)),
        ("jawForward", 8, (0, 0, 1)),
        ("mouthUpperUpLeft", 52, (0, 1, 0)),
        ("mouthLowerDownLeft", 56, (0, -1, 0)),
        ("mouthShrugLower", 57, (0, 1, 0)),
        ("mouthShrugUpper", 51, (0, 1, 0)),
        ("mouthRollLower", 57, (0, 1, -1)),
        ("mouthRollUpper", 51, (0, -1, -1)),
        ("browDownLeft", 22, (0, -1, 0)),
        ("browInnerUp", 22, (0, 1, 0)),
        ("browOuterUpLeft", 25, (0, 1, 0)),
        ("noseSneerLeft", 35, (0, 1, 0)),
    ],
)
def test_shapes_move_landmarks_in_the_expected_direction(
    model: FaceModel, name: str, landmark: int, direction: tuple[int, int, int]
) -> None:
    offset = moved(model, name, landmark)
    for value, sign in zip(offset.tolist(), direction):
        if sign:
            assert sign * value > 1.5, f"{name} moves landmark {landmark} by {offset.tolist()}"
    if name.endswith("Left") and name not in ("mouthLeft", "jawLeft"):
        far = model.mean[:, 0] < -20
        assert shape(model, name)[far].norm(dim=1).max() < 0.35 * shape(model, name).norm(dim=1).max()


def test_cheek_puff_widens_the_face(model: FaceModel) -> None:
    cheek = (model.mean - torch.tensor([45.0, -20.0, 86.0])).norm(dim=1).argmin()
    offset = shape(model, "cheekPuff")[cheek]
    assert offset[0] > 4 and offset[2] > 4


def test_identity_basis_is_orthogonal_sorted_and_realistic(model: FaceModel) -> None:
    flat = model.identity_basis.flatten(1).double()
    length = flat.norm(dim=1)
    gram = (flat @ flat.T) / (length[:, None] * length)
    assert (gram - torch.eye(80)).abs().max() < 2e-3
    assert (length.diff() < 1e-3).all()
    # RMS vertex deviation from the mean, after rigid alignment, of random people
    skin = model.has_label("skin", "lips")
    identity = torch.randn(40, 80, generator=torch.Generator().manual_seed(1))
    people = model.shape(identity, torch.zeros(40, 51))[:, skin]
    deviation = torch.stack([_rigid_residual(person, model.mean[skin]) for person in people])
    assert 3.0 < deviation.mean() < 4.5 and deviation.max() < 7.0


def test_eyeballs_stay_spherical(model: FaceModel) -> None:
    ball = model.has_label(*EYEBALL) & (model.mean[:, 0] > 0)
    identity = torch.randn(20, 80, generator=torch.Generator().manual_seed(2))
    for person in model.shape(identity, torch.zeros(20, 51)):
        points = person[ball]
        # Every point of a sphere satisfies |p|² = 2 p·c + k: a linear fit of centre and radius.
        system = torch.cat([2 * points, torch.ones(len(points), 1)], 1)
        solution = torch.linalg.lstsq(system, points.square().sum(1, keepdim=True)).solution[:, 0]
        radius = (solution[3] + solution[:3].square().sum()).sqrt()
        assert 12 < radius < 16.5
        assert ((points - solution[:3]).norm(dim=1) - radius).abs().max() < 0.15


def test_skin_colours_are_plausible(model: FaceModel) -> None:
    assert model.albedo_mean.min() >= 0 and model.albedo_mean.max() <= 1
    skin = model.albedo_mean[model.has_label("skin")].mean(0)
    assert 0.5 < skin[0] < 0.75 and skin[0] > skin[1] > skin[2] > 0.25
    flat = model.albedo_basis.flatten(1).double()
    length = flat.norm(dim=1)
    assert ((flat @ flat.T) / (length[:, None] * length) - torch.eye(64)).abs().max() < 5e-3
    albedo = torch.randn(50, 64, generator=torch.Generator().manual_seed(3))
    colours = model.reflectance(albedo)
    assert ((colours < 0) | (colours > 1)).float().mean() < 0.03


def _rigid_residual(points: Tensor, target: Tensor) -> Tensor:
    """RMS distance after the best rotation and translation (Kabsch)."""
    p, q = points - points.mean(0), target - target.mean(0)
    u, _, vh = torch.linalg.svd(p.T @ q)
    sign = torch.diag(torch.tensor([1.0, 1.0, float(torch.det(u @ vh).sign())]))
    return (p @ (u @ sign @ vh) - q).square().sum(1).mean().sqrt()
