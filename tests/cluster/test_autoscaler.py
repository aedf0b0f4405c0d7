"""What Ray's autoscalers start for each stage, and for serving: its own code decides, on the files of cluster/."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from manifests import ray_cluster, ray_object
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer, get_nodes_for
from ray.autoscaler._private.util import prepare_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from test_aws import with_names

from jobs.machines import demand, room
from jr2net.config import Config, load
from jr2net.run.cascade import stages
from serve.app import bind
from serve.settings import check_settings

ROOT = Path(__file__).parents[2]
Resources = dict[str, float]


@cache
def cluster(place: str) -> dict[str, Any]:
    """Ray's autoscaling configuration of ``aws.yaml`` or of an overlay."""
    if place == "aws":
        return prepare_config(yaml.safe_load(with_names("aws.yaml")))
    metadata = {"name": "jr2net", "namespace": "default"}
    return _derive_autoscaling_config_from_ray_cr({"metadata": metadata, "spec": ray_cluster(place)})


def settings_of(place: str) -> list[str]:
    """How the command of a place, in README.md or in its RayJob, sets ``scaling``."""
    if place == "aws":
        (command,) = re.findall(r"^ray job submit .*jobs/cascade\.py.*", (ROOT / "cluster/README.md").read_text(), re.M)
    else:
        command = ray_object(place)["spec"]["entrypoint"]
    return [word for word in command.split() if word.startswith("scaling.")]


def version_1(config: dict, demands: list[Resources]) -> tuple[dict[str, int], int]:
    """Machines by kind that the autoscaler of `ray up` adds, and the number of demands that are left."""
    head = config["head_node_type"]
    kinds = config["available_node_types"]

    def score(resources, demands, kind):
        return _default_utilization_scorer(resources, demands, kind, node_availability_summary=None)

    added, left = get_nodes_for(kinds, {head: 1}, head, config["max_workers"], demands, score)
    return dict(added), len(left)


def version_2(config: dict, demands: list[Resources]) -> tuple[dict[str, int], int]:
    """Machines by kind that the autoscaler of KubeRay adds, and the number of demands that are left."""
    kinds = AutoscalingConfig(config, skip_content_hash=True)
    requests = [ResourceRequestUtil.make(demand) for demand in demands]
    reply = ResourceDemandScheduler().schedule(
        SchedulingRequest(
            disable_launch_config_check=True,
            node_type_configs=kinds.get_node_type_configs(),
            max_num_nodes=kinds.get_max_num_nodes(),
            resource_requests=ResourceRequestUtil.group_by_count(requests),
        )
    )
    return {launch.instance_type: launch.count for launch in reply.to_launch}, len(reply.infeasible_resource_requests)


Autoscaler = Callable[[dict, list[Resources]], tuple[dict[str, int], int]]
CLUSTERS: list[tuple[str, Autoscaler]] = [("aws", version_1), ("aws", version_2), ("eks/job", version_2)]
LOCAL: tuple[str, Autoscaler] = ("local/job", version_2)
CPU_MACHINES = ({"cpu_worker"}, {"cpu"})
GPU_MACHINES = ({"gpu_worker"}, {"gpu"})
CONFIGURATIONS = sorted(
    path.name for path in (ROOT / "configs").glob("*.yaml") if "storage" in yaml.safe_load(path.read_text())
)
ON_GPUS = [name for name in CONFIGURATIONS if load(ROOT / "configs" / name).scaling.gpu]
CASES = [
    (*place, name, stage)
    for name in CONFIGURATIONS
    for stage in stages(load(ROOT / "configs" / name))
    for place in (*CLUSTERS, *([LOCAL] if name == "smoke.yaml" else []))
]


def configured(name: str, place: str) -> Config:
    return load(ROOT / "configs" / name, settings_of(place))


def at_most(config: Config, stage: str) -> list[Resources]:
    """Everything that a stage asks for at one time, as far as its settings bound it: of tasks, one."""
    asked, scaling = demand(config, stage), config.scaling
    count = {
        "training worker": scaling.workers,
        "worker": scaling.workers,
        "synthesis actor": scaling.synthesis_actors,
        "task": 1,
    }
    return [dict(bundle) for bundle in asked.bundles[:1]] * count[asked.process]


def workers_added(machines: dict[str, int]) -> dict[str, int]:
    return {kind: count for kind, count in machines.items() if not kind.startswith("head")}


def test_the_configurations_are_found():
    assert {"paper.yaml", "paper-flow3d.yaml", "laptop.yaml", "smoke.yaml"} <= set(CONFIGURATIONS)
    assert set(ON_GPUS) >= {"paper.yaml", "paper-flow3d.yaml"}


@pytest.mark.parametrize(("place", "added", "configuration", "stage"), CASES)
def test_every_stage_has_a_kind_of_machine_and_all_that_it_asks_for_has_room(place, added, configuration, stage):
    config, kinds = configured(configuration, place), cluster(place)["available_node_types"]
    asked = demand(config, stage)
    assert any(room(asked.resources, [kind["resources"]]) >= 1 for kind in kinds.values())
    machines, left = added(cluster(place), at_most(config, stage))
    assert left == 0
    assert set(workers_added(machines)) in (GPU_MACHINES if asked.resources.get("GPU") else CPU_MACHINES)
    _, left = added(cluster(place), asked.bundles)
    assert left == 0, "what wait_for_machines asks for"


