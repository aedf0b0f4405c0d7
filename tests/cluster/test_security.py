"""Who may reach the pods of the Kubernetes clusters, what they may do, and which of them stay."""

import re

import pytest
import yaml
from manifests import OVERLAYS, of_kind, pods, ray_cluster, ray_object, rendered

PART_OF = {"app.kubernetes.io/part-of": "jr2net"}
SERVICES = ("eks/service", "local/service")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_pod_runs_as_root_or_gains_rights(overlay):
    stateful = {found["metadata"]["name"]: found["spec"]["template"] for found in of_kind(overlay, "StatefulSet")}
    for component, template in (pods(overlay) | stateful).items():
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True, component
        assert pod["securityContext"]["runAsUser"] > 0, component
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, component
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), component
        for container in pod["containers"]:
            rights = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
            assert rights.items() <= container["securityContext"].items(), component
            for kind in ("requests", "limits"):
                assert {"cpu", "memory"} <= set(container["resources"][kind]), component
    assert ray_cluster(overlay)["autoscalerOptions"]["securityContext"]["allowPrivilegeEscalation"] is False


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_the_heads_autoscaler_may_ask_kubernetes(overlay):
    stateful = {found["metadata"]["name"]: found["spec"]["template"] for found in of_kind(overlay, "StatefulSet")}
    for component, template in (pods(overlay) | stateful).items():
        if not component.endswith("-head"):
            assert template["spec"]["automountServiceAccountToken"] is False, component


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_ray_asks_for_a_token_and_the_head_is_inside_the_cluster(overlay):
    cluster = ray_cluster(overlay)
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"].get("serviceType", "ClusterIP") == "ClusterIP"
    assert not cluster["headGroupSpec"].get("enableIngress")


@pytest.mark.parametrize("use", ["cluster", "job", "service"])
def test_heads_the_ingress_and_redis_are_on_demand_and_every_other_worker_is_spot(use):
    stateful = {found["metadata"]["name"]: found["spec"]["template"] for found in of_kind(f"eks/{use}", "StatefulSet")}
    for component, template in (pods(f"eks/{use}") | stateful).items():
        kept = component.endswith("-head") or component in ("service-steady", "job-submitter", "jr2net-redis")
        found = template["spec"]["nodeSelector"]["karpenter.sh/capacity-type"]
        assert found == ("on-demand" if kept else "spot"), component


@pytest.mark.parametrize("overlay", SERVICES)
def test_the_ingress_alone_has_the_api_keys_from_a_secret_and_logs_reach_the_pods_output(overlay):
    for component, template in pods(overlay).items():
        (container,) = template["spec"]["containers"]
        variables = {variable["name"]: variable for variable in container["env"]}
        keys = {"secretKeyRef": {"name": "jr2net-keys", "key": "keys"}} if component == "service-steady" else None
        assert variables.get("JR2NET_API_KEYS", {}).get("valueFrom") == keys, component
        for name in ("RAY_LOG_TO_STDERR", "RAY_SERVE_LOG_TO_STDERR", "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE"):
            assert variables[name]["value"] == "1"
    assert yaml.safe_load(ray_object(overlay)["spec"]["serveConfigV2"])["logging_config"]["encoding"] == "JSON"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_worker_that_has_to_go_has_time_to_end_its_work(overlay):
    for component, template in pods(overlay).items():
        if component.endswith("-head") or component == "job-submitter":
            continue
        (container,) = template["spec"]["containers"]
        variables = {variable["name"]: variable.get("value") for variable in container["env"]}
        drain = float(variables["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
        assert 60 < drain < template["spec"]["terminationGracePeriodSeconds"] < 120, component


@pytest.mark.parametrize("overlay", SERVICES)
def test_a_head_that_is_lost_is_followed_by_one_that_knows_what_it_knew(overlay):
    options = ray_cluster(overlay)["gcsFaultToleranceOptions"]
    (store,) = of_kind(overlay, "StatefulSet")
    (service,) = of_kind(overlay, "Service")
    assert options["redisAddress"] == f"redis://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    password = options["redisPassword"]["valueFrom"]
    (container,) = store["spec"]["template"]["spec"]["containers"]
    assert {variable["name"]: variable["valueFrom"] for variable in container["env"]} == {"REDIS_PASSWORD": password}
    assert container["args"][:2] == ["--requirepass", "$(REDIS_PASSWORD)"]
    assert container["args"][container["args"].index("--appendonly") + 1] == "yes"
    assert service["spec"]["selector"].items() <= store["spec"]["template"]["metadata"]["labels"].items()
    assert container["readinessProbe"] and container["livenessProbe"]


def test_requests_from_outside_come_over_https_to_the_service():
    (ingress,) = of_kind("eks/service", "Ingress")
    (rule,), (tls,) = ingress["spec"]["rules"], ingress["spec"]["tls"]
    assert tls["hosts"] == [rule["host"]]
    (path,) = rule["http"]["paths"]
    name = f"{ray_object('eks/service')['metadata']['name']}-serve-svc"  # KubeRay's name of it
    assert path["backend"]["service"] == {"name": name, "port": {"number": 8000}}
    settings = {key.rpartition("/")[2]: value for key, value in ingress["metadata"]["annotations"].items()}
    assert settings["force-ssl-redirect"] == "true"
    # A request is repeated when its machine is lost: POST too, for which the ingress has to keep the body.
    assert "non_idempotent" in settings["proxy-next-upstream"] and int(settings["proxy-next-upstream-tries"]) > 1
    assert "proxy-request-buffering" not in settings
    assert ray_object("eks/service")["spec"]["excludeHeadPodFromServeSvc"] is True


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_requests_and_kuberay_reach_the_pods_from_outside(overlay):
    (policy,) = of_kind(overlay, "NetworkPolicy")
    assert policy["spec"]["podSelector"]["matchLabels"] == PART_OF
    stateful = [found["spec"]["template"] for found in of_kind(overlay, "StatefulSet")]
    for template in [*pods(overlay).values(), *stateful]:
        assert PART_OF.items() <= template["metadata"]["labels"].items()
    own, operator, requests = policy["spec"]["ingress"]
    assert own["from"] == [{"podSelector": {"matchLabels": PART_OF}}]
    (source,) = operator["from"]
    assert source["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "kuberay-operator"}
    assert [port["port"] for port in operator["ports"]] == [8265]
    assert [port["port"] for port in requests["ports"]] == [8000]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_eviction_leaves_the_heads_an_ingress_and_redis(overlay):
    budgets = [budget["spec"] for budget in of_kind(overlay, "PodDisruptionBudget")]
    kept = {budget["selector"]["matchLabels"]["app.kubernetes.io/component"]: budget for budget in budgets}
    serves = overlay.endswith("service")
    assert set(kept) == ({"service-head", "service-steady", "redis"} if serves else {"training-head"})
    assert all(budget["minAvailable"] == 1 for budget in budgets)
    assert set(kept) <= {*pods(overlay), "redis"}
    if serves:
        (steady,) = [group for group in ray_cluster(overlay)["workerGroupSpecs"] if group["groupName"] == "steady"]
        assert steady["minReplicas"] > kept["service-steady"]["minAvailable"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_secret_stands_in_the_manifests(overlay):
    assert not of_kind(overlay, "Secret")
    text = yaml.safe_dump_all(rendered(overlay))
    assert not re.search(r"(?i)(password|token|secret|key)\S*: ['\"]?[A-Za-z0-9+/]{20,}", text)
