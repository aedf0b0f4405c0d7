"""What Ray's autoscalers start for each stage: its own scheduling code decides, on the files of cluster/."""

from pathlib import Path

import pytest
import yaml
from manifests import ray_cluster
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer, get_nodes_for
from ray.autoscaler._private.util import prepare_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from test_aws import with_names

from jr2net.config import load

ROOT = Path(__file__).parents[2]
CONFIGURATIONS = ("paper.yaml", "paper-flow3d.yaml")
ON_CPU_MACHINES = "scaling.resources_per_task.cpu_machine=1"  # as the commands of cluster/ say


def cluster(name: str) -> dict:
    """Ray's autoscaling configuration of one of the clusters."""
    if name == "aws":
        return prepare_config(yaml.safe_load(with_names("aws.yaml")))
    metadata = {"name": "jr2net", "namespace": "default"}
    return _derive_autoscaling_config_from_ray_cr({"metadata": metadata, "spec": ray_cluster(f"eks/{name}")})


def version_1(config: dict, demands: list[dict]) -> tuple[dict[str, int], int]:
    """Machines by kind that the autoscaler of `ray up` adds, and the number of demands that are left."""
    head = config["head_node_type"]
    kinds = config["available_node_types"]

    def score(resources, demands, kind):
        return _default_utilization_scorer(resources, demands, kind, node_availability_summary=None)

    added, left = get_nodes_for(kinds, {head: 1}, head, config["max_workers"], demands, score)
    return dict(added), len(left)


def version_2(config: dict, demands: list[dict]) -> tuple[dict[str, int], int]:
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


CLUSTERS = [("aws", version_1), ("aws", version_2), ("job", version_2)]


@pytest.mark.parametrize(("name", "added"), CLUSTERS)
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("tasks", [1, 64, 65, 100, 1000])
def test_tasks_without_a_gpu_start_cpu_machines_only(name, added, configuration, tasks):
    scaling = load(ROOT / "configs" / configuration, [ON_CPU_MACHINES]).scaling
    machines, _ = added(cluster(name), [{"CPU": 1} | scaling.resources_per_task] * tasks)
    assert {kind for kind in machines if not kind.startswith("head")} <= {"cpu_worker", "cpu"}
    assert sum(machines.values()) >= 1


@pytest.mark.parametrize(("name", "added"), CLUSTERS)
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("stage", ["training", "synthesis", "evaluation"])
def test_every_gpu_stage_fits_two_gpu_machines(name, added, configuration, stage):
    scaling = load(ROOT / "configs" / configuration, []).scaling
    worker = {"CPU": scaling.cpus_per_worker, "GPU": 1}
    actor = {"CPU": scaling.actor_cpus, "GPU": scaling.gpus_per_actor}
    demands = {
        "training": [worker | scaling.resources_per_worker] * scaling.workers,
        "synthesis": [actor] * scaling.synthesis_actors,
        "evaluation": [worker] * scaling.workers,
    }
    machines, left = added(cluster(name), demands[stage])
    assert left == 0
    assert {kind: count for kind, count in machines.items() if not kind.startswith("head")} in (
        {"gpu_worker": 2},
        {"gpu": 2},
    )


@pytest.mark.parametrize(("name", "ingress"), [("aws", "http_worker"), ("service", "steady")])
def test_the_ingress_has_machines_of_its_own_and_ordinary_tasks_stay_off_them(name, ingress):
    config = cluster(name)
    assert config["available_node_types"][ingress]["resources"]["CPU"] == 0
    if name == "aws":
        replica = _replicas()["ingress"]
        assert version_1(config, [{"CPU": replica["num_cpus"]} | replica["resources"]] * 16) == ({ingress: 2}, 0)


def _replicas() -> dict:
    return yaml.safe_load((ROOT / "configs" / "serve.yaml").read_text())["applications"][0]["args"]


@pytest.mark.parametrize("added", [version_1, version_2])
def test_a_demand_that_no_machine_meets_is_reported(added):
    machines, left = added(cluster("aws"), [{"CPU": 6, "GPU": 8}])
    assert left == 1
    assert not {"gpu_worker", "cpu_worker", "http_worker"} & set(machines)
