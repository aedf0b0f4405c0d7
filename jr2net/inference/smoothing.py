"""Temporal smoothing of faces that are fitted frame by frame: the 1 € filter (Casiez, Roussel and Vogel, CHI 2012).

A low-pass filter whose cutoff rises with speed: a still face does not jitter, and fast motion has little lag.

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

_SPEED_CUTOFF = 1.0  # Hz

# (f_min in Hz, b in 1 per unit). Per second, coefficients change by up to 10, heads move by up to 3 rad or 300 mm.
EXPRESSION = (2.0, 3.0)
ROTATION = (1.0, 8.0)
TRANSLATION = (1.0, 0.05)
_CONSTANT = (0.3, 0.0)  # identity, albedo and light hardly change
_CROP = (0.5, 8.0)  # in units of the crop's side


@dataclass
class OneEuroFilter:
    """Smooths a sequence of arrays of the same shape, one per call.

    rate        frames per second
    min_cutoff  f_min, in Hz
    slope       b
    """

    rate: float
    min_cutoff: float
    slope: float
    value: np.ndarray | None = field(default=None, init=False)
    speed: np.ndarray | None = field(default=None, init=False)

    def __call__(self, value: np.ndarray) -> np.ndarray:
        if self.value is None or self.speed is None:
            self.value, self.speed = value, np.zeros_like(value)
            return value
        speed = (value - self.value) * self.rate
        self.speed = self.speed + self._alpha(_SPEED_CUTOFF) * (speed - self.speed)
        self.value = self.value + self._alpha(self.min_cutoff + self.slope * np.abs(self.speed)) * (value - self.value)
        return self.value

    def _alpha(self, cutoff: float | np.ndarray) -> float | np.ndarray:
        return 1 / (1 + self.rate / (2 * math.pi * cutoff))


def smooth_both_ways(values: np.ndarray, rate: float, min_cutoff: float, slope: float) -> np.ndarray:
    """A sequence (T, …) smoothed by the 1 € filter forwards and then backwards, so that its lags cancel out."""
    for _ in range(2):
        smooth = OneEuroFilter(rate, min_cutoff, slope)
        values = np.stack([smooth(value) for value in values])[::-1]
    return values


class FaceSmoother:
    """Smooths the faces of a video at ``rate`` frames per second, one frame (a batch of one) per call."""

    def __init__(self, rate: float) -> None:
        parameters = dict.fromkeys(("identity", "albedo", "light"), _CONSTANT)
        parameters |= {"expression": EXPRESSION, "rotation": ROTATION, "translation": TRANSLATION}
        self.filters = {name: OneEuroFilter(rate, *pair) for name, pair in parameters.items()}

    def __call__(self, face: FaceParameters) -> FaceParameters:
        return FaceParameters(**{name: self._smooth(name, value) for name, value in face.state().items()})

    def _smooth(self, name: str, value: Tensor) -> Tensor:
        smoothed = self.filters[name](value.double().numpy())
        return torch.from_numpy(np.ascontiguousarray(smoothed)).to(value.dtype)


class CropSmoother:
    """Smooths the crop square that follows a face through a video."""

    def __init__(self, rate: float) -> None:
        self.filter = OneEuroFilter(rate, *_CROP)
        self.scale: float | None = None
        self.roll = 0.0

    def __call__(self, crop: Crop) -> Crop:
        self.scale = self.scale or crop.side  # speeds are in sides of the first crop per second
        self.roll = crop.roll + 2 * math.pi * round((self.roll - crop.roll) / (2 * math.pi))  # on from the one before
        x, y, side, roll = self.filter(np.array([*crop.center, crop.side, self.roll * self.scale]) / self.scale)
        return Crop((float(x * self.scale), float(y * self.scale)), float(side * self.scale), float(roll))
