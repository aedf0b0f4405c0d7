"""flow3d's training: phases, what each of them trains, the cyclic warp loss, holes, mattes that are missing."""

from __future__ import annotations

import math

import pytest
import small_trainings as small
import torch
from torch import Tensor

from jr2net.config import Flow3DConfig
from jr2net.errors import UserError
from jr2net.face.model import FaceModel
from jr2net.networks.flow3d.geometry import warp_volume
from jr2net.networks.flow3d.network import ImageSizeError
from jr2net.training import losses
from jr2net.training.flow3d import Flow3DTraining, MatteError, Phase, moved_hole, phase_at, phase_starts

PHASES = [(0, Phase.WARP), (2, Phase.REFINE), (4, Phase.REFINE), (6, Phase.INPAINT)]
TRAINED = {
    0: {"warping", "matte"},
    2: {"warping", "matte", "refine"},
    4: {"warping", "matte", "refine", "discriminator"},
    6: {"inpaint", "matte"},
}
"""First step of each quarter of eight steps -> the networks that learn in it."""


@pytest.fixture
def training(toy_model: FaceModel) -> Flow3DTraining:
    built = small.training("flow3d", toy_model, 3)
    assert isinstance(built, Flow3DTraining)
    return built


@pytest.fixture
def batch(toy_model: FaceModel) -> dict:
    return small.batch(toy_model, 3)


def test_phases_are_a_function_of_the_step() -> None:
    config = Flow3DConfig()
    assert (config.optimizer.steps, *phase_starts(config)) == (3000, 500, 2500)
    phases = [phase_at(step, config) for step in (0, 499, 500, 2499, 2500, 2999)]
    assert phases == [Phase.WARP, Phase.WARP, Phase.REFINE, Phase.REFINE, Phase.INPAINT, Phase.INPAINT]


def test_phases_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"refine_from 0\.9 is after inpaint_from 0\.8"):
        Flow3DConfig(refine_from=0.9, inpaint_from=0.8)
    with pytest.raises(ValueError, match="refine_widths end in 10"):
        Flow3DConfig(refine_widths=(8, 8, 10))


@pytest.mark.parametrize(("step", "phase"), PHASES)
def test_a_phase_trains_its_networks_alone(training: Flow3DTraining, batch: dict, step: int, phase: Phase) -> None:
    training.step_number = step
    assert training.phase is phase
    before = small.weights(training)
    values = training.step(batch)
    after = small.weights(training)
    changed = {key.split(".")[0] for key in after if not torch.equal(before[key], after[key])}
    assert changed - {"average"} == TRAINED[step]
    assert {name.removesuffix("_gradient") for name in values if name.endswith("_gradient")} == TRAINED[step]
    averaged = {
        key.split(".")[1] for key in after if key.startswith("average") and not torch.equal(before[key], after[key])
    }
    assert averaged == TRAINED[step] - {"discriminator"}
    assert training.step_number == step + 1


@pytest.mark.parametrize(("step", "phase"), PHASES)
def test_every_parameter_of_a_phase_learns(training: Flow3DTraining, batch: dict, step: int, phase: Phase) -> None:
    """With several workers a parameter without a gradient would be an error."""
    training.step_number = step
    training.step(batch)
    for name in TRAINED[step]:
        for key, parameter in training.networks[name].named_parameters():
            assert parameter.grad is not None, f"{name}.{key}"


def test_a_warp_is_learnt(toy_model: FaceModel) -> None:
    training, batch = small.training("flow3d", toy_model, 3, 200, prior="pose"), small.batch(toy_model, 3)
    values = [training.step(batch) for _ in range(50)]
    assert all(values[-1][term] < 0.7 * values[0][term] for term in ("warp", "cycle", "identity", "matte"))


def test_the_average_of_a_network_counts_the_steps_of_its_own_phase(training: Flow3DTraining, batch: dict) -> None:
    training.step_number = 6
    before, average = (network.output.bias.clone() for network in _inpainting(training))
    training.step(batch)
    after, averaged = (network.output.bias for network in _inpainting(training))
    torch.testing.assert_close(averaged - average, 0.9 * (after - before))


def _inpainting(training: Flow3DTraining) -> tuple:
    return training.flow3d.inpaint.network, training.average.inpaint.network


def test_the_learning_rate_starts_again_with_the_background(toy_model: FaceModel) -> None:
    training = small.training("flow3d", toy_model, 3, 80)
    rates = [training.rate(step, "inpaint") for step in range(80)]
    assert rates[0] == rates[60] == 0.003
    assert rates[59] < 1e-4 and rates[79] < 1e-4
    assert training.rate(0) == training.rate(0, "warping") == 0.002
    assert training.rate(0, "discriminator") == 4e-4


def test_samples_are_in_range(training: Flow3DTraining, batch: dict) -> None:
    assert training.sample_images(batch).shape == (3, 3 * 32, 3 * 32)
    without = {key: value for key, value in batch.items() if not key.endswith("matte")}
    assert training.sample_images(without).shape == (3, 3 * 32, 3 * 32)


