from __future__ import annotations

from pathlib import Path

import numpy as np

from jr2net.data.shards import list_shards, read_clips
from jr2net.face.landmarks import LANDMARK_MIRROR, mirror_landmarks


def test_mirror_is_an_involution_of_all_points() -> None:
    order = np.array(LANDMARK_MIRROR)
    assert sorted(order) == list(range(68)) and np.array_equal(order[order], np.arange(68))
    assert [order[point] for point in (0, 8, 17, 30, 31, 36, 41, 48, 51, 60, 66)] == [
        16, 8, 26, 30, 35, 45, 46, 54, 51, 64, 66,
    ]  # fmt: skip


def test_mirrored_landmarks_keep_their_side_of_the_image() -> None:
    landmarks = np.random.default_rng(0).uniform(0, 50, (3, 68, 2))
    mirrored = mirror_landmarks(landmarks, 50)
    assert np.allclose(mirrored[:, 45, 0], 50 - landmarks[:, 36, 0])
    assert np.allclose(mirror_landmarks(mirrored, 50), landmarks)


def test_mirrored_faces_look_like_faces(real_ground: Path) -> None:
    """The mean of real faces is nearly symmetric, so its landmarks must match their mirror image point by point."""
    rows = [row for shard in list_shards(str(real_ground / "data" / "clips")) for row in read_clips(shard)]
    mean = np.mean([row.landmarks.mean(0) for row in rows], axis=0)
    assert np.abs(mirror_landmarks(mean, 256) - mean).max() < 16
