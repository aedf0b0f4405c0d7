"""Clips that are there twice, by perceptual hashes of their frames.

A hash has 143 bits: which of the lowest frequencies of a crop's grey values, without the mean, lie above their median
(C. Zauner, *Implementation and Benchmarking of Perceptual Image Hash Functions*, 2010). A picture that was stored anew,
shrunk to a half or cut at its edges, and whose face was found anew, has up to 6 other bits, seldom more; of 1,000 pairs
of clips of different people, 999 differ in 39 bits or more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

DIFFERENT_BITS = 8
"""Frames whose hashes differ in so many bits or fewer show the same."""

FRAMES = 3
"""Frames of a clip that are compared: the first, the middle and the last one."""

_SIDE, _FREQUENCIES = 32, 12
BITS = _FREQUENCIES**2 - 1
_BANDS = DIFFERENT_BITS + 1  # hashes that differ in fewer bits than there are bands agree in one of them


def perceptual_hash(image: np.ndarray) -> np.ndarray:
    """(143,) bool of an image (S, S, 3) uint8."""
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    frequencies = cv2.dct(grey.astype(np.float32))[:_FREQUENCIES, :_FREQUENCIES].ravel()[1:]
    return frequencies > np.median(frequencies)


def clip_hash(hashes: Sequence[np.ndarray]) -> str:
    """Of the hashes of a clip's images, those of the first, the middle and the last one, as hexadecimal digits."""
    chosen = (0, len(hashes) // 2, len(hashes) - 1)
    return np.packbits(np.stack([hashes[index] for index in chosen]), axis=1).tobytes().hex()


def find_duplicates(hashes: Iterable[str], sizes: Sequence[float]) -> dict[int, int]:
    """Which clips are duplicates: number -> number of the one that is kept, the largest face of those that are alike.

    sizes: of the clips' faces, in pixels of the footage. Clips are compared with the kept ones only, so that a chain of
    similar ones does not end in another person.
    """
    packed = np.array([np.frombuffer(bytes.fromhex(text), np.uint8) for text in hashes], np.uint8).reshape(
        -1, FRAMES, -(-BITS // 8)
    )
    first = np.unpackbits(packed[:, 0], axis=1)[:, :BITS]
    order = np.lexsort((np.arange(len(packed)), -np.asarray(sizes, np.float64)))
    bands = np.array_split(np.arange(BITS), _BANDS)
    keys = [first[:, band] @ (1 << np.arange(len(band), dtype=np.int64)) for band in bands]
    kept: list[dict[int, list[int]]] = [{} for _ in bands]
    duplicates: dict[int, int] = {}
    for number in order.tolist():
        alike = sorted({other for key, table in zip(keys, kept) for other in table.get(int(key[number]), ())})
        different = np.bitwise_count(packed[alike] ^ packed[number]).sum(-1) if alike else np.zeros((0, FRAMES))
        originals = np.flatnonzero((different <= DIFFERENT_BITS).all(-1))
        if originals.size:
            duplicates[number] = alike[originals[0]]
            continue
        for key, table in zip(keys, kept):
            table.setdefault(int(key[number]), []).append(number)
    return duplicates
