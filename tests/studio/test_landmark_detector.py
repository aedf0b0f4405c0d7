from __future__ import annotations

import numpy as np
import pytest

from jr2net.studio.landmark_detector import HALFWAY, biased_landmarks


@pytest.fixture
def neutral() -> np.ndarray:
    points = np.random.default_rng(0).uniform(0, 100, (68, 2))
    points[:2] = [[0, 0], [100, 100]]
    return points


def reported_fraction(neutral: np.ndarray, distance: float, shrink: float = 0.5) -> float:
    truth = neutral + np.array([distance, 0])
    reported = biased_landmarks(truth, neutral, shrink, 0.0, np.random.default_rng(0))
    return float((reported - neutral)[:, 0].mean() / distance)


def test_larger_displacements_are_underestimated_more(neutral: np.ndarray) -> None:
    fractions = [reported_fraction(neutral, distance) for distance in (0.5, 2, 5, 10, 20, 40)]
    assert fractions == sorted(fractions, reverse=True)
    assert fractions[0] > 0.99 and fractions[-1] == pytest.approx(0.5, abs=0.02)
    assert reported_fraction(neutral, 100 * HALFWAY) == pytest.approx(0.75, abs=1e-5)
    assert reported_fraction(neutral, 20, shrink=0.0) == pytest.approx(1, abs=1e-5)


def test_reported_displacement_grows_with_the_true_one(neutral: np.ndarray) -> None:
    distances = np.linspace(0.5, 40, 60)
    reported = [distance * reported_fraction(neutral, distance) for distance in distances]
    assert np.all(np.diff(reported) > 0)


def test_noise_has_the_given_size_and_correlates_between_neighbours(neutral: np.ndarray) -> None:
    faces = np.repeat(neutral[None], 3000, 0)
    error = biased_landmarks(faces, faces, 0.5, 0.01, np.random.default_rng(1)) - neutral
    assert np.allclose(error.std(0), 1.0, atol=0.1) and np.abs(error.mean(0)).max() < 0.1
    correlation = np.corrcoef(error[..., 0].T)
    assert correlation[50, 51] > 0.5 and 0.1 < correlation[3, 40] < 0.4


def test_bias_is_relative_to_the_face_size_of_each_frame(neutral: np.ndarray) -> None:
    clip = np.stack([neutral, 3 * neutral + 50])
    truth = clip + np.array([[[6.0, 0]], [[18.0, 0]]])
    reported = biased_landmarks(truth, clip, 0.5, 0.0, np.random.default_rng(0)) - clip
    assert np.allclose(reported[1], 3 * reported[0], atol=1e-4)


def test_occluded_parts_are_missing_entirely(neutral: np.ndarray) -> None:
    faces = np.repeat(neutral[None], 400, 0)
    reported = biased_landmarks(faces, faces, 0.5, 0.01, np.random.default_rng(1), occluded=0.2)
    missing = np.isnan(reported).any(-1)
    assert missing.mean() == pytest.approx(0.2, abs=0.05)
    assert set(missing[:, 48:].sum(1)) == {0, 20}
    assert not np.isnan(biased_landmarks(neutral, neutral, 0.5, 0.01, np.random.default_rng(1))).any()
