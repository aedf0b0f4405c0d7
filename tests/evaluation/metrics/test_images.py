import pytest
import torch

from jr2net.evaluation.metrics.images import compare_images, l1_face, psnr


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_identical_images(images):
    columns = compare_images(images, images, torch.ones(3, 1, 32, 32))
    assert set(columns) == {"l1", "l1_face", "psnr", "ssim"}
    assert all(value.shape == (3,) for value in columns.values())
    assert columns["l1"].max() == 0 and columns["l1_face"].max() == 0
    assert columns["psnr"].tolist() == [100, 100, 100]
    torch.testing.assert_close(columns["ssim"], torch.ones(3))


def test_constant_offset(images):
    columns = compare_images(images * 0.5 + 0.1, images * 0.5, torch.ones(3, 1, 32, 32))
    torch.testing.assert_close(columns["l1"], torch.full((3,), 0.1))
    torch.testing.assert_close(columns["l1_face"], torch.full((3,), 0.1))
    torch.testing.assert_close(columns["psnr"], torch.full((3,), 20.0))
    assert (columns["ssim"] < 1).all()


def test_only_pixels_of_the_mask_count(images):
    mask = torch.zeros(3, 1, 32, 32)
    mask[..., :16] = 1
    changed = images.clone()
    changed[..., 16:] = 0
    assert l1_face(changed, images, mask).max() == 0
    assert l1_face(changed, images, mask * 0).isnan().all()


def test_psnr_by_hand():
    assert float(psnr(torch.full((1, 3, 8, 8), 0.5), torch.zeros(1, 3, 8, 8))) == pytest.approx(6.0206, abs=1e-3)
