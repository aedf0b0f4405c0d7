"""Expressions by name: the 51 ARKit coefficients as people write them, ``{"jawOpen": 0.8}``."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np

from jr2net.errors import UserError
from jr2net.face.arkit import ARKIT_NAMES


class ExpressionError(UserError, ValueError):
    """Coefficients that cannot be used; the message names the blendshape and the remedy."""


def expression_from_names(coefficients: Any, lowest: float = 0.0) -> np.ndarray:
    """{blendshape: coefficient} to (51,) float32 in the order of ``ARKIT_NAMES``; missing names are 0.

    Coefficients lie in [``lowest``, 1]: 0 for absolute ones, -1 for changes. Raises ExpressionError.
    """
    if not isinstance(coefficients, Mapping):
        raise ExpressionError('give blendshape names and coefficients, e.g. {"jawOpen": 0.6}')
    expression = np.zeros(len(ARKIT_NAMES), np.float32)
    for name, value in coefficients.items():
        if name not in ARKIT_NAMES:
            close = difflib.get_close_matches(str(name), ARKIT_NAMES, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "the 51 names are those of ARKit without tongueOut"
            raise ExpressionError(f"{str(name)[:60]!r} is no blendshape; {hint}")
        is_number = isinstance(value, int | float | np.floating) and not isinstance(value, bool)
        if not is_number or not lowest <= value <= 1:  # NaN fails every comparison
            raise ExpressionError(f"{name} = {str(value)[:40]} is not a number in [{lowest:g}, 1]")
        expression[ARKIT_NAMES.index(name)] = value
    return expression
