"""The dashboard and the alert rules: every metric in them is exported and described, and the rules do what they say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import jsonschema
import pytest
import ray
import yaml
from test_kuberay import _to_json_schema
from watched_metrics import FOLDER, documents, series

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "watching.md").read_text()
SERIES = {"Counter": ("_total",), "Gauge": ("",), "Histogram": ("_bucket", "_sum", "_count")}


(RULES,) = documents("alerts.yaml")
ALERTS = [rule for group in RULES["spec"]["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())


@cache
def ours() -> dict[str, str]:
    """The metrics of this project, and of what kind each is."""
    files = [*(ROOT / "jobs").glob("*.py"), *(ROOT / "serve").glob("*.py")]
    found = [re.findall(r'(Counter|Gauge|Histogram)\(\s*"(jr2net_\w+)"', file.read_text()) for file in files]
    return {name: kind for each in found for kind, name in each}


@cache
def rays() -> str:
    """The parts of Ray that name its metrics: Serve, Train, the agent of a machine, and Ray's own dashboards."""
    package = Path(ray.__file__).parent
    folders = (
        "serve/_private",
        "train/v2/_internal/metrics",
        "dashboard/modules/reporter",
        "dashboard/modules/metrics",
    )
    return "\n".join(file.read_text() for folder in folders for file in sorted((package / folder).rglob("*.py")))


def base_name(name: str) -> str:
    """The metric of a time series, without ``ray_`` and what Prometheus' format adds."""
    return re.sub(r"_(total|bucket|sum|count)$", "", name.removeprefix("ray_"))


@pytest.mark.parametrize("name", sorted(series()))
def test_every_metric_is_exported(name: str) -> None:
    if name.startswith("ray_jr2net_"):
        exported = {f"ray_{metric}{end}" for metric, kind in ours().items() for end in SERIES[kind]}
        assert name in exported
    else:
        bare = name.removeprefix("ray_")
        assert any(f'"{each}"' in rays() for each in (bare, base_name(name))) or re.search(rf"\b{name}\b", rays())


def rows(heading: str) -> list[str]:
    """What the rows of a table in the page begin with."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)`", section, re.MULTILINE)


def test_every_metric_and_every_alert_is_described() -> None:
    described = rows("Metrics")
    shown = {base_name(name) if base_name(name) in ours() else name.removeprefix("ray_") for name in series()}
    assert set(ours()) <= set(described)
    described_bases = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in described}
    missing = [name for name in shown if re.sub(r"_(total|bucket|sum|count)$", "", name) not in described_bases]
    assert not missing
    assert rows("Alerts") == [alert["alert"] for alert in ALERTS]


def test_alerts_say_what_is_wrong() -> None:
    for alert in ALERTS:
        assert alert["labels"]["severity"] in ("warning", "critical") and alert["annotations"]["summary"]


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_pods_are_those_of_the_clusters() -> None:
    monitor, policy = documents("scraping.yaml")
    part = monitor["spec"]["selector"]["matchLabels"]
    assert part == policy["spec"]["podSelector"]["matchLabels"] == {"app.kubernetes.io/part-of": "jr2net"}
    ports = policy["spec"]["ingress"][0]["ports"]
    assert ports == [{"port": 8080, "protocol": "TCP"}], "KubeRay's port `metrics`"


def test_kustomize_finds_all_files() -> None:
    (kustomization,) = documents("kustomization.yaml")
    files = [*kustomization["resources"], *kustomization["configMapGenerator"][0]["files"]]
    assert {*files, "kustomization.yaml"} == {file.name for file in FOLDER.iterdir()}
    if shutil.which("kubectl") is None:
        pytest.skip("`kubectl` is not installed: its kustomize was not asked")
    done = subprocess.run(["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kinds = [document["kind"] for document in yaml.safe_load_all(done.stdout)]
    assert sorted(kinds) == ["ConfigMap", "NetworkPolicy", "PodMonitor", "PrometheusRule"]


@pytest.mark.parametrize("name", ["scraping.yaml", "alerts.yaml"])
def test_published_schema(name: str) -> None:
    folder = os.environ.get("PROMETHEUS_CRDS")
    if folder is None:
        pytest.skip("set PROMETHEUS_CRDS to a folder with monitoring.coreos.com_*.yaml of Prometheus' operator")
    manifest = documents(name)[0]
    file = Path(folder, f"monitoring.coreos.com_{manifest['kind'].lower()}s.yaml")
    text = file.read_text().replace("^(?i)", "(?i)^")  # Go's regular expressions have flags anywhere, Python's in front
    (version,) = yaml.safe_load(text)["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.validate(manifest, _to_json_schema(schema))


def test_the_rules_fire_when_they_should(tmp_path: Path) -> None:
    """With Prometheus' own tool, on made-up series; ``alert_cases.yaml`` has the cases."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("`promtool` is not installed (Debian's package `prometheus` has it)")
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": RULES["spec"]["groups"]}))
    shutil.copy(Path(__file__).with_name("alert_cases.yaml"), tmp_path / "cases.yaml")
    for command in (["check", "rules", "rules.yaml"], ["test", "rules", "cases.yaml"]):
        done = subprocess.run([tool, *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
