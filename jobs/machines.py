"""Whether the cluster has a machine for what a stage asks for. Ray itself would wait for ever, without a word."""

from __future__ import annotations

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
    """What each process of a stage asks of one machine, and the settings that ask for it."""

    process: str
    resources: Mapping[str, float]
    settings: str


def demand(config: Config, stage: str) -> Demand:
    """What ``stage`` asks for."""
    scaling, kind = config.scaling, first_round(stage)
    worker = {"CPU": scaling.cpus_per_worker} | ({"GPU": 1.0} if scaling.gpu else {})
    if stage in NETWORKS:
        resources = worker | scaling.resources_per_worker
        names = "scaling.cpus_per_worker, scaling.gpu and scaling.resources_per_worker"
        return Demand("a training worker", resources, names)
    if kind == "evaluation":
        return Demand("a worker", worker, "scaling.cpus_per_worker and scaling.gpu")
    if kind == "synthesis":
        resources = {"CPU": scaling.actor_cpus, "GPU": scaling.gpus_per_actor}
        return Demand("a synthesis actor", resources, "scaling.cpus_per_actor and scaling.gpus_per_actor")
    return Demand("a task", {"CPU": 1.0} | scaling.resources_per_task, "scaling.resources_per_task")


def wait_for_machine(config: Config, stage: str) -> None:
    """Waits until the cluster has a machine that is large enough for one process of ``stage``.

    The autoscaler, if there is one, is asked for such a machine. Raises StageError after
    ``scaling.wait_for_machines_s``; the message says what the cluster has. Where Ray has not been started,
    nothing is waited for.
    """
    if not ray.is_initialized():
        return
    asked, limit = demand(config, stage), config.scaling.wait_for_machines_s
    if fits(asked.resources, machines()):
        return
    print(
        f"[{stage}] waits for a machine with {described(asked.resources)}, up to {duration(limit)}; the cluster has "
        f"{list_machines(machines())}",
        flush=True,
    )
    start = time.monotonic()
    request_resources(bundles=[{name: value for name, value in asked.resources.items() if value}])
    try:
        while not fits(asked.resources, machines()):
            if time.monotonic() - start >= limit:
                raise StageError(
                    f"{stage}: {asked.process} needs a machine with {described(asked.resources)} ({asked.settings}), "
                    f"and none came within {duration(limit)}. The cluster has {list_machines(machines())}. Lower these "
                    "settings, add such a machine, or wait longer (scaling.wait_for_machines_s), and give the same "
                    "command again"
                )
            time.sleep(min(INTERVAL_S, limit))
    finally:
        request_resources(bundles=[])


def machines() -> list[dict[str, float]]:
    """Resources of every machine of the cluster."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def fits(resources: Mapping[str, float], offered: Iterable[Mapping[str, float]]) -> bool:
    """Whether one of the machines is large enough."""
    return any(all(machine.get(name, 0.0) >= value for name, value in resources.items()) for machine in offered)


def described(resources: Mapping[str, float]) -> str:
    """E.g. ``6 CPU and 1 GPU``."""
    return " and ".join(f"{value:g} {name}" for name, value in resources.items() if value) or "nothing"


def list_machines(offered: Iterable[Mapping[str, float]]) -> str:
    """E.g. ``2 × (16 CPU and 16 cpu_machine), 1 × (nothing)``: kinds of machines by what they offer to Ray."""
    kinds = Counter(
        described({name: value for name, value in machine.items() if not name.startswith(_OWN)}) for machine in offered
    )
    return ", ".join(f"{count} × ({kind})" for kind, count in kinds.most_common()) or "no machine"
