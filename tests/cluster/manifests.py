"""The Kubernetes manifests as ``kubectl apply -k`` sends them."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

KUBERNETES = Path(__file__).parents[2] / "cluster" / "kubernetes"
OVERLAYS = [f"{place}/{use}" for place in ("eks", "local") for use in ("cluster", "job", "service")]
RAY_CLUSTER = {"RayCluster": (), "RayJob": ("rayClusterSpec",), "RayService": ("rayClusterConfig",)}
"""Where the specification of the Ray cluster lies below ``spec``, by kind."""


@cache
def _rendered(overlay: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES / "overlays" / overlay)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def rendered(overlay: str) -> list[dict[str, Any]]:
    """All objects of an overlay, e.g. eks/job. Skips the test where kubectl is not installed."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl, which renders the overlays, is not installed")
    return _rendered(overlay)


def of_kind(overlay: str, kind: str) -> list[dict[str, Any]]:
    return [found for found in rendered(overlay) if found["kind"] == kind]


def ray_object(overlay: str) -> dict[str, Any]:
    """The one RayCluster, RayJob or RayService of an overlay."""
    (found,) = [found for found in rendered(overlay) if found["kind"] in RAY_CLUSTER]
    return found


def ray_cluster(overlay: str) -> dict[str, Any]:
    """Specification of the Ray cluster of an overlay."""
    found = ray_object(overlay)
    spec = found["spec"]
    for field in RAY_CLUSTER[found["kind"]]:
        spec = spec[field]
    return spec


def pods(overlay: str) -> dict[str, dict[str, Any]]:
    """Pod templates of an overlay's Ray object, by component."""
    cluster, found = ray_cluster(overlay), ray_object(overlay)
    templates = [cluster["headGroupSpec"]["template"], *(group["template"] for group in cluster["workerGroupSpecs"])]
    if "submitterPodTemplate" in found["spec"]:
        templates.append(found["spec"]["submitterPodTemplate"])
    return {template["metadata"]["labels"]["app.kubernetes.io/component"]: template for template in templates}
