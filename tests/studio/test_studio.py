"""The studio: reproducible people, ground truth only in test sets, images that agree with their landmarks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from jr2net.config import StudioConfig
from jr2net.face.camera import Camera
from jr2net.face.landmarks import INNER
from jr2net.face.light import irradiance
from jr2net.face.model import FaceModel, FaceModelError
from jr2net.face.model_file import read_model_file
from jr2net.face.parameters import FaceParameters
from jr2net.face.procedural import build_procedural_face
from jr2net.images.clip import ClipRow
from jr2net.render.renderer import landmarks_2d
from jr2net.studio.film import film_people
from jr2net.studio.head import boundary_loop, build_head
from jr2net.studio.scene import draw_light
from jr2net.studio.truth import fit_harmonics

EXACT = StudioConfig(frames=2, test_frames=2, detector_shrink=0.0, detector_noise=0.0)


@pytest.fixture(scope="module")
def procedural() -> FaceModel:
    return build_procedural_face()


@pytest.fixture(params=["procedural", "ict"])
def model(request: pytest.FixtureRequest) -> FaceModel:
    if request.param == "procedural":
        return request.getfixturevalue("procedural")
    return read_model_file(request.getfixturevalue("real_ground") / "assets" / "ict_narrow_lo.npz")


def decode(row: ClipRow) -> np.ndarray:
    """Images (T, S, S, 3) of a row, RGB uint8."""
    return np.stack([cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1] for data in row.images])


def same(first: ClipRow, second: ClipRow) -> bool:
    return (
        first.clip_id == second.clip_id
        and first.images == second.images
        and np.array_equal(first.landmarks, second.landmarks)
    )


def test_a_person_does_not_depend_on_the_range_filmed(procedural: FaceModel) -> None:
    together = list(film_people(procedural, EXACT, seed=5, first=0, count=3, kind="natural", size=32))
    (alone,) = film_people(procedural, EXACT, seed=5, first=2, count=1, kind="natural", size=32)
    assert same(alone, together[2])
    assert np.array_equal(alone.truth.expression, together[2].truth.expression)
    assert not same(together[0], together[1])


def test_seed_and_kind_change_the_people(procedural: FaceModel) -> None:
    rows = [
        next(film_people(procedural, EXACT, seed, 0, 1, kind, 32))
        for seed, kind in ((0, "natural"), (1, "natural"), (0, "large"))
    ]
    identities = [row.truth.identity for row in rows]
    assert not np.allclose(identities[0], identities[1])
    assert not np.allclose(identities[0], identities[2])
    assert len({row.identity for row in rows}) == 3


def test_only_test_sets_have_ground_truth(procedural: FaceModel) -> None:
    config = StudioConfig(frames=3, test_frames=2)
    (train,) = film_people(procedural, config, 0, 0, 1, "train", 32)
    (large,) = film_people(procedural, config, 0, 0, 1, "large", 32)
    assert train.truth is None and len(train) == 3
    assert large.truth is not None and len(large) == 2
    assert large.truth.identity.shape == (procedural.sizes["identity"],)
    assert large.truth.albedo.shape == (procedural.sizes["albedo"],)
    assert large.truth.expression.shape == (2, 51)
    assert large.truth.light.shape == (2, 9, 3)
    assert (np.diff(train.frame) > 0).all()


def test_unknown_kind_raises(procedural: FaceModel) -> None:
    with pytest.raises(ValueError, match="natural"):
        next(film_people(procedural, EXACT, 0, 0, 1, "smiling", 32))  # type: ignore[arg-type]


def test_truth_projects_onto_the_landmarks(model: FaceModel) -> None:
    """Projected by the default camera, ground truth matches an exact detector's landmarks up to the focal length."""
    size = 64
    for row in film_people(model, EXACT, 1, 0, 4, "large", size):
        truth = row.truth
        parameters = FaceParameters(
            identity=torch.from_numpy(truth.identity).expand(len(row), -1),
            expression=torch.from_numpy(truth.expression),
            albedo=torch.from_numpy(truth.albedo).expand(len(row), -1),
            rotation=torch.from_numpy(truth.rotation),
            translation=torch.from_numpy(truth.translation),
            light=torch.from_numpy(truth.light),
        )
        projected = landmarks_2d(model, parameters, Camera.default(size)).numpy()
        assert np.abs(projected - row.landmarks)[:, INNER].mean() < 0.02 * size


def test_images_show_a_face_in_the_crop(model: FaceModel) -> None:
    for row in film_people(model, EXACT, 2, 0, 3, "train", 48):
        images = decode(row)
        assert images.shape == (2, 48, 48, 3)
        points = row.landmarks / 48
        assert ((points > 0.05) & (points < 0.95)).all()
        assert images.reshape(2, -1).std(1).min() > 5


def test_the_mouth_is_where_its_landmarks_are(procedural: FaceModel) -> None:
    """Lips are redder than the chin below them, in most people."""
    redder = 0
    rows = list(film_people(procedural, EXACT, 3, 0, 12, "train", 64))
    for row in rows:
        image = cv2.GaussianBlur(decode(row)[0].astype(np.float32), (0, 0), 0.7)
        lip, chin = row.landmarks[0, 57] * [1, 1] - [0, 1.0], row.landmarks[0, [57, 8]].mean(0)
        values = [image[int(y), int(x)] for x, y in (lip, chin)]
        redness = [value[0] / (value.sum() + 1) for value in values]
        redder += redness[0] > redness[1]
    assert redder > len(rows) * 0.6


def test_the_head_closes_seamlessly_around_the_face(model: FaceModel) -> None:
    head = build_head(model)
    edges = torch.cat([head.faces[:, [0, 1]], head.faces[:, [1, 2]], head.faces[:, [2, 0]]]).numpy()
    rim = boundary_loop(model)
    ahead = {(int(a), int(b)) for a, b in edges}
    for a, b in zip(rim, np.roll(rim, -1)):
        assert (a, b) in ahead and (b, a) in ahead, "each edge of the rim has a triangle on either side"
    moved = model.mean[None] + torch.tensor([0.0, -9.0, 2.0])
    assert torch.allclose(head.vertices(moved)[:, : head.face_size], moved)


def test_a_model_without_a_rim_raises(procedural: FaceModel) -> None:
    from dataclasses import replace

    tetrahedron = torch.tensor([[0, 1, 2], [0, 3, 1], [1, 3, 2], [2, 3, 0]])
    with pytest.raises(FaceModelError, match="rim"):
        boundary_loop(replace(procedural, faces=tetrahedron))


def test_harmonics_approximate_the_lamps() -> None:
    light = draw_light(np.random.default_rng(4))
    normal = torch.nn.functional.normalize(torch.randn(200, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    exact = light.irradiance(normal.numpy())
    fitted = irradiance(normal[None].double(), torch.from_numpy(fit_harmonics(light))[None])[0].numpy()
    assert np.abs(fitted - exact).mean() < 0.06 * exact.mean()
