"""Unit tests of the studio's modules: people, backgrounds, development, contact sheet."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from jr2net.studio import contact_sheet
from jr2net.studio.background import draw_background
from jr2net.studio.develop import develop, draw_motion, draw_recording
from jr2net.studio.people import draw_person
from jr2net.studio.props import glasses_outline
from jr2net.studio.scene import draw_light, draw_take
from jr2net.studio.textures import TILE, fractal_noise, lookup

SIZES = {"identity": 80, "expression": 51, "albedo": 64}


def test_people_vary_like_people_in_photographs() -> None:
    people = [draw_person(np.random.default_rng(number), SIZES) for number in range(300)]
    for colour in ("tone", "lips", "iris", "beard_colour"):
        values = np.array([getattr(person, colour) for person in people])
        assert ((values >= 0) & (values <= 1)).all()
    assert np.ptp([person.tone.mean() for person in people]) > 0.45, "light to dark skin"
    assert 0.1 < np.mean([person.glasses is not None for person in people]) < 0.3
    assert 0.1 < np.mean([any(person.beard[:3]) for person in people]) < 0.5
    assert 0.2 < np.mean([person.hair.length > 0 for person in people]) < 0.6
    assert {person.clothes.kind for person in people} == {"shirt", "suit", "turtleneck", "bare"}
    assert any(person.hair.hairline[0] < 40 for person in people), "some are bald"


def test_most_poses_face_the_camera_and_some_turn_far() -> None:
    takes = [draw_take(np.random.default_rng(number), 3) for number in range(400)]
    pitch, yaw, roll = np.degrees(np.concatenate([take.rotation for take in takes])).T
    assert 0.85 < np.mean(np.abs(yaw) < 30) < 0.99
    assert np.abs(yaw).max() <= 52 and np.abs(pitch).max() <= 28 and np.abs(roll).max() <= 22
    assert min(take.translation[:, 2].min() for take in takes) > 400


def test_backgrounds_have_structure() -> None:
    rng = np.random.default_rng(0)
    images = [draw_background(rng, 48) for _ in range(40)]
    for image in images:
        assert image.shape == (48, 48, 3) and image.dtype == np.float32
        assert image.min() >= 0 and image.max() <= 1
    assert np.mean([image.std() > 0.02 for image in images]) > 0.5


def test_light_is_exposed_for_a_frontal_face() -> None:
    frontal = np.array([[0.0, 0.0, 1.0]], np.float32)
    levels = [draw_light(np.random.default_rng(number)).irradiance(frontal).mean() for number in range(200)]
    assert 0.8 < np.median(levels) < 1.3
    assert min(levels) > 0.2


def test_developed_images_have_the_given_size_and_black_borders() -> None:
    rng = np.random.default_rng(1)
    recording = replace(draw_recording(rng), borders=np.array([0.25, 0, 0, 0]), quality=95, lift=0.0, scale=0.5)
    data = develop(np.full((64, 64, 3), 0.6, np.float32), recording, draw_motion(recording, rng), rng, 32)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (32, 32, 3)
    assert image[:, :7].mean() < 12 < 60 < image[:, 10:].mean()


def test_noise_tiles_wrap_around() -> None:
    tile = fractal_noise(1.0)
    assert abs(tile.mean()) < 1e-3 and tile.std() == pytest.approx(1, abs=1e-3)
    x, y = np.array([3.25, 3.25 + TILE, 3.25 - TILE]), np.array([250.5, 250.5 - TILE, 250.5 + TILE])
    assert np.ptp(lookup(tile, x, y)) < 1e-4


def test_glasses_surround_the_eyes() -> None:
    turn = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    ring = np.stack([14 * np.cos(turn), 5 * np.sin(turn), np.full(6, 80.0)], 1)
    eyes = np.concatenate([ring + np.array([x, 34, 0]) for x in (-32, 32)])
    ears = np.array([[75.0, 40, 10], [-75, 40, 10]])
    person = next(p for p in (draw_person(np.random.default_rng(n), SIZES) for n in range(99)) if p.glasses is not None)
    lines = glasses_outline(person.glasses, eyes, ears)
    for side, sign in (("left", 1), ("right", -1)):
        assert lines[side][:, 0].min() < sign * 32 < lines[side][:, 0].max()
        assert lines[side][:, 2].min() > 65
        assert np.allclose(lines[f"{side} temple"][-1], ears[0 if sign > 0 else 1])
    assert np.allclose(lines["bridge"][:, 0].mean(), 0, atol=1)


def test_the_contact_sheet_is_written(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    contact_sheet.main([str(out), "--people", "3", "--columns", "2", "--size", "32", "--landmarks"])
    assert cv2.imread(str(out)).shape == (64, 64, 3)


def test_a_person_depends_on_the_generator_alone() -> None:
    one, other = (draw_person(np.random.default_rng(7), SIZES) for _ in range(2))
    for field in fields(one):
        if field.name not in ("hair", "glasses", "clothes"):
            assert np.array_equal(getattr(one, field.name), getattr(other, field.name))
