from __future__ import annotations

import numpy as np
import pytest

from jr2net.config import ExpressionKind
from jr2net.expressions.samplers import KINDS, draw_kind, sample, single_shape
from jr2net.expressions.synthetic import plausible
from jr2net.expressions.tracks import Track
from jr2net.face.arkit import ARKIT_NAMES

TRACKS = (Track("a", plausible(np.random.default_rng(0).random((20, 51)) ** 3), 30.0),)


def draws(kind: str, tracks: tuple[Track, ...] = (), count: int = 200) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.stack([sample(kind, rng, tracks).expression for _ in range(count)])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_pure_function_in_bounds(kind: str) -> None:
    values = draws(kind, TRACKS)
    assert values.dtype == np.float32 and values.shape == (200, 51)
    assert values.min() >= 0 and values.max() <= 1
    assert np.array_equal(values, draws(kind, TRACKS))


def test_the_configuration_accepts_every_kind() -> None:
    assert set(ExpressionKind.__args__) == set(KINDS)  # type: ignore[attr-defined]


def test_extremes_reach_one() -> None:
    assert (draws("extreme").max(1) > 0.999).mean() > 0.95


def test_sweeps_move_one_shape() -> None:
    values = draws("sweep", count=500)
    close = ARKIT_NAMES.index("mouthClose")
    assert ((values > 0).sum(1) <= 1 + (values[:, close] > 0)).all()
    assert (values.max(0) > 0).all()
    assert single_shape("mouthClose", 0.7)[ARKIT_NAMES.index("jawOpen")] == np.float32(0.7)


def test_permuted_expressions_mix_regions_of_captures() -> None:
    brow = [name.startswith("brow") for name in ARKIT_NAMES]
    known = {tuple(row) for row in TRACKS[0].expression[:, brow]}
    values = draws("permuted", TRACKS, 50)
    whole = {tuple(row) for row in TRACKS[0].expression}
    assert all(tuple(row) not in whole for row in values)
    assert np.mean([tuple(row) in known for row in values[:, brow]]) > 0.5  # plausible() may lower opposing shapes


def test_interpolated_expressions_lie_between_captures() -> None:
    assert (draws("interpolated", TRACKS).max(0) <= TRACKS[0].expression.max(0) + 1e-6).all()


def test_captured_samples_name_track_and_frame() -> None:
    drawn = sample("captured", np.random.default_rng(0), TRACKS)
    assert drawn.track == "a" and np.array_equal(drawn.expression, TRACKS[0].expression[drawn.frame])
    with pytest.raises(ValueError, match=r"need synthesis\.captures"):
        sample("captured", np.random.default_rng(0), ())
    with pytest.raises(ValueError, match="no kind of expression is called 'smile'"):
        sample("smile", np.random.default_rng(0), ())


def test_kinds_are_drawn_by_weight() -> None:
    rng = np.random.default_rng(0)
    kinds = [draw_kind(rng, {"natural": 1, "large": 3}) for _ in range(2000)]
    assert 0.2 < kinds.count("natural") / 2000 < 0.3
