"""When a replica is ill: its network is tried where it has answered nothing, and its process ends where it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor
from jr2net.render.scene import Generated
from serve import deployments
from serve.health import IDLE_S, STUCK_S, Health


class Patient:
    """A network that can be made to fail, its health, and whether its process has ended."""

    def __init__(self) -> None:
        self.now, self.probes = 0.0, 0
        self.error: Exception | None = None
        self.ended: list[str] = []
        self.health = Health(self.probe, self.ended.append, lambda: self.now)

    def probe(self) -> None:
        self.probes += 1
        if self.error is not None:
            raise self.error

    def check(self, after: float) -> None:
        self.now += after
        asyncio.run(self.health.check())


CUDA_ERROR = RuntimeError("CUDA error: an illegal memory access was encountered")


def test_an_idle_network_is_tried_now_and_then():
    patient = Patient()
    for _ in range(4):
        patient.check(after=IDLE_S / 2 + 1)
    assert patient.probes == 2 and not patient.ended


def test_a_network_that_answers_is_not_disturbed():
    patient = Patient()
    for _ in range(20):
        with patient.health.forward_pass():
            patient.check(after=IDLE_S)
        patient.check(after=IDLE_S)
    assert not patient.probes and not patient.ended


def test_a_check_does_not_wait_for_a_long_batch():
    patient = Patient()
    with patient.health.forward_pass():
        patient.check(after=STUCK_S - 1)
    assert not patient.probes and not patient.ended


def test_a_batch_that_never_ends_ends_the_replica():
    patient = Patient()
    with patient.health.forward_pass():
        patient.check(after=STUCK_S + 1)
    assert "has not ended for 301 s" in patient.ended[0]


def test_a_failed_batch_is_no_answer():
    patient = Patient()
    patient.now = IDLE_S + 1
    with pytest.raises(ValueError), patient.health.forward_pass():
        raise ValueError
    patient.check(after=0)
    assert patient.probes == 1


@pytest.mark.parametrize("error", [CUDA_ERROR, FloatingPointError("recnet has numbers that are not finite")])
def test_a_broken_device_ends_the_replica(error):
    patient = Patient()
    patient.error = error
    patient.check(after=IDLE_S + 1)
    assert str(error) in patient.ended[0]


def test_lack_of_memory_does_not_end_the_replica():
    patient = Patient()
    patient.error = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(torch.OutOfMemoryError):
        patient.check(after=IDLE_S + 1)
    assert not patient.ended


# Of the networks themselves


class Sick(nn.Module):
    """A network whose answers are spoiled."""

    def __init__(self, network: nn.Module, spoil: Callable) -> None:
        super().__init__()
        self.network, self.spoil = network, spoil
        self.encode = network.encode if hasattr(network, "encode") else None

    def forward(self, *arguments):
        return self.spoil(self.network(*arguments))


def _fails(answer):
    raise CUDA_ERROR


def _not_finite(answer):
    if isinstance(answer, Generated):
        return answer.map(lambda value: value * float("nan"))
    return answer.replace(light=answer.light * float("inf"))


@pytest.mark.parametrize("spoil", [_fails, _not_finite])
@pytest.mark.parametrize("kind", ["recnet", "dcnet", "flow3d"])
def test_a_probe_finds_out(kind, spoil, weights, face_model):
    load = Reconstructor.load if kind == "recnet" else Reenactor.load_network
    network = load(weights[kind], face_model=face_model) if kind == "recnet" else load(weights[kind], face_model)
    network.probe()
    with pytest.raises((RuntimeError, FloatingPointError)):
        replace(network, network=Sick(network.network, spoil)).probe()


class Replica(deployments.Reconstruction.func_or_class):
    """A replica without Ray Serve."""

    def __init__(self, settings, network: Reconstructor, ended: list[str]) -> None:
        super().__init__(settings)
        self.network, self.health = network, Health(lambda: self.network.probe(), ended.append)


@pytest.fixture
def replica(settings, networks):
    ended: list[str] = []
    made = Replica(settings.model_dump(mode="json"), networks.reconstructor, ended)
    made.ended = ended
    return made


CROP = np.zeros((64, 64, 3), np.uint8)


def test_a_replica_whose_device_fails_ends_at_the_request_that_finds_out(replica):
    assert len(asyncio.run(replica.predict_groups([[CROP], [CROP, CROP]]))[1]) == 2
    replica.network = replace(replica.network, network=Sick(replica.network.network, _fails))
    with pytest.raises(RuntimeError, match="CUDA error"):
        asyncio.run(replica.predict_groups([[CROP]]))
    assert "CUDA error" in replica.ended[0]


def test_a_request_that_cannot_be_computed_does_not_end_the_replica(replica):
    with pytest.raises(Exception, match=r"."):
        asyncio.run(replica.predict_groups([[np.zeros((0, 0, 3), np.uint8)]]))
    assert not replica.ended
