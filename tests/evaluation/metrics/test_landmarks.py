import torch

from jr2net.evaluation.metrics.landmarks import efl, nme


def points() -> torch.Tensor:
    truth = torch.rand(2, 68, 2, generator=torch.Generator().manual_seed(0)) * 64
    truth[:, 36], truth[:, 45] = torch.tensor([10.0, 20.0]), torch.tensor([50.0, 20.0])
    return truth


def test_shift_is_normalised_by_the_eye_distance():
    truth = points()
    torch.testing.assert_close(nme(truth + torch.tensor([3.0, 4.0]), truth), torch.full((2,), 5 / 40))
    torch.testing.assert_close(efl(truth + torch.tensor([3.0, 4.0]), truth), torch.full((2,), 5.0))


def test_the_jaw_line_does_not_count_in_nme():
    truth = points()
    predicted = truth.clone()
    predicted[:, :17] += 30
    assert nme(predicted, truth).max() == 0
    assert efl(predicted, truth).min() > 0


def test_undetected_points_do_not_count():
    truth = points()
    holes = truth.clone()
    holes[0, 50:] = torch.nan
    holes[1] = torch.nan
    error = nme(truth + 1, holes)
    torch.testing.assert_close(error[0], torch.tensor(2**0.5 / 40))
    assert error[1].isnan() and efl(truth, holes)[1].isnan()
    assert efl(truth, holes)[0] == 0
