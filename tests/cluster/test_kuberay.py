"""Checks every overlay with Ray's code, the documented field names, and KubeRay's CRDs if available."""

import os
from functools import cache
from pathlib import Path

import jsonschema
import pytest
import yaml
from manifests import OVERLAYS, of_kind, ray_cluster, ray_object, rendered
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.serve.schema import ServeDeploySchema

from tests.conftest import REAL_GROUND

CONFIGS = Path(__file__).parents[2] / "configs"

# Fields of KubeRay's API reference, v1.
JOB = (
    "activeDeadlineSeconds backoffLimit clusterSelector deletionStrategy entrypoint entrypointNumCpus entrypointNumGpus"
    " entrypointResources jobId managedBy metadata preRunningDeadlineSeconds rayClusterSpec runtimeEnvYAML"
    " shutdownAfterJobFinishes submissionMode submitterConfig submitterPodTemplate suspend ttlSecondsAfterFinished"
)
SERVICE = (
    "deploymentUnhealthySecondThreshold excludeHeadPodFromServeSvc managedBy rayClusterConfig"
    " rayClusterDeletionDelaySeconds serveConfigV2 serveService serviceUnhealthySecondThreshold suspend upgradeStrategy"
)
CLUSTER_FIELDS = (
    "authOptions autoscalerOptions enableInTreeAutoscaling gcsFaultToleranceOptions headGroupSpec"
    " headServiceAnnotations managedBy networkPolicy rayVersion suspend tlsOptions upgradeStrategy workerGroupSpecs"
)
HEAD = "enableIngress headService labels rayStartParams resources serviceType template"
WORKERS = (
    "groupName idleTimeoutSeconds labels maxReplicas minReplicas numOfHosts rayStartParams replicas resources"
    " scaleStrategy suspend template"
)


def _object(fields: str, **properties: dict) -> dict:
    """Schema of an object: ``fields`` are optional, ``properties`` required, others rejected."""
    return {
        "type": "object",
        "properties": {**{field: {} for field in fields.split()}, **properties},
        "required": list(properties),
        "additionalProperties": False,
    }


def _ray_cluster() -> dict:
    amount = {"type": "string"}
    container = {
        "type": "object",
        "required": ["name", "image", "resources"],
        "properties": {
            "name": {"type": "string", "pattern": "^ray-(head|worker)$"},
            "resources": _object(
                "",
                requests={"type": "object", "additionalProperties": amount},
                limits={"type": "object", "additionalProperties": amount},
            ),
        },
    }
    pod = {
        "type": "object",
        "required": ["containers", "serviceAccountName"],
        "properties": {"containers": {"type": "array", "minItems": 1, "items": container}},
    }
    template = _object("metadata", spec=pod)
    parameters = {"type": "object", "additionalProperties": {"type": "string"}}  # strings only, no numbers
    count = {"type": "integer", "minimum": 0}
    return _object(
        CLUSTER_FIELDS,
        rayVersion={"const": "2.60.0"},
        headGroupSpec=_object(HEAD, rayStartParams=parameters, template=template),
        workerGroupSpecs={
            "type": "array",
            "items": _object(
                WORKERS,
                groupName={"type": "string"},
                minReplicas=count,
                maxReplicas=count,
                rayStartParams=parameters,
                template=template,
            ),
        },
    )


def _manifest(kind: str, spec: dict) -> dict:
    name = {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]*$"}
    metadata = _object("namespace labels annotations", name=name)
    return _object("", apiVersion={"const": "ray.io/v1"}, kind={"const": kind}, metadata=metadata, spec=spec)


