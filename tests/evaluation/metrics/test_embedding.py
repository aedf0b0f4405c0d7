import pytest
import torch

from jr2net.evaluation.metrics.embedding import Moments, csim, frechet_distance


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
    with pytest.raises(ValueError, match="expected"):
        frechet_distance(torch.zeros(4), torch.zeros(4))
    with pytest.raises(ValueError, match="of 3 and 2 numbers"):
        Moments.of(torch.zeros(4, 3)) + Moments.of(torch.zeros(4, 2))


def by_images(generated: torch.Tensor, truth: torch.Tensor) -> float:
    """The distance by an (N, M) matrix of images, which is cubic in their number."""
    a, b = ((side - side.mean(0)) / (len(side) - 1) ** 0.5 for side in (generated.double(), truth.double()))
    gap = (generated.double().mean(0) - truth.double().mean(0)).square().sum()
    overlap = torch.linalg.svdvals(a @ b.T).sum()
    return float(gap + a.square().sum() + b.square().sum() - 2 * overlap)


@pytest.mark.parametrize(("images", "others", "width"), [(300, 200, 16), (20, 300, 64), (9, 12, 128)])
def test_frechet_distance_by_moments_is_that_by_images(images: int, others: int, width: int):
    generator = torch.Generator().manual_seed(2)
    a = torch.randn(images, width, generator=generator) @ torch.randn(width, width, generator=generator) + 3
    b = torch.randn(others, width, generator=generator)
    assert frechet_distance(a, b) == pytest.approx(by_images(a, b), rel=1e-10)


@pytest.mark.parametrize("sizes", [[100], [1, 99], [33, 33, 34], [0, 60, 0, 40]])
def test_moments_of_parts_are_those_of_the_whole(sizes: list[int]):
    features = 50 + torch.randn(100, 12, generator=torch.Generator().manual_seed(3))
    total = sum(map(Moments.of, features.split(sizes)), Moments.none(12))
    assert total.count == 100
    torch.testing.assert_close(total.mean, features.double().mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(total.covariance, torch.cov(features.double().T), rtol=1e-9, atol=1e-12)
    assert frechet_distance(total, features + 1) == pytest.approx(frechet_distance(features, features + 1), rel=1e-9)
