"""The time series that the dashboard and the alert rules name, and those that a running cluster exports."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.request import urlopen

import ray
import yaml

FOLDER = Path(__file__).parents[1] / "cluster" / "watching"


def documents(name: str) -> list[dict]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def expressions() -> list[str]:
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    shown = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    groups = documents("alerts.yaml")[0]["spec"]["groups"]
    return shown + [rule["expr"] for group in groups for rule in group["rules"]]


def series() -> set[str]:
    """Of the expressions; labels are left out."""
    found: set[str] = set()
    for text in expressions():
        text = re.sub(r"\{[^}]*\}", "", text)
        text = re.sub(r"\b(by|on|without|group_left)\s*\([^)]*\)", "", text)
        found.update(re.findall(r"\bray_\w+", text))
    return found


def exported() -> set[str]:
    """Of the cluster that this process is connected to, by the agents of its machines."""
    found: set[str] = set()
    for node in ray.nodes():
        address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        with urlopen(address, timeout=30) as response:
            found.update(re.findall(r"^(ray_\w+)", response.read().decode(), re.MULTILINE))
    return found