SCHEMAS = {
    "RayCluster": _manifest("RayCluster", _ray_cluster()),
    "RayJob": _manifest("RayJob", _object(JOB, entrypoint={"type": "string"}, rayClusterSpec=_ray_cluster())),
    "RayService": _manifest(
        "RayService", _object(SERVICE, serveConfigV2={"type": "string"}, rayClusterConfig=_ray_cluster())
    ),
}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_fields_are_known_to_kuberay(overlay):
    manifest = ray_object(overlay)
    jsonschema.validate(manifest, SCHEMAS[manifest["kind"]])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_schema_rejects_a_misspelt_field(overlay):
    manifest = ray_object(overlay)
    misspelt = manifest | {"spec": manifest["spec"] | {"rayClusterSpecs": {}}}
    with pytest.raises(jsonschema.ValidationError, match="rayClusterSpecs"):
        jsonschema.validate(misspelt, SCHEMAS[manifest["kind"]])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_published_schema(overlay):
    folder = Path(os.environ.get("KUBERAY_CRDS", REAL_GROUND / "crds"))
    if not folder.is_dir():
        pytest.skip("set KUBERAY_CRDS to a folder with KubeRay's ray.io_rayclusters.yaml, _rayjobs and _rayservices")
    manifest = ray_object(overlay)
    jsonschema.validate(manifest, _published(Path(folder, f"ray.io_{manifest['kind'].lower()}s.yaml")))


@cache
def _published(file: Path) -> dict:
    definition = yaml.load(
        file.read_text(),
        Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader),  # a megabyte of YAML
    )
    (version,) = (version for version in definition["spec"]["versions"] if version["name"] == "v1")
    schema = version["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = {"type": "object"}
    return _to_json_schema(schema)


def _to_json_schema(schema):
    """Converts Kubernetes' schema dialect to JSON Schema: rejects unknown fields; int-or-string becomes a union."""
    if isinstance(schema, list):
        return [_to_json_schema(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    part = {key: _to_json_schema(value) for key, value in schema.items() if key != "format"}
    if isinstance(part.get("properties"), dict) and "x-kubernetes-preserve-unknown-fields" not in part:
        part.setdefault("additionalProperties", False)
    return part


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_rays_autoscaler_accepts_it(overlay):
    cluster = {"metadata": {"name": "jr2net", "namespace": "default"}, "spec": ray_cluster(overlay)}
    types = _derive_autoscaling_config_from_ray_cr(cluster)["available_node_types"]  # includes Ray's validation
    assert types["headgroup"]["resources"]["CPU"] == 0
    gpus = sum(kind["resources"].get("GPU", 0) for kind in types.values())
    assert gpus >= 1 if overlay.startswith("eks") else gpus == 0


def test_the_jobs_workers_fit_the_papers_configuration():
    scaling = yaml.safe_load((CONFIGS / "paper.yaml").read_text())["scaling"]
    groups = {group["groupName"]: group for group in ray_cluster("eks/job")["workerGroupSpecs"]}
    limits = groups["gpu"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    per_pod = min(int(limits["nvidia.com/gpu"]), int(limits["cpu"]) // scaling["cpus_per_worker"])
    assert groups["gpu"]["maxReplicas"] * per_pod >= scaling["workers"]


def test_a_job_brings_the_cluster_that_would_stay():
    for place in ("eks", "local"):
        assert ray_cluster(f"{place}/job") == ray_cluster(f"{place}/cluster")
        assert not of_kind(f"{place}/job", "RayCluster")


@pytest.mark.parametrize("place", ["eks", "local"])
def test_serve_accepts_the_services_application(place):
    config = yaml.safe_load(ray_object(f"{place}/service")["spec"]["serveConfigV2"])
    (application,) = ServeDeploySchema.model_validate(config).applications
    assert application.name == "jr2net"


def test_the_local_overlay_names_no_cloud():
    for use in ("cluster", "job", "service"):
        text = yaml.safe_dump_all(rendered(f"local/{use}"))
        for word in ("amazonaws", "karpenter", "s3://", "nvidia.com", "AWS_"):
            assert word not in text, (use, word)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_name_that_a_pod_refers_to_is_there(overlay):
    """Secrets are the user's: `cluster/README.md` says how they are made."""
    there = {(found["kind"], found["metadata"]["name"]) for found in rendered(overlay)}
    text = yaml.safe_dump(ray_object(overlay))
    for kind, field in (("ConfigMap", "configMapRef"), ("PersistentVolumeClaim", "persistentVolumeClaim")):
        if field in text:
            assert any(name for found, name in there if found == kind), field
    assert ("ServiceAccount", "jr2net") in there
