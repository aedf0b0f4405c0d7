"""The studio's mattes: exactly the opacity of what is drawn before the background, aligned with the image."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from jr2net.config import StudioConfig
from jr2net.face.model import FaceModel
from jr2net.images.arrays import decode_image, decode_matte
from jr2net.images.clip import ClipRow
from jr2net.studio import film
from jr2net.studio.develop import Recording, develop, develop_matte, draw_motion, draw_recording
from jr2net.studio.film import KINDS, film_people
from jr2net.studio.shading import Shot

VARIED = StudioConfig(frames=2, test_frames=3, variety=1.0)
CLEAN = StudioConfig(frames=2, test_frames=2, variety=0.0)


def filmed(model: FaceModel, config: StudioConfig, first: int, count: int, size: int, mattes: bool = True, **options):
    return list(
        film_people(model, config, options.get("seed", 5), first, count, options.get("kind", "train"), size, mattes)
    )


def shots(model: FaceModel, monkeypatch: pytest.MonkeyPatch, backdrop: float, count: int = 30) -> list[Shot]:
    """The undeveloped shots of some people in front of an even background, every one of them with an occluder."""
    taken: list[Shot] = []
    render = film._render_frames

    def keep(*arguments) -> Shot:
        taken.append(render(*arguments[:-1], 1.0))
        return taken[-1]

    with monkeypatch.context() as patched:
        patched.setattr(film, "_render_frames", keep)
        patched.setattr(
            film, "_backdrops", lambda rng, frames, size: np.full((frames, size, size, 3), backdrop, np.float32)
        )
        filmed(model, VARIED, 0, count, 32)
    return taken


def test_the_matte_is_what_hides_the_background(procedural_model: FaceModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """In linear light a white background adds 1 - α to what is seen before a black one: hair, glasses, occluders."""
    black, white = (shots(procedural_model, monkeypatch, level) for level in (0.0, 1.0))
    for dark, bright in zip(black, white, strict=True):
        assert np.array_equal(dark.matte, bright.matte)
        assert dark.matte.min() >= 0 and dark.matte.max() <= 1
        assert np.abs(bright.image - dark.image - (1 - dark.matte[..., None])).max() < 1e-4


def test_frames_are_the_same_with_and_without_mattes(procedural_model: FaceModel) -> None:
    for kind in (name for name in KINDS if name != "captured"):  # those need a capture
        plain, matted = (filmed(procedural_model, VARIED, 0, 6, 32, mattes, kind=kind) for mattes in (False, True))
        for one, other in zip(plain, matted):
            assert one.matte is None and other.matte is not None
            assert one.images == other.images and np.array_equal(one.landmarks, other.landmarks)
        again = filmed(procedural_model, VARIED, 0, 6, 32, True, kind=kind)
        assert [row.matte for row in matted] == [row.matte for row in again]


def mattes_of(row: ClipRow) -> np.ndarray:
    """Mattes (T, S, S) of a row, in [0, 1]."""
    assert row.matte is not None
    decoded = [decode_matte(content) for content in row.matte]
    return np.stack([matte for matte in decoded if matte is not None]).astype(np.float32) / 255


@pytest.mark.parametrize("seed", range(6))
def test_the_matte_goes_through_the_same_lens(seed: int) -> None:
    """A grey shape before black, developed with a linear tone curve, is its matte: blur, motion, scale and borders."""
    rng = np.random.default_rng(seed)
    recording: Recording = replace(
        draw_recording(rng),
        balance=np.ones(3), contrast=1.0, gamma=1.0, saturation=1.0, lift=0.0, noise=0.0, vignette=0.0, quality=100,
        blur=(0.0, 0.8)[seed % 2], motion=((0.0, 4.0)[seed // 2 % 2], 0.5), scale=(1.0, 0.6)[seed // 4],
        borders=np.array([0.1, 0, 0, 0.05]),
    )  # fmt: skip
    canvas = np.zeros((128, 128), np.uint8)
    cv2.ellipse(canvas, (70, 60), (31, 44), 20, 0, 360, 255, -1, cv2.LINE_AA)
    matte = canvas.astype(np.float32) / 255
    motion = draw_motion(recording, rng)
    image = decode_image(develop(0.6 * matte[..., None].repeat(3, -1), recording, motion, rng, 64))
    developed = decode_matte(develop_matte(matte, recording, motion, 64))
    assert image is not None and developed is not None
    assert np.abs(np.minimum(image.mean(-1) / 0.6, 255) - developed).max() < 8  # where enlarging overshoots, mattes end


def test_composites_over_another_background_look_right(
    procedural_model: FaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person filmed before black, put before grey by its matte, is the image filmed before grey; a matte that is
    shifted by a pixel is clearly worse."""
    draw = film.draw_recording
    plain = {"borders": np.zeros(4), "vignette": 0.0, "lift": 0.0, "quality": 100}
    monkeypatch.setattr(film, "draw_recording", lambda *arguments: replace(draw(*arguments), **plain))

    def images(level: float) -> list[ClipRow]:
        monkeypatch.setattr(
            film, "_backdrops", lambda rng, frames, size: np.full((frames, size, size, 3), level, np.float32)
        )
        return filmed(procedural_model, CLEAN, 0, 10, 64)

    errors = []
    for row, wanted in zip(images(0.0), images(0.5)):
        for matte, *encoded in zip(mattes_of(row), row.images, wanted.images):
            cut_out, target = (np.asarray(decode_image(content), np.float32) for content in encoded)
            background = np.median(target[matte == 0], 0)
            shifted = [np.roll(matte, shift, (0, 1)) for shift in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))]
            composites = [cut_out + background * (1 - one[..., None]) for one in shifted]
            errors.append([np.abs(composite - target).mean() for composite in composites])
    aligned, *apart = np.mean(errors, 0)
    assert aligned < 1.0, "levels of 255"
    assert min(apart) > 2 * aligned


def test_hair_is_soft_and_heads_are_solid(procedural_model: FaceModel) -> None:
    soft = []
    for row in filmed(procedural_model, CLEAN, 0, 30, 64):
        matte = mattes_of(row)
        soft.append(((matte > 0.1) & (matte < 0.9)).mean())
        for points, frame in zip(row.landmarks, matte):
            x, y = points[27:48].round().astype(int).T  # nose and eyes
            assert frame[y, x].min() > 0.99
        corners = matte[:, :3, [0, 1, -2, -1]]
        assert corners.mean() < 0.7
    assert 0.01 < np.mean(soft) < 0.08


def test_heads_of_the_turned_set_turn(procedural_model: FaceModel) -> None:
    rows = filmed(procedural_model, VARIED, 0, 12, 32, kind="turned")
    yaw = np.degrees([row.truth.rotation[:, 1] for row in rows if row.truth is not None])
    turns = np.abs(np.diff(yaw, axis=1))
    assert len(rows) == len(yaw) and (turns > 30).all() and (turns < 62).all()
    assert np.ptp(turns) > 10 and np.abs(yaw).max() < 60
    assert all(row.matte is not None for row in rows)