@pytest.mark.parametrize(
    ("place", "added", "configuration", "stage"),
    [case for case in CASES if demand(load(ROOT / "configs" / case[2]), case[3]).process == "task"],
)
def test_tasks_without_a_gpu_start_cpu_machines_only(place, added, configuration, stage):
    asked = demand(configured(configuration, place), stage)
    for tasks in (1, 64, 65, 100, 1000):
        machines, _ = added(cluster(place), asked.bundles * tasks)
        assert set(workers_added(machines)) in CPU_MACHINES


@pytest.mark.parametrize(("place", "added"), CLUSTERS)
@pytest.mark.parametrize("configuration", ON_GPUS)
def test_every_gpu_stage_fits_two_gpu_machines(place, added, configuration):
    config = configured(configuration, place)
    stages_on_gpus = [stage for stage in stages(config) if demand(config, stage).resources.get("GPU")]
    assert {"recnet", "synthesis", "etnet", "recaugnet", "evaluation"} <= set(stages_on_gpus)
    for stage in stages_on_gpus:
        machines, left = added(cluster(place), at_most(config, stage))
        assert left == 0 and workers_added(machines) in ({"gpu_worker": 2}, {"gpu": 2})


@pytest.mark.parametrize(("place", "added"), CLUSTERS)
def test_the_workers_that_have_no_room_are_those_that_the_autoscaler_leaves(place, added):
    asked = demand(load(ROOT / "configs" / "paper.yaml", ["scaling.workers=16"]), "recnet")
    _, left = added(cluster(place), asked.bundles)
    kinds = cluster(place)["available_node_types"]
    largest = [kind["resources"] for kind in kinds.values() for _ in range(kind["max_workers"])]
    assert asked.together - left == room(asked.resources, largest) == 8


@pytest.mark.parametrize("added", [version_1, version_2])
def test_a_demand_that_no_machine_meets_is_reported(added):
    machines, left = added(cluster("aws"), [{"CPU": 6, "GPU": 8}])
    assert left == 1
    assert not {"gpu_worker", "cpu_worker", "http_worker"} & set(machines)


def replicas(place: str) -> dict[str, list[Resources]]:
    """What all replicas of each deployment ask for at their maxima, with the actors of the ingress."""
    text = (ROOT / "configs/serve.yaml").read_text() if place == "aws" else ray_object(place)["spec"]["serveConfigV2"]
    (application,) = yaml.safe_load(text)["applications"]
    ingress = bind(check_settings(application["args"]))._bound_deployment
    deployments = [ingress, *(each._bound_deployment for each in ingress.init_args[1:3])]
    asked = {each.name: [_resources(each.ray_actor_options)] * _most(each) for each in deployments}
    asked["Ingress"] += [_resources(each.actor_options) for each in ingress._deployment_config.deployment_actors or ()]
    return asked


def _most(deployment: Any) -> int:
    return deployment._deployment_config.autoscaling_config.max_replicas


def _resources(options: dict[str, Any]) -> Resources:
    named = {"CPU": options.get("num_cpus", 0), "GPU": options.get("num_gpus", 0)} | (options.get("resources") or {})
    return {name: value for name, value in named.items() if value}


SERVING: list[tuple[str, Autoscaler, str, str]] = [
    ("aws", version_1, "http_worker", "gpu_worker"),
    ("aws", version_2, "http_worker", "gpu_worker"),
    ("eks/service", version_2, "steady", "gpu"),
    ("local/service", version_2, "steady", "gpu"),
]


@pytest.mark.parametrize(("place", "added", "steady", "gpu"), SERVING)
def test_all_replicas_have_room_at_their_maxima(place, added, steady, gpu):
    asked = replicas(place)
    assert set(asked) == {"Ingress", "Reconstruction", "Reenactment"} and all(asked.values())
    machines, left = added(cluster(place), [bundle for bundles in asked.values() for bundle in bundles])
    assert left == 0 and set(workers_added(machines)) == {steady, gpu}


@pytest.mark.parametrize(("place", "added", "steady", "gpu"), SERVING)
def test_the_ingress_has_machines_of_its_own_and_ordinary_tasks_stay_off_them(place, added, steady, gpu):
    kinds = cluster(place)["available_node_types"]
    assert kinds[steady]["resources"]["CPU"] == 0
    machines = workers_added(added(cluster(place), replicas(place)["Ingress"])[0])
    assert {kind for kind, count in machines.items() if count > kinds[kind]["min_workers"]} <= {steady}
    assert machines[steady] >= 1
    ordinary = workers_added(added(cluster(place), [{"CPU": 1}] * 1000)[0])
    assert ordinary.get(steady, 0) == kinds[steady]["min_workers"]
