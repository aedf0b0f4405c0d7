"""Temporal smoothing of what is fitted frame by frame: the 1 € filter (Casiez, Roussel and Vogel, CHI 2012).

A low-pass filter whose cutoff rises with speed: still faces do not tremble, and fast motion hardly lags.

    α = 1 / (1 + f / (2π f_c)),   f_c = f_min + b |speed|,   x̂_i = α x_i + (1 − α) x̂_{i−1}

with f the frame rate; the speed itself is smoothed with a cutoff of 1 Hz.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from jr2net.face.parameters import FaceParameters
from jr2net.images.crop import Crop

_SPEED_CUTOFF = 1.0

# (f_min in Hz, b in 1 per unit): coefficients move by up to 10 a second, heads by 3 rad or 300 mm.
_EXPRESSION = (2.0, 3.0)
_ROTATION = (1.0, 8.0)
_TRANSLATION = (1.0, 0.05)
_STEADY = (0.3, 0.0)  # who it is, and the light, hardly change at all
_SQUARE = (0.5, 8.0)  # of the crop's side


@dataclass
class OneEuroFilter:
    """Smooths a series of arrays of one shape, one call per frame."""

    rate: float
    minimum: float
    slope: float
    value: np.ndarray | None = field(default=None, init=False)
    speed: np.ndarray | None = field(default=None, init=False)

    def __call__(self, value: np.ndarray) -> np.ndarray:
        if self.value is None or self.speed is None:
            self.value, self.speed = value, np.zeros_like(value)
            return value
        speed = (value - self.value) * self.rate
        self.speed = self.speed + self._share(_SPEED_CUTOFF) * (speed - self.speed)
        self.value = self.value + self._share(self.minimum + self.slope * np.abs(self.speed)) * (value - self.value)
        return self.value

    def _share(self, cutoff: float | np.ndarray) -> float | np.ndarray:
        return 1 / (1 + self.rate / (2 * math.pi * cutoff))


class FaceSmoother:
    """Smooths the faces of a video at ``rate`` frames per second, one frame (a batch of one) a call."""

    def __init__(self, rate: float) -> None:
        constants = dict.fromkeys(("identity", "albedo", "light"), _STEADY)
        constants |= {"expression": _EXPRESSION, "rotation": _ROTATION, "translation": _TRANSLATION}
        self.filters = {name: OneEuroFilter(rate, *pair) for name, pair in constants.items()}

    def __call__(self, face: FaceParameters) -> FaceParameters:
        return FaceParameters(**{name: self._smooth(name, value) for name, value in face.state().items()})

    def _smooth(self, name: str, value: Tensor) -> Tensor:
        smoothed = self.filters[name](value.double().numpy())
        return torch.from_numpy(np.ascontiguousarray(smoothed)).to(value.dtype)


class CropSmoother:
    """Smooths the square that follows a face through a video."""

    def __init__(self, rate: float) -> None:
        self.filter = OneEuroFilter(rate, *_SQUARE)
        self.scale: float | None = None

    def __call__(self, crop: Crop) -> Crop:
        self.scale = self.scale or crop.side  # speeds count in sides of the first square
        x, y, side, roll = self.filter(np.array([*crop.center, crop.side, crop.roll * self.scale]) / self.scale)
        return Crop((float(x * self.scale), float(y * self.scale)), float(side * self.scale), float(roll))
