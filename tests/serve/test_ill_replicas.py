"""A replica whose device fails is replaced, and none of its requests is lost; long tests on a cluster."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ray import serve
from test_cluster import (
    CLIENTS,
    address,
    cluster,
    deploy,
    expected,
    load,
    num_running,
    replicas,
    versions,
    wait_until,
)
from torch import nn

from jr2net.inference.reconstruction import Reconstructor
from serve import app, deployments

pytestmark = pytest.mark.drill

__all__ = ["address", "cluster", "expected", "versions"]  # fixtures


class Failing(nn.Module):
    """A network that fails, from the moment on at which ``folder`` holds an order to, in the first process to take it.

    An order is a file: ``raise`` (every call fails, as after an error of CUDA) or ``nan`` (no answer is a number).
    """

    def __init__(self, network: nn.Module, folder: str) -> None:
        super().__init__()
        self.network, self.folder, self.order = network, Path(folder), ""

    def forward(self, images: torch.Tensor) -> object:
        for name in ("raise", "nan"):
            if not self.order:
                with suppress(FileNotFoundError):
                    (self.folder / name).rename(self.folder / f"taken-by-{os.getpid()}")
                    self.order = name
        if self.order == "raise":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        answer = self.network(images)
        return answer.map(lambda value: value * float("nan")) if self.order == "nan" else answer


@serve.deployment(name="Reconstruction")
class FailingReconstruction(deployments.Reconstruction.func_or_class):  # type: ignore[name-defined, misc]
    def load(self, weights: str) -> Reconstructor:
        network = super().load(weights)
        return replace(network, network=Failing(network.network, os.environ["JR2NET_ORDERS"]))


@pytest.fixture
def orders(tmp_path, monkeypatch, cluster) -> Path:
    monkeypatch.setattr(app, "Reconstruction", FailingReconstruction)
    options = app._options

    def with_orders(section):
        found = options(section)
        environment = found["ray_actor_options"]["runtime_env"]["env_vars"]
        environment |= {
            "JR2NET_ORDERS": str(tmp_path),
            "PYTHONPATH": f"{Path(__file__).parents[2]}:{Path(__file__).parent}",
        }
        return found

    monkeypatch.setattr(app, "_options", with_orders)
    return tmp_path


@pytest.mark.parametrize("order", ["raise", "nan"])
def test_a_replica_whose_device_fails_under_load_loses_no_request(address, versions, expected, orders, order):
    deploy(versions["a"], replicas=2)
    wait_until(lambda: num_running("Reconstruction") == 2, "two replicas")
    with load(address, expected) as running_load:
        begun = {process.pid for process in replicas("Reconstruction")}
        start = time.monotonic()
        (orders / order).touch()
        wait_until(lambda: not (orders / order).exists() or running_load.errors, "one of them falls ill")
        ill = int(next(orders.glob("taken-by-*")).name.rpartition("-")[2])
        assert ill in begun
        wait_until(lambda: ill not in {process.pid for process in replicas("Reconstruction")}, "it ends")
        ended = time.monotonic()
        running_load.wait_for(10 * CLIENTS)
        wait_until(lambda: len(replicas("Reconstruction")) == 2 and num_running("Reconstruction") == 2, "another one")
        print(
            f"{order}: ended after {ended - start:.1f} s, replaced after {time.monotonic() - start:.1f} s, "
            f"{len(running_load.digests)} answers"
        )


def test_the_only_replica_loses_no_request_either(address, versions, expected, orders):
    deploy(versions["a"])
    wait_until(lambda: num_running("Reconstruction") == 1, "replica")
    with load(address, expected) as running_load:
        (ill,) = (process.pid for process in replicas("Reconstruction"))
        (orders / "raise").touch()
        wait_until(lambda: ill not in {process.pid for process in replicas("Reconstruction")}, "it ends")
        running_load.wait_for(2 * CLIENTS)


def test_an_idle_replica_is_found_out(address, versions, orders):
    deploy(versions["a"])
    wait_until(lambda: num_running("Reconstruction") == 1, "replica")
    (ill,) = (process.pid for process in replicas("Reconstruction"))
    (orders / "nan").touch()
    wait_until(lambda: ill not in {process.pid for process in replicas("Reconstruction")}, "a health check ends it")
    wait_until(lambda: num_running("Reconstruction") == 1, "another one")
