from __future__ import annotations

import numpy as np
import pytest

from jr2net.data.permutation import Permutation


@pytest.mark.parametrize("count", [1, 2, 3, 5, 16, 17, 100, 4097])
def test_every_number_comes_once(count: int) -> None:
    numbers = Permutation(count, 7, 2)(np.arange(count))
    assert sorted(numbers) == list(range(count))
    assert all(Permutation(count, 7, 2)(np.array(position)) == numbers[position] for position in range(0, count, 40))


def test_keys_give_other_permutations() -> None:
    orders = {tuple(Permutation(50, seed, epoch)(np.arange(50))) for seed in range(3) for epoch in range(5)}
    assert len(orders) == 15 and tuple(range(50)) not in orders


@pytest.mark.parametrize("count", [3, 10, 30])
def test_every_number_is_equally_likely_at_every_position(count: int) -> None:
    """Over many keys: the chi-square statistic of each position's counts has the mean count - 1."""
    keys = 50 * count
    drawn = np.stack([Permutation(count, 1, key)(np.arange(count)) for key in range(keys)])
    observed = np.stack([np.bincount(drawn[:, position], minlength=count) for position in range(count)])
    chi_square = ((observed - keys / count) ** 2 / (keys / count)).sum(1)
    assert chi_square.mean() < 1.5 * (count - 1) and chi_square.max() < count - 1 + 6 * np.sqrt(2 * count)


def test_neighbours_are_scattered() -> None:
    numbers = Permutation(100_000, 3)(np.arange(100_000))
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.02
    assert abs(np.corrcoef(np.arange(100_000), numbers)[0, 1]) < 0.02


def test_values_are_pinned() -> None:
    """A run started with an earlier version resumes with the same data."""
    assert Permutation(10, 7, 2)(np.arange(10)).tolist() == [5, 7, 1, 2, 4, 6, 8, 3, 0, 9]


def test_a_permutation_of_nothing_raises() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Permutation(0, 1)
