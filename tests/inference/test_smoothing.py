import numpy as np
import pytest
import torch

from jr2net.images.crop import Crop
from jr2net.inference.smoothing import CropSmoother, FaceSmoother, OneEuroFilter


def test_noise_of_a_constant_value_is_reduced():
    noise = np.random.default_rng(0).normal(0, 0.02, (300, 5))
    smooth = OneEuroFilter(30, 1.0, 1.0)
    smoothed = np.stack([smooth(0.3 + row) for row in noise])
    assert smoothed[50:].std() < 0.5 * noise.std()
    assert smoothed[50:].mean() == pytest.approx(0.3, abs=0.01)


def test_a_slope_reduces_the_lag_of_fast_motion():
    def lag(slope: float) -> float:
        smooth = OneEuroFilter(30, 1.0, slope)
        ramp = np.arange(60) / 30 * 5.0  # five units per second
        return float(ramp[-1] - [smooth(np.array([value])) for value in ramp][-1][0])

    assert 0 < lag(3.0) < 0.2 * lag(0.0)


def test_a_constant_face_does_not_change(toy_model):
    face = toy_model.neutral(1)
    smooth = FaceSmoother(25)
    for _ in range(5):
        smoothed = smooth(face)
    for name, value in face.state().items():
        assert torch.allclose(smoothed.state()[name], value) and smoothed.state()[name].dtype == value.dtype


def test_crops_are_smoothed_in_pixels():
    smooth = CropSmoother(25)
    crop = Crop((300.0, 200.0), 150.0, 0.5)
    assert smooth(crop) == crop
    moved = smooth(Crop((310.0, 200.0), 150.0, 0.5))
    assert 300 < moved.center[0] < 310 and moved.center[1] == pytest.approx(200) and moved.roll == pytest.approx(0.5)