@pytest.mark.parametrize("step", [0, 6])
def test_a_batch_without_mattes_is_an_error_with_a_remedy(training: Flow3DTraining, batch: dict, step: int) -> None:
    training.step_number = step
    del batch["driving_matte"]
    with pytest.raises(
        MatteError, match=r"no driving_matte in the batch.*the stage `mattes`.*reenactor=dcnet"
    ) as caught:
        training.step(batch)
    assert isinstance(caught.value, UserError)


def test_odd_sizes_are_an_error(training: Flow3DTraining, batch: dict) -> None:
    with pytest.raises(ImageSizeError, match="multiple of 16"):
        training.step({k: v[..., :30, :30] if isinstance(v, Tensor) and v.ndim == 4 else v for k, v in batch.items()})


def shift(voxels: int, count: int = 8) -> Tensor:
    """(1, 3, 1, 8, 8): a flow by whole voxels to the right."""
    flow = torch.zeros(1, 3, 1, count, count)
    flow[:, 0] = 2 * voxels / count
    return flow


def cyclic(there: Tensor, back: Tensor, weight: float = 0.5) -> float:
    """The cyclic warp loss of a foreground of one voxel's depth, whose decoder is the identity."""
    generator = torch.Generator().manual_seed(0)
    source = torch.zeros(1, 4, 8, 8)
    source[..., 2:6, 2:6] = torch.rand(1, 4, 4, 4, generator=generator)
    returned = warp_volume(warp_volume(source[:, :, None], there), back)[:, :, 0]
    regained = torch.ones(1, 1, 8, 8)
    return float(losses.cyclic_warp(returned, source, regained, [returned[:, :3]], [source[:, :3]], weight))


def test_cyclic_loss_is_zero_for_a_flow_and_its_inverse() -> None:
    assert cyclic(shift(0), shift(0)) == pytest.approx(0, abs=1e-6)
    assert cyclic(shift(1), shift(-1)) == pytest.approx(0, abs=1e-6)
    assert cyclic(shift(-1), shift(1)) == pytest.approx(0, abs=1e-6)


def test_cyclic_loss_is_positive_for_a_wrong_inverse() -> None:
    for there, back in ((1, 0), (1, 1), (0, 1), (-2, 1)):
        assert cyclic(shift(there), shift(back)) > 0.01
        assert cyclic(shift(there), shift(back), 0.0) > 0.005


def test_cyclic_loss_asks_nothing_back_that_the_driving_view_hides() -> None:
    source = torch.rand(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    regained = torch.zeros(1, 1, 8, 8, requires_grad=True)
    back = torch.zeros_like(source, requires_grad=True)
    loss = losses.cyclic_warp(back, source, regained, [back], [source], 0.0)
    assert loss == 0
    loss.backward()
    assert regained.grad is None


def test_cyclic_loss_by_hand() -> None:
    source, back = torch.full((1, 4, 2, 2), 0.5), torch.full((1, 4, 2, 2), 0.1)
    regained = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2).expand(-1, -1, 2, -1)
    features, others = (
        [torch.ones(1, 2, 2, 2), torch.ones(1, 8, 1, 1)],
        [torch.zeros(1, 2, 2, 2), torch.zeros(1, 8, 1, 1)],
    )
    loss = losses.cyclic_warp(back, source, regained, features, others, 0.25)
    assert float(loss) == pytest.approx(0.5 * (0.5 * 0.4) + 0.25 * 2)


def test_holes_are_mirrored_and_moved() -> None:
    hole = torch.zeros(3, 1, 1, 8)
    hole[..., 1] = 1
    moved = moved_hole(hole, [0.0, 0.25, -0.5])
    assert moved.argmax(-1).flatten().tolist() == [6, 0, 2]
    assert moved.sum((1, 2, 3)).tolist() == [1, 0, 1]


def test_total_variation_matte_style_and_inside_by_hand() -> None:
    ramp = torch.arange(4.0).view(1, 1, 1, 1, 4).expand(1, 3, 4, 4, 4)
    assert float(losses.total_variation(ramp)) == pytest.approx(1.0)
    assert float(losses.total_variation(torch.full_like(ramp, 7.0))) == 0
    half, none = torch.full((1, 1, 4, 4), 0.5), torch.zeros(1, 1, 4, 4)
    assert float(losses.matte(half, none)) == pytest.approx(0.5)
    edge = torch.zeros(1, 1, 2, 2)
    edge[..., 1] = 1
    assert float(losses.matte(edge, torch.zeros(1, 1, 2, 2))) == pytest.approx(0.5 + 1)
    ones, halves = [torch.ones(1, 2, 4, 4)], [torch.full((1, 2, 4, 4), 0.5)]
    assert float(losses.style(ones, halves)) == pytest.approx((1 - 0.25) / 2)
    mask = torch.zeros(2, 1, 2, 2)
    mask[0, 0, 0, 0] = 1
    assert float(losses.inside(torch.ones(2, 3, 2, 2), torch.zeros(2, 3, 2, 2), mask)) == pytest.approx(0.5)


@pytest.mark.parametrize("changed", [{"depth": 1}, {"shortcut": False}, {"separate_background": False}])
def test_the_ablations_take_a_step_of_each_phase(toy_model: FaceModel, batch: dict, changed: dict) -> None:
    training = small.training("flow3d", toy_model, 3, **changed)
    for step, _ in PHASES:
        training.step_number = step
        values = training.step(batch)
        assert all(math.isfinite(value) for value in values.values())
