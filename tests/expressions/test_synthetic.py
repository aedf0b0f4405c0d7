from __future__ import annotations

import numpy as np
import pytest

from jr2net.expressions.synthetic import OPPOSING, large, large_pose, natural, plausible, sweep
from jr2net.face.arkit import ARKIT_NAMES, MIRROR_ORDER

JAW_OPEN, MOUTH_CLOSE = ARKIT_NAMES.index("jawOpen"), ARKIT_NAMES.index("mouthClose")


def many(sampler, count: int = 120, frames: int = 50) -> np.ndarray:
    return np.stack([sampler(np.random.default_rng(seed), frames) for seed in range(count)])


@pytest.mark.parametrize("sampler", [natural, large])
def test_tracks_are_plausible(sampler) -> None:
    tracks = many(sampler)
    assert tracks.dtype == np.float32 and tracks.shape == (120, 50, 51)
    assert tracks.min() >= 0 and tracks.max() <= 1
    for one, other in OPPOSING:
        assert (np.minimum(tracks[..., ARKIT_NAMES.index(one)], tracks[..., ARKIT_NAMES.index(other)]) == 0).all()
    assert (tracks[..., MOUTH_CLOSE] <= tracks[..., JAW_OPEN]).all()


@pytest.mark.parametrize("sampler", [natural, large])
def test_tracks_depend_on_the_generator_alone(sampler) -> None:
    one, same, other = (sampler(np.random.default_rng(seed), 30) for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert sampler(np.random.default_rng(0), 1).shape == (1, 51)


@pytest.mark.parametrize("sampler", [natural, large])
def test_tracks_are_smooth(sampler) -> None:
    """At 1,000 frames per second even a blink spans many frames."""
    track = sampler(np.random.default_rng(4), 4000, fps=1000.0)
    speed = np.abs(np.diff(track, axis=0))
    eyes = np.array(["eyeLook" in name or "eyeBlink" in name for name in ARKIT_NAMES])
    assert speed[:, ~eyes].max() < 0.02
    assert np.quantile(speed[:, eyes], 0.999) < 0.02, "gaze jumps are rare"


def test_natural_is_mild_sparse_and_nearly_symmetric() -> None:
    tracks = many(natural)
    assert (tracks > 0.4).mean() < 0.01
    assert 4 < (tracks > 0.05).sum(-1).mean() < 15
    blinks = tracks[..., ARKIT_NAMES.index("eyeBlinkLeft")]
    assert blinks.max() > 0.8 and np.median(blinks) < 0.15
    paired = [n for n, name in enumerate(ARKIT_NAMES) if name.endswith("Left") and "Look" not in name]
    paired = [n for n in paired if ARKIT_NAMES[n] not in ("jawLeft", "mouthLeft")]
    difference = np.abs(tracks[..., paired] - tracks[..., np.array(MIRROR_ORDER)[paired]])
    assert len(paired) == 14 and difference.max() < 0.5 and np.quantile(difference, 0.99) < 0.15


def test_large_is_large_and_reaches_every_shape() -> None:
    tracks = many(large)
    assert np.linalg.norm(tracks, axis=-1).mean() > 2 * np.linalg.norm(many(natural), axis=-1).mean()
    assert (tracks.max((0, 1)) > 0.7).all()
    left, right = (tracks[..., ARKIT_NAMES.index(f"eyeBlink{side}")] for side in ("Left", "Right"))
    assert ((left > 0.6) & (right < 0.1)).any() and ((right > 0.6) & (left < 0.1)).any()


def test_large_poses_are_strong() -> None:
    poses = np.stack([large_pose(np.random.default_rng(seed)) for seed in range(300)])
    assert (poses.max(-1) > 0.45).mean() > 0.95
    together = poses[:, [ARKIT_NAMES.index("eyeLookInLeft"), ARKIT_NAMES.index("eyeLookOutRight")]]
    assert np.abs(together[:, 0] - together[:, 1]).max() < 0.5, "eyes look in the same direction"


def test_sweeps_show_one_shape() -> None:
    for index, name in enumerate(ARKIT_NAMES):
        track = sweep(name, 5)
        assert np.array_equal(track[:, index], np.linspace(0, 1, 5, dtype=np.float32))
        assert set(np.flatnonzero(track.any(0))) == {index} | ({JAW_OPEN} if index == MOUTH_CLOSE else set())


def test_plausible_subtracts_the_smaller_of_opposing_shapes() -> None:
    track = np.zeros((1, 51))
    track[0, [ARKIT_NAMES.index("jawLeft"), ARKIT_NAMES.index("jawRight")]] = 0.75, 0.25
    track[0, MOUTH_CLOSE], track[0, 0] = 0.5, 1.5
    result = plausible(track)
    assert result[0, ARKIT_NAMES.index("jawLeft")] == 0.5 and result[0, ARKIT_NAMES.index("jawRight")] == 0
    assert result[0, MOUTH_CLOSE] == 0 and result[0, 0] == 1
    assert np.array_equal(plausible(result), result)
