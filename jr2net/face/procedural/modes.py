"""From correlated modes of variation to a basis: orthogonal, sorted by variance, one standard deviation each."""

from __future__ import annotations

import numpy as np

from jr2net.face.procedural.half import Array, Index


def principal_modes(fields: Array, count: int) -> Array:
    """The first principal components (count, n, 3) of Σ x_k fields_k with independent standard normal x_k.

    fields (m, n, 3). Components are orthogonal as vectors of n · 3 values, largest first. The sign is fixed by the
    first of the largest entries after rounding (mirrored entries differ in the last bits only), so that the same fields
    give the same basis on every machine.
    """
    flat = fields.reshape(len(fields), -1)
    _, vectors = np.linalg.eigh(flat @ flat.T)
    modes = vectors[:, ::-1][:, :count].T @ flat
    largest = np.take_along_axis(modes, np.abs(modes).round(6).argmax(1)[:, None], axis=1)
    return (modes * np.sign(largest)).reshape(-1, *fields.shape[1:])


def split_by_symmetry(fields: Array, mirror: Index, flip: Array) -> tuple[Array, Array]:
    """Splits fields (m, n, 3) into symmetric and antisymmetric parts; ``flip`` (3,) mirrors the values."""
    mirrored = fields[:, mirror] * flip
    return 0.5 * (fields + mirrored), 0.5 * (fields - mirrored)


def sort_by_variance(*groups: Array) -> Array:
    """All modes of several mutually orthogonal bases, sorted by variance (largest first)."""
    modes = np.concatenate(groups)
    order = np.argsort(-np.square(modes).sum((1, 2)), kind="stable")
    return modes[order]
