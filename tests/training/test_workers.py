"""A step on two workers equals the step on one with the same global batch, for all networks and splits of the batch.

Tolerance: both compute the same sum of gradients in another order. float32 rounds every addition to a relative 6e-8,
and gradients are sums over thousands of pixels that partly cancel, so they agree to about 1e-4. Adam's first step is
lr · g / |g|: it propagates that error to the weights, except where a gradient is only rounding noise, whose sign may
flip. So after a step losses agree to 1e-4, and almost all weights to a small fraction of the step.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import small_trainings as small
import torch
import torch.distributed
import torch.multiprocessing

from jr2net.face.model import FaceModel
from jr2net.process import use_threads
from jr2net.training import NonFiniteLoss, Training
from jr2net.training.workers import broadcast_int, distribute, mean_over_workers

AGREEMENT = 0.01  # of the step
OUTLIERS = 1e-3  # fraction of the weights
TOTAL = 8  # steps of the trainings of which single steps are compared
NOT_LOSSES = ("_gradient", "_deviation")  # logged besides the loss terms


def take_steps(
    training: Training, batch: dict, steps: int = 1, rank: int = 0, world: int = 1, start: float = 0.5
) -> list[dict[str, float]]:
    """start: fraction of the training's steps at which it begins; from 0.5 on, reenactors train adversarially."""
    training.step_number = int(start * training.steps)
    return mean_over_workers([training.step(small.local_batch(batch, rank, world)) for _ in range(steps)])


def worker(
    rank: int,
    world: int,
    port: int,
    network: str,
    model: FaceModel,
    batch: dict,
    accumulate: int,
    steps: int,
    start: float,
    out: str,
) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    use_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world)
    training = small.training(network, model, len(batch["sample_id"]), max(TOTAL, 2 * steps))
    training.accumulate = accumulate
    training.wrap(distribute)
    losses = take_steps(training, batch, steps, rank, world, start)
    torch.save(
        (small.weights(training), losses, broadcast_int(7 + rank), broadcast_int(3 if rank else None)),
        f"{out}/{rank}.pt",
    )
    torch.distributed.destroy_process_group()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def on_workers(
    world: int,
    network: str,
    model: FaceModel,
    batch: dict,
    out: Path,
    accumulate: int = 1,
    steps: int = 1,
    start: float = 0.5,
) -> list:
    # Processes forked from this one would inherit locks held by its threads and deadlock.
    torch.multiprocessing.set_forkserver_preload(["jr2net.training"])
    torch.multiprocessing.start_processes(
        worker,
        (world, free_port(), network, model, batch, accumulate, steps, start, str(out)),
        nprocs=world,
        start_method="forkserver",
    )
    return [torch.load(out / f"{rank}.pt") for rank in range(world)]


def assert_close(ones: list[dict[str, float]], others: list[dict[str, float]], tolerance: float) -> None:
    for one, other in zip(ones, others, strict=True):
        assert one.keys() == other.keys()
        for term in one.keys() - {"expression_deviation"}:  # differs between parts of a batch
            assert one[term] == pytest.approx(other[term], rel=tolerance, abs=1e-6), term


@pytest.mark.parametrize(
    ("network", "samples", "accumulate", "start"),
    [
        ("recnet", 4, 1, 0.5),
        ("recnet", 5, 2, 0.5),  # split into 2 and 3, with unequal micro-batches and an odd offset
        ("dcnet", 4, 1, 0.5),
        ("dcnet", 3, 2, 0.5),
        ("dcnet-paper", 4, 1, 0.5),
        ("dcnet-paper", 3, 2, 0.5),
        ("flow3d", 4, 1, 0.0),  # phase A1
        ("flow3d", 4, 1, 0.25),  # phase A2
        ("flow3d", 3, 2, 0.5),  # phase A2, adversarial
        ("flow3d", 3, 2, 0.75),  # phase B
        ("etnet", 4, 1, 0.5),
        ("recaugnet", 4, 1, 0.5),
        ("recaugnet-etnet", 3, 2, 0.5),  # with ETNet
    ],
)
def test_two_workers_match_one(
    network: str, samples: int, accumulate: int, start: float, toy_model: FaceModel, tmp_path: Path
) -> None:
    batch = small.batch(toy_model, samples)
    single = small.training(network, toy_model, samples, TOTAL)
    before = small.weights(single)
    losses = take_steps(single, batch, start=start)
    (first, means, number, none), (second, *_) = on_workers(
        2, network, toy_model, batch, tmp_path, accumulate, start=start
    )
    assert (number, none) == (7, None)
    assert all(torch.equal(value, second[key]) for key, value in first.items())

    assert_close(means, losses, 1e-4)
    assert ("discriminator" in means[0]) == (network.startswith(("dcnet", "flow3d")) and start == 0.5)
    after = small.weights(single)
    update = torch.cat([(after[key] - before[key]).flatten() for key in after])
    difference = torch.cat([(first[key] - after[key]).flatten() for key in after]).abs()
    assert update.abs().max() > 1e-4
    assert (difference > AGREEMENT * update.abs().max()).float().mean() < OUTLIERS


