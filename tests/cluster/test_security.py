"""Who may reach the pods of the Kubernetes clusters, what they may do, and which of them stay."""

from pathlib import Path

import pytest
import yaml

CLUSTER = Path(__file__).parents[2] / "cluster"
RAY_CLUSTERS = {"job": "rayClusterSpec", "service": "rayClusterConfig"}
PART_OF = {"app.kubernetes.io/part-of": "jr2net"}


def spec(name: str) -> dict:
    return yaml.safe_load((CLUSTER / f"ray{name}.yaml").read_text())["spec"]


def pods(name: str) -> dict[str, dict]:
    """Pod templates of one manifest, by component."""
    groups = spec(name)[RAY_CLUSTERS[name]]
    templates = [groups["headGroupSpec"]["template"], *(group["template"] for group in groups["workerGroupSpecs"])]
    if name == "job":
        templates.append(spec(name)["submitterPodTemplate"])
    return {template["metadata"]["labels"]["app.kubernetes.io/component"]: template for template in templates}


def protection(kind: str) -> list[dict]:
    documents = yaml.safe_load_all((CLUSTER / "protection.yaml").read_text())
    return [document for document in documents if document["kind"] == kind]


@pytest.mark.parametrize("name", RAY_CLUSTERS)
def test_no_pod_runs_as_root_or_gains_rights(name):
    for component, template in pods(name).items():
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True, component
        assert pod["securityContext"]["runAsUser"] > 0, component
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, component
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), component
        for container in pod["containers"]:
            rights = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
            assert container["securityContext"] == rights, component
            assert {"cpu", "memory"} <= set(container["resources"]["limits"]), component
    rights = spec(name)[RAY_CLUSTERS[name]]["autoscalerOptions"]["securityContext"]
    assert rights["allowPrivilegeEscalation"] is False


@pytest.mark.parametrize("name", RAY_CLUSTERS)
def test_ray_asks_for_a_token_and_the_head_is_inside_the_cluster(name):
    cluster = spec(name)[RAY_CLUSTERS[name]]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"].get("serviceType", "ClusterIP") == "ClusterIP"
    assert not cluster["headGroupSpec"].get("enableIngress")


def test_heads_and_the_ingress_are_on_demand_and_every_other_worker_is_spot():
    for name in RAY_CLUSTERS:
        for component, template in pods(name).items():
            if component == "job-submitter":
                continue
            kept = component.endswith("-head") or component == "service-steady"
            found = template["spec"]["nodeSelector"]["karpenter.sh/capacity-type"]
            assert found == ("on-demand" if kept else "spot"), component


def test_api_keys_come_from_a_secret_and_logs_reach_the_pods_output():
    for template in pods("service").values():
        (container,) = template["spec"]["containers"]
        variables = {variable["name"]: variable for variable in container["env"]}
        assert variables["JR2NET_API_KEYS"]["valueFrom"] == {"secretKeyRef": {"name": "jr2net-keys", "key": "keys"}}
        for name in ("RAY_LOG_TO_STDERR", "RAY_SERVE_LOG_TO_STDERR", "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE"):
            assert variables[name]["value"] == "1"
    assert yaml.safe_load(spec("service")["serveConfigV2"])["logging_config"]["encoding"] == "JSON"


def test_only_requests_and_kuberay_reach_the_pods_from_outside():
    (policy,) = protection("NetworkPolicy")
    assert policy["spec"]["podSelector"]["matchLabels"] == PART_OF
    for name in RAY_CLUSTERS:
        for template in pods(name).values():
            assert PART_OF.items() <= template["metadata"]["labels"].items()
    own, operator, requests = policy["spec"]["ingress"]
    assert own["from"] == [{"podSelector": {"matchLabels": PART_OF}}]
    (source,) = operator["from"]
    assert source["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "kuberay-operator"}
    assert [port["port"] for port in operator["ports"]] == [8265]
    assert [port["port"] for port in requests["ports"]] == [8000]


def test_an_eviction_leaves_the_heads_and_an_ingress():
    budgets = [budget["spec"] for budget in protection("PodDisruptionBudget")]
    kept = {budget["selector"]["matchLabels"]["app.kubernetes.io/component"]: budget for budget in budgets}
    assert set(kept) == {"job-head", "service-head", "service-steady"}
    assert all(budget["minAvailable"] == 1 for budget in budgets)
    assert set(kept) <= set(pods("job")) | set(pods("service"))
    (steady,) = [
        group for group in spec("service")["rayClusterConfig"]["workerGroupSpecs"] if group["groupName"] == "steady"
    ]
    assert steady["minReplicas"] > kept["service-steady"]["minAvailable"]
