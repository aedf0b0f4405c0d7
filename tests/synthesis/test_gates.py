from __future__ import annotations

import pytest
import torch

from jr2net.config import GatesConfig
from jr2net.synthesis.gates import (
    COLUMNS,
    covisible_coverage,
    expression_agreement,
    rejection,
    saturation,
    shape_metric,
    shape_similarity,
)


def test_coverage_is_a_fraction_of_the_driving_face() -> None:
    mask, covisible = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
    mask[0, :, :2] = 1
    covisible[0, :, 0] = 0
    assert covisible_coverage(covisible, mask).tolist() == [0.5, 0.0]  # the second has no face at all


def test_similarity_decreases_with_distance() -> None:
    basis = torch.zeros(2, 5, 3)
    basis[0, :, 2] = 3.0
    same, other = torch.zeros(1, 2), torch.tensor([[1.0, 9.0]])
    assert shape_similarity(same, same, shape_metric(basis)).item() == 1
    assert shape_similarity(same, other, shape_metric(basis)).item() == pytest.approx(0.25)  # 1 / (1 + 3 mm)


def test_agreement_compares_changes() -> None:
    before = torch.full((3, 51), 0.2)
    target = before.clone()
    target[:, 4] = 1.0
    after = before.clone()
    after[0, 4], after[1, 4] = 0.3, 0.1
    assert torch.allclose(expression_agreement(before, after, target), torch.tensor([1.0, -1.0, 0.0]), atol=1e-5)


def test_agreement_is_near_zero_for_small_changes() -> None:
    before = torch.zeros(1, 51)
    assert expression_agreement(before, before + 1e-4, before - 1e-4).abs().item() < 0.01


def test_saturation_is_a_fraction_of_the_face() -> None:
    image, mask = torch.full((1, 3, 2, 2), 0.5), torch.ones(1, 1, 2, 2)
    image[0, 1, 0, 0], image[0, 2, 1, 1] = 1.0, 0.0
    mask[0, 0, 1, 1] = 0
    assert saturation(image, mask).item() == torch.tensor(1 / 3).item()


def test_defaults_keep_ordinary_pairs() -> None:
    ordinary = dict(zip(COLUMNS, (0.95, 0.5, -0.3, 0.3), strict=True))
    assert rejection(ordinary, GatesConfig()) is None
    assert rejection(ordinary | {"score_identity": 0.1}, GatesConfig()) == "identity"
    assert rejection(ordinary | {"score_identity": 0.1}, GatesConfig(identity=0.05)) is None