def diverging_worker(rank: int, port: int, model: FaceModel, batch: dict, out: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    use_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    training = small.training("etnet", model, len(batch["sample_id"]), TOTAL)
    training.wrap(distribute)
    training.checks_first = False  # as on GPUs
    before = small.weights(training)
    with pytest.raises(NonFiniteLoss) as caught:
        training.step(small.local_batch(batch, rank, 2))
    assert all(torch.equal(value, before[key]) for key, value in small.weights(training).items())
    Path(out, f"{rank}.txt").write_text(str(caught.value))
    torch.distributed.destroy_process_group()


def test_all_workers_blame_the_samples_of_the_one_whose_loss_is_not_finite(
    toy_model: FaceModel, tmp_path: Path
) -> None:
    batch = small.batch(toy_model, 4)
    batch["image"][3, 0, 3, 3] = torch.nan  # of the second worker; its gradients reach the first
    torch.multiprocessing.set_forkserver_preload(["jr2net.training"])
    torch.multiprocessing.start_processes(
        diverging_worker, (free_port(), toy_model, batch, str(tmp_path)), nprocs=2, start_method="forkserver"
    )
    messages = [(tmp_path / f"{rank}.txt").read_text() for rank in range(2)]
    assert messages[0] == messages[1]
    assert messages[0].startswith("step 0: activation became NaN or infinite on samples sample-2, sample-3;")


@pytest.mark.drill
@pytest.mark.parametrize("network", small.NETWORKS)
def test_losses_agree_after_fifty_steps(network: str, toy_model: FaceModel, tmp_path: Path) -> None:
    """Every term to 0.1 % with one worker that accumulates the same halves; to 1 % with one that does not and rounds
    differently, except for the discriminator's loss, since adversarial training amplifies rounding errors."""
    batch = small.batch(toy_model, 4)
    _, means, *_ = on_workers(2, network, toy_model, batch, tmp_path, steps=50)[0]
    halves = small.training(network, toy_model, 4, 100)
    halves.accumulate = 2
    assert_close(means[-1:], take_steps(halves, batch, 50)[-1:], 1e-3)
    losses = take_steps(small.training(network, toy_model, 4, 100), batch, 50)
    totals = [
        {
            "loss": sum(
                value for term, value in step.items() if not term.endswith(NOT_LOSSES) and term != "discriminator"
            )
        }
        for step in (means[-1], losses[-1])
    ]
    assert_close(totals[:1], totals[1:], 1e-2)


@pytest.mark.parametrize("network", small.NETWORKS)
def test_accumulated_micro_batches_match_the_batch(network: str, toy_model: FaceModel) -> None:
    batch = small.batch(toy_model, 5)
    full, accumulated = (small.training(network, toy_model, 5) for _ in range(2))
    accumulated.accumulate = 3
    assert_close(take_steps(accumulated, batch), take_steps(full, batch), 1e-4)


def test_functions_do_nothing_without_a_process_group() -> None:
    network = torch.nn.Linear(2, 2)
    assert distribute(network) is network
    assert mean_over_workers([{"l1": 1.0}]) == [{"l1": 1.0}]
    assert broadcast_int(5) == 5 and broadcast_int(None) is None
