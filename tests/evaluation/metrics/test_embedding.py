import pytest
import torch

from jr2net.evaluation.metrics.embedding import csim, frechet_distance


def test_csim_ignores_length():
    a = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(csim(a, 3 * a), torch.ones(4))
    torch.testing.assert_close(csim(a, -a), -torch.ones(4))


def test_frechet_distance_of_equal_and_shifted_sets():
    features = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(features + 2, features) == pytest.approx(8 * 4, rel=1e-6)


def test_frechet_distance_matches_the_standard_formula():
    generator = torch.Generator().manual_seed(1)
    mixing = torch.randn(6, 6, generator=generator)
    a = torch.randn(40, 6, generator=generator)
    b = torch.randn(70, 6, generator=generator) @ mixing + 1
    product = torch.cov(a.double().T) @ torch.cov(b.double().T)
    root_trace = torch.linalg.eigvals(product).sqrt().sum().real
    gap = (a.double().mean(0) - b.double().mean(0)).square().sum()
    expected = gap + torch.cov(a.double().T).trace() + torch.cov(b.double().T).trace() - 2 * root_trace
    assert frechet_distance(a, b) == pytest.approx(float(expected), rel=1e-6)


def test_frechet_distance_rejects_invalid_inputs():
    with pytest.raises(ValueError, match="at least two"):
        frechet_distance(torch.zeros(1, 3), torch.zeros(5, 3))
    with pytest.raises(ValueError, match="expected"):
        frechet_distance(torch.zeros(4, 3), torch.zeros(5, 2))
