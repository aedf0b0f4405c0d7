"""Which landmarks a file holds, and what two files have in common: each in terms of the 68 iBUG points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jr2net.data.readers.problems import DatasetError
from jr2net.data.scans.mesh import Array
from jr2net.face.landmarks import NOSE_TIP

Scheme = tuple[tuple[int, ...], ...]
"""Of each landmark the iBUG points whose mean it is; none: it has no counterpart."""

_RIGHT_EYE, _LEFT_EYE = tuple(range(36, 42)), tuple(range(42, 48))


def _single(numbers: Sequence[int]) -> Scheme:
    return tuple((number,) for number in numbers)


NOW_POINTS = (36, 39, 42, 45, 33, 48, 54)
"""NoW's seven: corners of the right eye, of the left eye, base of the nose, corners of the mouth (Sanyal 2019)."""

SCHEMES: dict[int, Scheme] = {
    68: _single(range(68)),
    51: _single(range(17, 68)),
    49: _single([number for number in range(17, 68) if number not in (60, 64)]),
    7: _single(NOW_POINTS),
    5: (_RIGHT_EYE, _LEFT_EYE, (NOSE_TIP,), (48,), (54,)),
    4: (_RIGHT_EYE, _LEFT_EYE, (NOSE_TIP,), (48, 54)),
}
"""By the number of landmarks: iBUG's 68, without the jaw 51, without the inner corners of the mouth 49, NoW's 7, eyes,
nose and mouth's corners 5, FRGC's eyes, nose and mouth 4. Right and left are the subject's."""

FEWEST = 4


@dataclass(frozen=True)
class Landmarks:
    """points (K, 3), NaN where unknown, and which ones they are."""

    points: Array
    scheme: Scheme

    @staticmethod
    def of(points: Array, ibug: Sequence[int] | None, name: str) -> Landmarks:
        """ibug: the iBUG number of each point, -1 for none; None: by their number. Raises DatasetError naming the file
        where that does not tell."""
        if ibug is not None:
            if len(ibug) != len(points) or not all(-1 <= number < 68 for number in ibug):
                raise DatasetError(
                    "number of landmarks",
                    f"{name}: {len(points)} landmarks, iBUG numbers of {len(ibug)}; give one each, 0 to 67 or -1",
                )
            return Landmarks(points, tuple((number,) if number >= 0 else () for number in ibug))
        if len(points) not in SCHEMES:
            raise DatasetError(
                "number of landmarks",
                f"{name}: {len(points)} landmarks, which are not known by their number "
                f"({', '.join(map(str, SCHEMES))} are); say which they are: --set ibug=[36, 39, …], the iBUG number of "
                "each from 0, or -1",
            )
        return Landmarks(points, SCHEMES[len(points)])

    def find(self, wanted: tuple[int, ...]) -> Array | None:
        """A landmark of a scheme (3,): given, or the mean of the iBUG points that it is made of; None: not known."""
        for number, own in enumerate(self.scheme):
            if own and own == wanted:
                return self._known(self.points[number])
        singles = {own[0]: number for number, own in enumerate(self.scheme) if len(own) == 1}
        if not wanted or not all(number in singles for number in wanted):
            return None
        return self._known(self.points[[singles[number] for number in wanted]].mean(0))

    @staticmethod
    def _known(point: Array) -> Array | None:
        return point if np.isfinite(point).all() else None


def in_common(truth: Landmarks, answer: Landmarks, name: str) -> tuple[Array, Array]:
    """Corresponding points (K, 3) of both. Raises DatasetError naming the answer where they are fewer than four."""
    pairs = [
        (first, second)
        for wanted in dict.fromkeys((*truth.scheme, *answer.scheme))
        if (first := truth.find(wanted)) is not None and (second := answer.find(wanted)) is not None
    ]
    if len(pairs) < FEWEST:
        raise DatasetError(
            "landmarks in common",
            f"{name}: has {len(pairs)} landmarks in common with the scan, {FEWEST} are needed; give it 68, 51 or the "
            "scan's own landmarks",
        )
    return np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])
