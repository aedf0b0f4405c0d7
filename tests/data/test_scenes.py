"""Scenes for the face detector: what they show is what their labels say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jr2net.config import StudioConfig
from jr2net.config.studio import Manner
from jr2net.data import scenes
from jr2net.data.scenes import MAX_FACES, Portrait, Scene, SceneLoader, draw_scene, visible
from jr2net.data.shards import write_clips
from jr2net.face.model import FaceModel
from jr2net.studio.background import draw_background
from jr2net.studio.clutter import draw_clutter
from jr2net.studio.film import film_people

SIDE = 64
ACTING: dict[Manner, float] = {"large": 1.0, "natural": 1.0}


@pytest.fixture(scope="module")
def folder(procedural_model: FaceModel, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("portraits")
    studio = StudioConfig(test_frames=2, detector_shrink=0.0, detector_noise=0.0)
    rows = film_people(procedural_model, studio, 0, 0, 3, "labelled", 48, mattes=True, manners=ACTING, widest=1.6)
    write_clips(str(folder / "people.parquet"), rows)
    return str(folder)


@pytest.fixture(autouse=True)
def few_backdrops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "_BACKDROPS", 2)
    scenes._backdrops.cache_clear()


def loader(folder: str, **arguments: int | bool) -> SceneLoader:
    return SceneLoader(folder, side=SIDE, seed=3, batch_size=6, **arguments)  # type: ignore[arg-type]


def test_a_batch_is_a_function_of_its_step(folder: str) -> None:
    first, again = loader(folder).batch(5), loader(folder).batch(5)
    assert first["image"].shape == (6, 3, SIDE, SIDE) and first["landmarks"].shape == (6, MAX_FACES, 68, 2)
    assert torch.equal(first["image"], again["image"]) and torch.equal(first["landmarks"], again["landmarks"])
    assert not torch.equal(first["image"], loader(folder).batch(6)["image"])
    stream = iter(loader(folder, start_step=5))
    assert torch.equal(next(stream)["image"], first["image"])
    stream.close()  # type: ignore[attr-defined]


def test_the_workers_parts_make_the_global_batch(folder: str) -> None:
    whole, parts = loader(folder).batch(1), [loader(folder, rank=rank, world=2).batch(1) for rank in range(2)]
    assert torch.equal(whole["image"], torch.cat([part["image"] for part in parts]))
    assert whole["sample_id"] == [name for part in parts for name in part["sample_id"]]


def test_people_who_are_held_back_are_in_no_other_batch(folder: str) -> None:
    held, others = loader(folder, held_back=True).portraits, loader(folder).portraits
    assert len(held) == 2 and len(others) == 4
    assert not any(np.array_equal(a.landmarks, b.landmarks) for a in held for b in others)


def test_scenes_have_faces_seen_whole_hidden_and_none(folder: str) -> None:
    portraits = loader(folder).portraits
    drawn = [draw_scene(np.random.default_rng([0, number]), portraits, SIDE) for number in range(60)]
    shares = [share for scene in drawn for share in visible(scene)]
    assert all(scene.image.shape == (SIDE, SIDE, 3) and scene.image.dtype == np.uint8 for scene in drawn)
    assert any(not scene.landmarks for scene in drawn) and max(shares) == 1 and 0 <= min(shares) < 0.5


def test_landmarks_lie_where_the_person_was_pasted() -> None:
    """A person who is a white dot at each landmark: the scene is white there, and nowhere else."""
    points = np.stack(np.meshgrid(np.linspace(12, 36, 17), np.linspace(12, 36, 4)), -1).reshape(68, 2)
    image = np.zeros((48, 48, 3), np.uint8)
    image[11:38, 11:38] = 255
    scene, rng = Scene(np.zeros((SIDE, SIDE, 3), np.uint8)), np.random.default_rng(0)
    scenes._paste(scene, Portrait(image, np.full((48, 48), 255, np.uint8), points), rng, np.array([30.0, 34]), 30, 0.5)
    x, y = scene.landmarks[0].astype(int).T
    centre, size = scenes.box_of(scene.landmarks[0])
    assert centre == pytest.approx([30, 34], abs=1) and 28 < size < 45
    assert scene.image[y, x].mean() > 4 * scene.image[scene.image.mean(-1) < 100].mean() + 60


def test_what_lies_in_front_hides_points() -> None:
    scene = Scene(np.zeros((SIDE, SIDE, 3), np.uint8))
    points = np.stack(np.meshgrid(np.linspace(-8, 56, 17), np.linspace(8, 40, 4)), -1).reshape(68, 2)
    scene.add(points)
    inside = visible(scene)[0]
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:, :32] = 255
    scene.cover(mask)
    assert inside == pytest.approx(15 / 17) and visible(scene)[0] == pytest.approx(7 / 17)


def test_clutter_changes_the_picture_only_where_it_says() -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        image = (255 * draw_background(rng, 48)).astype(np.uint8)
        before = image.copy()
        mask = draw_clutter(image, np.array([24.0, 24]), 20, rng)
        assert mask.any() and np.array_equal(image[mask == 0], before[mask == 0])
