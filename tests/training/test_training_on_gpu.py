"""Every training step on a GPU that only pretends: nothing mixes devices, and the host waits once a step."""

from __future__ import annotations

import copy
import math

import pytest
import small_trainings as small
import torch

from jr2net.config import OptimizerConfig
from jr2net.face.model import FaceModel
from jr2net.networks.detector import Detector
from jr2net.training import Training
from jr2net.training.detector import DetectorTraining
from jr2net.training.validation import validate
from tests.pretended_gpu import DeviceMix, PretendedGpu, pretended_gpu

STEPS = 8
CASES = [*((name, 1) for name in small.NETWORKS), ("recnet", 2), ("dcnet", 2)]
RENDERING = {"render/rasterize_torch.py", "render/fragments.py"}
"""Where the host has to know how many pixels a mesh covers."""


def step_of(training: Training, batch: dict, gpu: PretendedGpu, *, first: bool) -> dict[str, float]:
    """The losses of a step. The host reads once; all uploads but those of the first step are asynchronous."""
    gpu.traffic.clear()
    losses = training.step(batch)
    assert gpu.count("read") == 1, gpu.places("read")
    assert gpu.count("asynchronous upload") == sum(isinstance(value, torch.Tensor) for value in batch.values())
    assert first or not gpu.count("upload"), gpu.places("upload")
    assert {place.partition(":")[0] for place in gpu.places("size")} <= RENDERING
    return losses


@pytest.mark.parametrize(("network", "accumulate"), CASES)
def test_a_step_reads_once_and_computes_what_a_cpu_does(network: str, accumulate: int, toy_model: FaceModel) -> None:
    batch = small.batch(toy_model, 3)
    on_cpu = small.training(network, toy_model, 3, STEPS)
    on_cpu.accumulate = accumulate
    states, expected = [], []
    for _ in range(STEPS):
        states.append(copy.deepcopy(on_cpu.state_dict()))
        expected.append(on_cpu.step(batch))
    with pretended_gpu() as gpu:
        training = small.training(network, toy_model, 3, STEPS, gpu.device)
        training.accumulate = accumulate
        for step in range(STEPS):
            training.load_state_dict(states[step])  # a difference in rounding must not grow over the steps
            computed, values = step_of(training, batch, gpu, first=step == 0), expected[step]
            assert computed == pytest.approx(values, rel=0.01, abs=1e-5)
        images = training.sample_images(batch)
        assert images is None or images.device == gpu.device


@pytest.mark.parametrize("network", ["recnet", "flow3d"])
def test_a_step_in_bfloat16(network: str, toy_model: FaceModel) -> None:
    with pretended_gpu() as gpu:
        training = small.training(network, toy_model, 3, STEPS, gpu.device)
        training.bf16 = True
        for step in range(STEPS):
            losses = step_of(training, small.batch(toy_model, 3), gpu, first=step == 0)
            assert all(map(math.isfinite, losses.values()))
        assert all(p.dtype == torch.float32 for network in training.networks.values() for p in network.parameters())


def test_a_step_of_the_detector() -> None:
    generator = torch.Generator().manual_seed(0)
    batch = {
        "image": torch.rand(2, 3, 64, 64, generator=generator),
        "landmarks": 64 * torch.rand(2, 3, 68, 2, generator=generator),
        "visible": torch.ones(2, 3),
        "sample_id": ["a", "b"],
    }

    def training(device: torch.device | str) -> DetectorTraining:
        torch.manual_seed(0)
        settings = OptimizerConfig(steps=STEPS, batch_size=2, learning_rate=1e-3)
        return DetectorTraining(Detector(64, (8, 8, 8, 8, 8)), settings, device)

    expected = training("cpu").step(batch)
    with pretended_gpu() as gpu:
        pretended = training(gpu.device)
        assert step_of(pretended, batch, gpu, first=True) == pytest.approx(expected, rel=0.01)
        step_of(pretended, batch, gpu, first=False)
        assert all(map(math.isfinite, validate(pretended, [batch]).values()))


def test_pinned_and_moved_batches_are_not_copied_again(toy_model: FaceModel) -> None:
    batch = small.batch(toy_model, 2)
    with pretended_gpu() as gpu:
        training = small.training("etnet", toy_model, 2, STEPS, gpu.device)
        pinned = {key: value.pin_memory() if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
        gpu.traffic.clear()
        (moved,) = training.microbatches(pinned)
        assert {event.kind for event in gpu.traffic} == {"asynchronous upload"}
        gpu.traffic.clear()
        training.microbatches(moved)
        assert not gpu.traffic


def test_a_resumed_training_has_its_state_on_the_device(toy_model: FaceModel) -> None:
    batch = small.batch(toy_model, 2)
    first = small.training("dcnet", toy_model, 2, STEPS)
    first.step(batch)
    with pretended_gpu() as gpu:
        resumed = small.training("dcnet", toy_model, 2, STEPS, gpu.device)
        resumed.load_state_dict(first.state_dict())
        values = resumed.step(batch)
    assert values == first.step(batch)


def test_the_pretended_gpu_finds_mixes_and_reads() -> None:
    with pretended_gpu() as gpu:
        there, here = torch.ones(3, device=gpu.device), torch.ones(3)
        with pytest.raises(DeviceMix, match=r"\(3,\) on pretended, \(3,\) on cpu"):
            there + here
        with pytest.raises(DeviceMix):
            torch.stack([there.sum(), here.sum()])
        assert (there + here.sum()).device == gpu.device, "numbers of the host are operands"
        assert not gpu.count("read")
        assert there.tolist() == [1, 1, 1] and float(there.sum()) == 3 and bool((there > 0).all())
        assert gpu.count("read") == 3
        gpu.traffic.clear()
        here.to(gpu.device, non_blocking=True)
        here.pin_memory().to(gpu.device)
        assert (gpu.count("upload"), gpu.count("asynchronous upload")) == (2, 0)
        here.pin_memory().to(gpu.device, non_blocking=True)
        assert (gpu.count("upload"), gpu.count("asynchronous upload")) == (2, 1)
        there[there > 0]
        assert gpu.count("size") == 1
        with pytest.raises((RuntimeError, TypeError)):
            there.numpy()
