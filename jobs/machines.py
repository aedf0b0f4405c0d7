"""Whether the cluster has machines for what a stage asks for. Ray itself would wait for ever, without a word."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import ray
from ray.autoscaler.sdk import request_resources

from jr2net.config import Config
from jr2net.config.stages import first_round
from jr2net.run.cascade import NETWORKS, StageError
from jr2net.run.environment import duration

INTERVAL_S = 2.0
_OWN = ("node:", "memory", "object_store_memory")  # resources that Ray gives every node


@dataclass(frozen=True)
class Demand:
    """What each process of a stage asks of one machine, and the settings that ask for it.

    together: how many processes must run at one time; the other stages do with as many as there is room for.
    """

    process: str
    resources: Mapping[str, float]
    settings: str
    together: int = 1

    @property
    def bundles(self) -> list[dict[str, float]]:
        """For Ray's autoscaler."""
        return [{name: value for name, value in self.resources.items() if value}] * self.together


def demand(config: Config, stage: str) -> Demand:
    """What ``stage`` asks for."""
    scaling, kind = config.scaling, first_round(stage)
    worker = {"CPU": scaling.cpus_per_worker} | ({"GPU": 1.0} if scaling.gpu else {})
    if stage in NETWORKS:
        resources = worker | scaling.resources_per_worker
        number = "scaling.elastic" if scaling.elastic else "scaling.workers"
        names = f"{number}, scaling.cpus_per_worker, scaling.gpu and scaling.resources_per_worker"
        return Demand("training worker", resources, names, scaling.least_workers)
    if kind == "evaluation":
        return Demand("worker", worker, "scaling.cpus_per_worker and scaling.gpu")
    if kind == "synthesis":
        resources = {"CPU": scaling.actor_cpus, "GPU": scaling.gpus_per_actor}
        return Demand("synthesis actor", resources, "scaling.cpus_per_actor and scaling.gpus_per_actor")
    return Demand("task", {"CPU": 1.0} | scaling.resources_per_task, "scaling.resources_per_task")


def wait_for_machines(config: Config, stage: str) -> None:
    """Waits until the cluster has room for the processes of ``stage`` that must run at one time.

    The autoscaler, if there is one, is asked for their machines. Raises StageError after
    ``scaling.wait_for_machines_s``; the message says what the cluster has. Machines that are busy count. Where Ray has
    not been started, nothing is waited for.
    """
    if not ray.is_initialized():
        return
    asked, limit = demand(config, stage), config.scaling.wait_for_machines_s
    if room(asked.resources, machines()) >= asked.together:
        return
    print(
        f"[{stage}] waits for room for {_processes(asked)}, up to {duration(limit)}; the cluster has "
        f"{list_machines(machines())}",
        flush=True,
    )
    start = time.monotonic()
    request_resources(bundles=asked.bundles)
    try:
        while (found := room(asked.resources, present := machines())) < asked.together:
            if time.monotonic() - start >= limit:
                raise StageError(
                    f"{stage} asks for {_processes(asked)} on one machine ({asked.settings}). After {duration(limit)} "
                    f"the cluster has room for {found or 'none'}: it has {list_machines(present)}. Lower these "
                    "settings, add machines, or wait longer (scaling.wait_for_machines_s), and give the same command "
                    "again"
                )
            time.sleep(min(INTERVAL_S, limit))
    finally:
        request_resources(bundles=[])


def _processes(asked: Demand) -> str:
    """E.g. ``8 training workers, each with 6 CPU and 1 GPU``."""
    if asked.together == 1:
        return f"1 {asked.process} with {described(asked.resources)}"
    return f"{asked.together} {asked.process}s, each with {described(asked.resources)}"


def machines() -> list[dict[str, float]]:
    """Resources of every machine of the cluster."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def room(resources: Mapping[str, float], offered: Iterable[Mapping[str, float]]) -> float:
    """How many processes that ask for ``resources`` fit into the machines; infinite if they ask for nothing."""

    def of(machine: Mapping[str, float]) -> float:
        shares = (machine.get(name, 0.0) / value for name, value in resources.items() if value)
        return min((math.floor(share + 1e-9) for share in shares), default=math.inf)

    return sum(of(machine) for machine in offered)


def described(resources: Mapping[str, float]) -> str:
    """E.g. ``6 CPU and 1 GPU``."""
    return " and ".join(f"{value:g} {name}" for name, value in resources.items() if value) or "nothing"


def list_machines(offered: Iterable[Mapping[str, float]]) -> str:
    """E.g. ``2 × (16 CPU and 16 cpu_machine), 1 × (nothing)``: kinds of machines by what they offer to Ray."""
    kinds = Counter(
        described({name: value for name, value in machine.items() if not name.startswith(_OWN)}) for machine in offered
    )
    return ", ".join(f"{count} × ({kind})" for kind, count in kinds.most_common()) or "no machine"
