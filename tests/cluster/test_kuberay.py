"""Checks the KubeRay manifests with Ray's code, the documented field names, and KubeRay's CRDs if available."""

import os
from pathlib import Path

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.serve.schema import ServeDeploySchema

CLUSTER = Path(__file__).parents[2] / "cluster"

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


def _load(name: str) -> dict:
    return yaml.safe_load((CLUSTER / name).read_text())


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
    "rayjob.yaml": _manifest("RayJob", _object(JOB, entrypoint={"type": "string"}, rayClusterSpec=_ray_cluster())),
    "rayservice.yaml": _manifest(
        "RayService", _object(SERVICE, serveConfigV2={"type": "string"}, rayClusterConfig=_ray_cluster())
    ),
}
CLUSTERS = [("rayjob.yaml", "rayClusterSpec"), ("rayservice.yaml", "rayClusterConfig")]


@pytest.mark.parametrize("name", SCHEMAS)
def test_fields_are_known_to_kuberay(name):
    jsonschema.validate(_load(name), SCHEMAS[name])


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schema_rejects_a_misspelt_field(name):
    manifest = _load(name)
    manifest["spec"]["rayClusterSpecs"] = {}
    with pytest.raises(jsonschema.ValidationError, match="rayClusterSpecs"):
        jsonschema.validate(manifest, SCHEMAS[name])


@pytest.mark.parametrize("name", SCHEMAS)
def test_published_schema(name):
    ground = os.environ.get("JR2NET_REAL_GROUND")
    folder = os.environ.get("KUBERAY_CRDS") or (f"{ground}/crds" if ground else None)
    if folder is None or not Path(folder).is_dir():
        pytest.skip("set KUBERAY_CRDS to a folder with KubeRay's ray.io_rayjobs.yaml and ray.io_rayservices.yaml")
    manifest = _load(name)
    definition = yaml.load(
        Path(folder, f"ray.io_{manifest['kind'].lower()}s.yaml").read_text(),
        Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader),  # a megabyte of YAML
    )
    (version,) = (version for version in definition["spec"]["versions"] if version["name"] == "v1")
    schema = version["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.validate(manifest, _to_json_schema(schema))


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


@pytest.mark.parametrize(("name", "field"), CLUSTERS)
def test_rays_autoscaler_accepts_it(name, field):
    cluster = {"metadata": {"name": "jr2net", "namespace": "default"}, "spec": _load(name)["spec"][field]}
    types = _derive_autoscaling_config_from_ray_cr(cluster)["available_node_types"]  # includes Ray's validation
    assert types["headgroup"]["resources"]["CPU"] == 0
    assert types["gpu"]["resources"]["GPU"] >= 1
    assert types["gpu"]["max_workers"] >= 1


def test_the_jobs_workers_fit_the_papers_configuration():
    scaling = yaml.safe_load((CLUSTER.parent / "configs" / "paper.yaml").read_text())["scaling"]
    groups = {group["groupName"]: group for group in _load("rayjob.yaml")["spec"]["rayClusterSpec"]["workerGroupSpecs"]}
    limits = groups["gpu"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    per_pod = min(int(limits["nvidia.com/gpu"]), int(limits["cpu"]) // scaling["cpus_per_worker"])
    assert groups["gpu"]["maxReplicas"] * per_pod >= scaling["workers"]


def test_serve_accepts_the_services_application():
    config = yaml.safe_load(_load("rayservice.yaml")["spec"]["serveConfigV2"])
    (application,) = ServeDeploySchema.model_validate(config).applications
    assert application.name == "jr2net"
