"""How sure a figure is: bootstrap over people, paired comparisons of two methods, intervals over seeds.

Samples of one person are not independent (twenty expressions of one face share its shape), so people are drawn, each
with all of their samples: the cluster bootstrap (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993;
Davison and Hinkley, *Bootstrap Methods and their Application*, 1997, section 3.8). Intervals are percentile intervals.
The draws are a function of the seed and of the people in the order of their samples, so that two methods measured on
the same people are compared on the same draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

Array = NDArray[np.float64]
Statistic = Callable[[Array], float]
"""A figure of samples (n, …), e.g. ``np.mean`` or their 80th percentile."""

DRAWS, LEVEL = 2000, 0.95


@dataclass(frozen=True)
class Estimate:
    """A figure and what is known of it.

    value      the figure of all samples
    low, high  its interval at ``LEVEL``; None where there is a single person (or seed), which tells nothing of others
    people     number of identities (of ``over_seeds``: of seeds)
    """

    value: float
    low: float | None = None
    high: float | None = None
    people: int = 1


@dataclass(frozen=True)
class PairedEstimate:
    """Two methods on the same people.

    ratio       first over second: below 1, the first method's figure is lower
    difference  first less second
    p           two-sided: how often a mean difference of the people's own figures as large or larger comes about if
                each were as likely to have the other sign (Fisher's randomisation test); 1 for a single person
    """

    ratio: Estimate
    difference: Estimate
    p: float


@dataclass(frozen=True)
class Comparison:
    """One figure, by its key, of two methods on the same people."""

    figure: str
    method: str
    reference: str
    paired: PairedEstimate


def draw_people(identities: Sequence[str], draws: int = DRAWS, seed: int = 0) -> list[NDArray[np.int64]]:
    """For each draw the indices of its samples: as many people as there are, with replacement, each with all samples.

    identities: the person of each sample. Raises ValueError for no samples.
    """
    numbers = _numbers(identities)
    samples = [np.flatnonzero(numbers == person) for person in range(numbers.max() + 1)]
    return [np.concatenate([samples[person] for person in row]) for row in _drawn(len(samples), draws, seed)]


def estimate(
    samples: Array, identities: Sequence[str], statistic: Statistic = np.mean, draws: int = DRAWS, seed: int = 0
) -> Estimate:
    """A figure of samples (n, …) of n people's samples, and its interval by bootstrap over people.

    A draw in which the figure is not defined (NaN) is left out. Raises ValueError where the lengths differ.
    """
    samples = _checked(samples, identities)
    people, value = len(set(identities)), float(statistic(samples))
    if people < 2:
        return Estimate(value, people=people)
    drawn = np.array([statistic(samples[indices]) for indices in draw_people(identities, draws, seed)])
    return Estimate(value, *_interval(drawn), people)


def estimate_figures(
    figures: Callable[[NDArray[np.int64]], Mapping[str, float]],
    identities: Sequence[str],
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Several figures at once, as ``estimate`` has one: ``figures`` gets the indices of samples, of all and of each
    draw, and returns the same names every time."""
    people, values = len(set(identities)), figures(np.arange(len(identities)))
    if people < 2:
        return {name: Estimate(value, people=people) for name, value in values.items()}
    drawn = [figures(indices) for indices in draw_people(identities, draws, seed)]
    return {
        name: Estimate(value, *_interval(np.array([each[name] for each in drawn])), people)
        for name, value in values.items()
    }


def estimate_mean(samples: Array, identities: Sequence[str], draws: int = DRAWS, seed: int = 0) -> Estimate:
    """``estimate`` of the mean of those samples (n,) that have a value (are not NaN); NaN, of nobody, if none has.

    Much faster than ``estimate``: a mean needs no more of a person than the sum and the number of their samples.
    """
    samples = _checked(samples, identities)
    samples, identities = _known(np.isfinite(samples), samples, identities)
    if not len(samples):
        return Estimate(float("nan"), people=0)
    means = _means(samples, identities, draws, seed)
    if len(means.of_people) < 2:
        return Estimate(means.of_all)
    return Estimate(means.of_all, *_interval(means.drawn), len(means.of_people))


def compare_means(
    first: Array, second: Array, identities: Sequence[str], draws: int = DRAWS, seed: int = 0
) -> PairedEstimate | None:
    """``compare`` of the means of two methods over those samples (n,) for which both have a value; None: for none."""
    first, second = _checked(first, identities), _checked(second, identities)
    both = np.isfinite(first) & np.isfinite(second)
    if not both.any():
        return None
    a, b = (_means(*_known(both, samples, identities), draws, seed) for samples in (first, second))
    return _paired(a, b, draws, seed)


def compare(
    first: Array,
    second: Array,
    identities: Sequence[str],
    statistic: Statistic = np.mean,
    draws: int = DRAWS,
    seed: int = 0,
) -> PairedEstimate:
    """The same figure of two methods on the same samples (n, …): both are measured on the same draws of people.

    Raises ValueError where the lengths differ.
    """
    first, second = _checked(first, identities), _checked(second, identities)
    indices = draw_people(identities, draws, seed) if len(set(identities)) > 1 else []
    a, b = (
        _Measured(
            float(statistic(samples)),
            np.array([statistic(samples[drawn]) for drawn in indices]),
            _by_person(samples, identities, statistic),
        )
        for samples in (first, second)
    )
    return _paired(a, b, draws, seed)


def compare_all(
    figure: str, values: Mapping[str, Array], identities: Sequence[str], draws: int = DRAWS, seed: int = 0
) -> tuple[Comparison, ...]:
    """``compare_means`` of every method with each one before it. values: method -> (n,), NaN where it has none."""
    methods, found = list(values), []
    for number, method in enumerate(methods):
        for reference in methods[:number]:
            paired = compare_means(values[method], values[reference], identities, draws, seed)
            if paired is not None:
                found.append(Comparison(figure, method, reference, paired))
    return tuple(found)


def over_seeds(values: Sequence[float]) -> Estimate:
    """The mean of one figure over trainings that differ in their seed alone, with Student's interval of the mean."""
    numbers = np.asarray(values, np.float64)
    if not len(numbers):
        raise ValueError("no seeds")
    mean, count = float(numbers.mean()), len(numbers)
    if count < 2:
        return Estimate(mean, people=count)
    half = float(student.ppf((1 + LEVEL) / 2, count - 1) * numbers.std(ddof=1) / np.sqrt(count))
    return Estimate(mean, mean - half, mean + half, count)


@dataclass(frozen=True)
class _Measured:
    """A figure of all samples, of each draw of people, and of each person's samples alone."""

    of_all: float
    drawn: Array
    of_people: Array


def _means(samples: Array, identities: Sequence[str], draws: int, seed: int) -> _Measured:
    """Means of samples (n,), without NaN, on the draws of ``draw_people``."""
    numbers = _numbers(identities)
    sums, sizes = np.bincount(numbers, samples), np.bincount(numbers)
    people = len(sizes)
    times = np.array([np.bincount(row, minlength=people) for row in _drawn(people, draws, seed)], np.float64)
    return _Measured(float(samples.mean()), (times @ sums) / (times @ sizes), sums / sizes)


def _paired(first: _Measured, second: _Measured, draws: int, seed: int) -> PairedEstimate:
    people = len(first.of_people)
    ratio, difference = _ratio(first.of_all, second.of_all), first.of_all - second.of_all
    if people < 2:
        return PairedEstimate(Estimate(ratio, people=people), Estimate(difference, people=people), 1.0)
    ratios = np.array([_ratio(a, b) for a, b in zip(first.drawn, second.drawn)])
    return PairedEstimate(
        Estimate(ratio, *_interval(ratios), people),
        Estimate(difference, *_interval(first.drawn - second.drawn), people),
        _sign_test(first.of_people - second.of_people, draws, seed),
    )


def _numbers(identities: Sequence[str]) -> NDArray[np.int64]:
    """(n,): the number of each sample's person, in the order in which they come. Raises ValueError for no samples."""
    if not len(identities):
        raise ValueError("no samples to draw from")
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(identity, len(numbers)) for identity in identities], np.int64)


