"""Intervals cover what they claim, people are drawn whole, and pairs are drawn together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap, ttest_1samp

from jr2net.evaluation.statistics import (
    compare,
    compare_all,
    compare_means,
    draw_people,
    estimate,
    estimate_mean,
    over_seeds,
)


def people_of(count: int, each: int) -> list[str]:
    return [f"person {number // each}" for number in range(count * each)]


def test_people_are_drawn_with_all_their_samples() -> None:
    identities = ["a", "b", "a", "c", "c", "c"]
    for indices in draw_people(identities, 50, seed=1):
        drawn = [identities[index] for index in indices]
        assert drawn.count("a") % 2 == 0 and drawn.count("c") % 3 == 0
        assert drawn.count("a") // 2 + drawn.count("b") + drawn.count("c") // 3 == 3


def test_an_interval_is_that_of_an_independent_bootstrap_and_of_theory() -> None:
    samples = np.random.default_rng(0).normal(5, 2, 200)
    found = estimate(samples, people_of(200, 1), draws=4000, seed=3)
    other = bootstrap((samples,), np.mean, n_resamples=4000, method="percentile", rng=5).confidence_interval
    assert found.value == pytest.approx(samples.mean()) and found.people == 200
    assert (found.low, found.high) == pytest.approx((other.low, other.high), abs=0.03)
    assert found.high - found.low == pytest.approx(2 * 1.96 * samples.std() / np.sqrt(200), rel=0.06)


def test_samples_of_one_person_do_not_make_an_interval_narrower() -> None:
    rng = np.random.default_rng(1)
    offsets = rng.normal(0, 1, 30)
    single = estimate(offsets, people_of(30, 1))
    twenty = estimate(np.repeat(offsets, 20), people_of(30, 20))
    assert (twenty.low, twenty.high) == pytest.approx((single.low, single.high))
    assert twenty.people == 30


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    covered = 0
    for trial in range(150):
        samples = np.random.default_rng(trial).normal(1, 1, 60)
        found = estimate(samples, people_of(20, 3), np.median, draws=300, seed=trial)
        assert found.low is not None and found.high is not None
        covered += found.low <= 1 <= found.high
    assert 0.86 <= covered / 150 <= 1


def test_the_same_seed_gives_the_same_interval_and_another_gives_another() -> None:
    samples, identities = np.random.default_rng(2).exponential(size=90), people_of(30, 3)
    assert estimate(samples, identities, seed=4) == estimate(samples, identities, seed=4)
    assert estimate(samples, identities, seed=4) != estimate(samples, identities, seed=5)


def test_pairs_cancel_what_their_people_have_in_common() -> None:
    rng = np.random.default_rng(3)
    faces = rng.normal(10, 3, 40)
    first, second = faces + rng.normal(-0.5, 0.1, 40), faces
    paired = compare(first, second, people_of(40, 1))
    alone = estimate(first, people_of(40, 1))
    assert paired.difference.value == pytest.approx((first - second).mean())
    assert paired.difference.high < 0 and paired.ratio.high < 1 and paired.p < 0.01
    assert paired.difference.high - paired.difference.low < 0.1 * (alone.high - alone.low)


def test_the_paired_test_agrees_with_students_and_finds_nothing_in_noise() -> None:
    differences = np.random.default_rng(4).normal(0.3, 1, 40)
    paired = compare(differences, np.zeros(40), people_of(40, 1), draws=20000)
    assert paired.p == pytest.approx(ttest_1samp(differences, 0).pvalue, abs=0.01)
    assert compare(np.ones(9), np.ones(9), people_of(9, 1)).p == 1
    assert np.isnan(paired.ratio.value)  # the second method has no error: a ratio means nothing


def test_one_person_gives_no_interval() -> None:
    found = estimate(np.array([1.0, 3.0]), ["a", "a"])
    assert (found.value, found.low, found.high, found.people) == (2.0, None, None, 1)
    assert compare(np.ones(2), np.zeros(2), ["a", "a"]).p == 1


def test_seeds() -> None:
    found = over_seeds([1.0, 2.0, 3.0])
    assert found.value == 2 and found.people == 3
    assert found.high - found.value == pytest.approx(4.303 / np.sqrt(3), abs=1e-3)  # t(0.975, 2 degrees of freedom)
    assert over_seeds([1.5]).low is None


def test_lengths_have_to_agree() -> None:
    with pytest.raises(ValueError, match="2 samples of 1 identities"):
        estimate(np.zeros(2), ["a"])
    with pytest.raises(ValueError, match="no samples"):
        draw_people([])
    with pytest.raises(ValueError, match="no seeds"):
        over_seeds([])


def test_means_are_estimated_and_compared_as_any_figure_is() -> None:
    rng = np.random.default_rng(5)
    identities = ["a", "b", "a", "c", "c", "c", "d", "b"]
    first, second = rng.normal(3, 1, 8), rng.normal(4, 1, 8)
    fast, slow = (function(first, identities, draws=200, seed=3) for function in (estimate_mean, estimate))
    assert (fast.value, fast.low, fast.high) == pytest.approx((slow.value, slow.low, slow.high))
    assert fast.people == slow.people == 4
    fast, slow = (function(first, second, identities, draws=200, seed=3) for function in (compare_means, compare))
    for one, other in ((fast.ratio, slow.ratio), (fast.difference, slow.difference)):
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
    assert fast.p == slow.p


def test_samples_without_a_value_are_left_out_of_means_and_of_both_sides_of_a_comparison() -> None:
    identities, nan = ["a", "b", "c", "d"], np.nan
    found = estimate_mean(np.array([1.0, nan, 3.0, nan]), identities)
    assert (found.value, found.people) == (2.0, 2)
    paired = compare_means(np.array([1.0, 9.0, 3.0, nan]), np.array([2.0, nan, 6.0, 9.0]), identities)
    assert paired is not None and paired.ratio.value == 0.5 and paired.ratio.people == 2
    assert compare_means(np.array([1.0, nan]), np.array([nan, 1.0]), ["a", "b"]) is None
    nothing = estimate_mean(np.full(2, nan), ["a", "b"])
    assert np.isnan(nothing.value) and nothing.low is None and nothing.people == 0


def test_every_method_is_compared_with_those_before_it() -> None:
    values = {"a": np.arange(8.0), "b": np.arange(8.0) + 1, "c": np.full(8, np.nan), "d": np.arange(8.0) + 3}
    found = compare_all("error", values, list("abcdefgh"), draws=200)
    assert [(each.method, each.reference) for each in found] == [("b", "a"), ("d", "a"), ("d", "b")]
    assert {each.figure for each in found} == {"error"} and found[2].paired.difference.value == pytest.approx(2)


def test_people_without_a_figure_of_their_own_do_not_make_a_difference_look_certain() -> None:
    def third(samples: np.ndarray) -> float:
        return float(samples.mean()) if len(samples) > 1 else float("nan")

    people = ["a", "a", "b", "b", "c"]
    first, second = np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 1, 4, 3, 9])
    assert compare(first, second, people, third, draws=200).p == 1
    assert compare(first, second, list("abcde"), third, draws=200).p == 1, "nobody has a figure"
