"""Colour profiles of matrix and gamma, made from their published primaries, and colours written in their spaces."""

from __future__ import annotations

import struct

import numpy as np

# Primaries (x, y) of red, green, blue; white point; gamma.
_SPACES = {
    "sRGB": (((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)), (0.3127, 0.3290), 2.2),
    "Display P3": (((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)), (0.3127, 0.3290), 2.2),
    "Adobe RGB": (((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), (0.3127, 0.3290), 2.2),
    "ProPhoto": (((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)), (0.3457, 0.3585), 1.8),
}
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def icc_profile(space: str) -> bytes:
    """An ICC profile, version 2.1, of the class display device."""
    matrix, gamma = _to_d50(space), _SPACES[space][2]
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    text = b"desc" + bytes(4) + struct.pack(">I", len(space) + 1) + space.encode() + bytes(1 + 8 + 3 + 67)
    tags = {b"desc": text + bytes(-len(text) % 4), b"wtpt": _xyz(_D50)}
    tags |= {name: _xyz(matrix[:, column]) for column, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, data, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content
    header = struct.pack(">I4xI", start + len(data), 0x02100000) + b"mntrRGB XYZ " + bytes(12) + b"acsp"
    header += bytes(28) + struct.pack(">3i", *(round(value * 65536) for value in _D50))
    return header + bytes(128 - len(header)) + table + data


def in_space(colour: np.ndarray, space: str) -> np.ndarray:
    """The numbers in [0, 1] of an sRGB colour (3,) in another space."""
    encoded = np.asarray(colour)
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    there = np.linalg.solve(_to_d50(space), _to_d50("sRGB") @ linear)
    return there.clip(0, 1) ** (1 / _SPACES[space][2])


def _to_d50(space: str) -> np.ndarray:
    """(3, 3): linear colours to XYZ, adapted from the space's white to D50 by Bradford's method."""
    primaries, white, _ = _SPACES[space]
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    white_xyz = np.array([white[0] / white[1], 1, (1 - white[0] - white[1]) / white[1]])
    matrix = columns * np.linalg.solve(columns, white_xyz)
    scale = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white_xyz))
    return np.linalg.solve(_BRADFORD, scale @ _BRADFORD) @ matrix


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))
