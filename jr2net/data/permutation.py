"""Keyed permutations that need no array: what comes at any position is computed, however many there are."""

from __future__ import annotations

import numpy as np

_ROUNDS = 8


class Permutation:
    """A permutation of 0 … ``count`` - 1, drawn by a key of one or more integers from 0 up.

    A Feistel network over the smallest power of 4 that holds ``count``; values beyond it are encrypted again until they
    fall within (cycle walking; Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002).
    """

    def __init__(self, count: int, *key: int) -> None:
        if count < 1:
            raise ValueError(f"a permutation of {count} numbers; at least one is needed")
        self.count = count
        self._half = np.uint64(max(1, -(-(count - 1).bit_length() // 2)))
        self._mask = np.uint64((1 << int(self._half)) - 1)
        self._keys = np.random.SeedSequence(key).generate_state(_ROUNDS, np.uint64)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """The numbers at ``positions``, an array of integers in [0, count); int64 of the same shape."""
        values = np.asarray(positions).astype(np.uint64)
        flat = values.reshape(-1)
        walking = np.arange(flat.size)
        while walking.size:
            flat[walking] = self._encrypt(flat[walking])
            walking = walking[flat[walking] >= self.count]
        return values.astype(np.int64)

    def _encrypt(self, values: np.ndarray) -> np.ndarray:
        left, right = values >> self._half, values & self._mask
        for key in self._keys:
            left, right = right, left ^ (_mix(right ^ key) & self._mask)
        return (left << self._half) | right


def _mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014), elementwise on uint64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
