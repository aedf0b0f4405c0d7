"""From many overlapping ways to vary to a basis: orthogonal, ordered by variance, one standard deviation each."""

from __future__ import annotations

import numpy as np

from jr2net.face.procedural.half import Array, Index


def principal_modes(fields: Array, count: int) -> Array:
    """The first principal components (count, n, 3) of Σ x_k fields_k with independent standard normal x_k.

    fields (m, n, 3). Components are orthogonal over all n · 3 numbers, longest first; their signs are fixed by the
    first of the largest entries (mirror images are equally large but for the last bits), so that the same fields give
    the same basis on every machine.
    """
    flat = fields.reshape(len(fields), -1)
    _, vectors = np.linalg.eigh(flat @ flat.T)
    modes = vectors[:, ::-1][:, :count].T @ flat
    largest = np.take_along_axis(modes, np.abs(modes).round(6).argmax(1)[:, None], axis=1)
    return (modes * np.sign(largest)).reshape(-1, *fields.shape[1:])


def symmetrised(fields: Array, mirror: Index, flip: Array) -> tuple[Array, Array]:
    """Splits fields (m, n, 3) into halves that the mirror keeps and that it negates; ``flip`` (3,) acts on values."""
    image = fields[:, mirror] * flip
    return 0.5 * (fields + image), 0.5 * (fields - image)


def interleaved(*groups: Array) -> Array:
    """All modes of several mutually orthogonal bases, ordered by variance."""
    modes = np.concatenate(groups)
    order = np.argsort(-np.square(modes).sum((1, 2)), kind="stable")
    return modes[order]
