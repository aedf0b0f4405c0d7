"""Head pose and landmarks by yaw, on cases with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jr2net.evaluation.metrics.landmarks import box_nme
from jr2net.evaluation.metrics.pose import by_yaw, pose_errors


def test_landmark_error_is_relative_to_the_box() -> None:
    truth = torch.rand(2, 68, 2, generator=torch.manual_seed(0)) * 0.9
    truth[:, 0], truth[:, 1] = torch.tensor([0.0, 0.0]), torch.tensor([1.0, 1.0])
    truth *= torch.tensor([100.0, 64.0])  # a box whose area has the square root 80
    predicted = truth + torch.tensor([3.0, 4.0])
    assert box_nme(predicted, truth).tolist() == pytest.approx([5 / 80] * 2)
    truth[0, 5] = torch.nan
    assert box_nme(predicted, truth)[0] == pytest.approx(5 / 80)


def test_pose_error_goes_the_shorter_way_round_and_leaves_extremes_out() -> None:
    truth = np.radians([[0.0, 10, -20], [98, -40, 0], [0, 120, 0]])
    predicted = np.radians([[3.0, 10, -26], [-261, -44, 0], [0, 0, 0]])
    errors = pose_errors(predicted, truth)
    assert errors == pytest.approx({"pitch": 2, "yaw": 2, "roll": 3, "mae": 7 / 3})
    assert np.isnan(pose_errors(predicted[2:], truth[2:])["mae"])


def test_yaw_bins_hold_their_upper_bounds() -> None:
    yaw = np.radians([0.0, -30, 31, -60, 75, -100])
    bins = by_yaw(np.array([1.0, 3, 4, 6, 7, 9]), yaw)
    assert bins == pytest.approx({"[0, 30]": 2, "[30, 60]": 5, "[60, 90]": 8, "mean": 5, "std": np.std([2, 5, 8])})
    assert np.isnan(by_yaw(np.array([1.0]), np.zeros(1))["mean"])
    lacking = by_yaw(np.array([1.0, np.nan, 4, 6, 7, 9]), yaw)
    assert np.isnan(lacking["[0, 30]"]) and np.isnan(lacking["mean"]) and lacking["[30, 60]"] == 5