def _drawn(people: int, draws: int, seed: int) -> NDArray[np.int64]:
    """(draws, people): numbers of the people of each draw."""
    return np.random.default_rng(seed).integers(people, size=(draws, people))


def _known(known: NDArray[np.bool_], samples: Array, identities: Sequence[str]) -> tuple[Array, list[str]]:
    return samples[known], [identity for identity, is_known in zip(identities, known) if is_known]


def _by_person(samples: Array, identities: Sequence[str], statistic: Statistic) -> Array:
    """(people,): the figure of each person's samples."""
    numbers = _numbers(identities)
    return np.array([statistic(samples[numbers == person]) for person in range(numbers.max() + 1)])


def _sign_test(differences: Array, draws: int, seed: int) -> float:
    """Of the mean of the people's differences; the observed arrangement counts as one of the draws. People without a
    figure of their own (NaN) are left out."""
    differences = differences[np.isfinite(differences)]
    if not len(differences):
        return 1.0
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(draws, len(differences)))
    observed, drawn = abs(differences.mean()), np.abs((signs * differences).mean(1))
    return float((1 + (drawn >= observed * (1 - 1e-12)).sum()) / (1 + draws))


def _checked(samples: Array, identities: Sequence[str]) -> Array:
    samples = np.asarray(samples, np.float64)
    if len(samples) != len(identities):
        raise ValueError(f"{len(samples)} samples of {len(identities)} identities: give one identity per sample")
    return samples


def _interval(drawn: Array) -> tuple[float | None, float | None]:
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return None, None
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _ratio(a: float, b: float) -> float:
    return a / b if b else float("nan")
