"""Consistency of the files of cluster/: every path, module, configuration and setting that they name exists."""

import importlib
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

from jobs.ray_settings import SERVE_SETTINGS
from jr2net.config import load

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
FILES = sorted(path.name for path in CLUSTER.iterdir() if path.is_file())
COMMAND = re.compile(r"python (\S*jobs/\w+\.py) --config (\S+)((?: [\w.]+=\S+)*)")
IMAGE = re.compile(r"\S+\.amazonaws\.com/(jr2net:[\w.]+)")


def _text(name: str) -> str:
    return (CLUSTER / name).read_text()


def _commands(name: str) -> list[tuple[str, str, str]]:
    return COMMAND.findall(re.sub(r"\s+", " ", _text(name)))


@pytest.mark.parametrize("name", ["README.md", "rayjob.yaml"])
def test_commands_use_existing_jobs_and_valid_configurations(name):
    commands = _commands(name)
    assert commands
    for job, config, overrides in commands:
        assert (ROOT / job.removeprefix("/opt/jr2net/")).is_file()
        loaded = load(ROOT / config.removeprefix("/opt/jr2net/"), shlex.split(overrides))
        if overrides:
            assert loaded.storage.startswith("s3://")


@pytest.mark.parametrize("name", ["README.md", "rayjob.yaml"])
def test_the_cascade_is_given_every_pretrained_file(name):
    (overrides,) = [overrides for job, _, overrides in _commands(name) if job.endswith("cascade.py") and overrides]
    given = dict(override.split("=") for override in shlex.split(overrides))
    for field in ("recnet.backbone.weights", "recnet.embedder", "dcnet.vgg19", "etnet.backbone.weights"):
        assert re.fullmatch(r"s3://[^/]+/weights/\w+\.(pt|pth)", given[field])


def test_readme_has_the_command_of_the_cascade():
    assert "ray job submit --working-dir . -- python jobs/cascade.py --config configs/paper.yaml" in _text("README.md")


def test_overrides_that_the_readme_suggests_exist():
    load(ROOT / "configs" / "paper.yaml", ["face.model=procedural", "data.clips=null"])
    settings = set(re.findall(r"`((?:scaling|face|data)\.\w+)`", _text("README.md")))
    tree = load(ROOT / "configs" / "paper.yaml").model_dump()
    for setting in settings:
        section, field = setting.split(".")
        assert field in tree[section], setting


def test_paths_exist():
    named = {path for name in FILES for path in re.findall(r"cluster/([\w.-]+\w)", _text(name))}
    assert named <= set(FILES)
    table = re.findall(r"^\| (.+?) \|", _text("README.md"), re.MULTILINE)
    for name in re.findall(r"`([\w.-]+\.\w+)`", " ".join(table)):
        assert name in FILES, name
    for module in re.findall(r"python -m ([\w.]+)", _text("README.md")):
        assert importlib.util.find_spec(module), module
    for folder in ("tests/cluster", "serve/app.py"):
        assert (ROOT / folder).exists()


def test_the_image_contains_what_the_manifests_run():
    dockerfile = _text("Dockerfile")
    copied = re.findall(r"^COPY (?:--\S+ )*(\S+) (\S+)$", dockerfile, re.MULTILINE)
    for source, _ in copied:
        assert (ROOT / source).exists(), source
    assert {"jr2net/", "jobs/", "serve/", "configs/"} <= {source for source, _ in copied}
    assert "WORKDIR /opt/jr2net" in dockerfile
    imported = re.search(r'RUN python -c "import ([\w., ]+);', dockerfile).group(1).split(", ")
    for module in imported:
        if module != "pytorch3d.renderer":  # only in the image
            assert importlib.util.find_spec(module), module


def test_all_files_use_one_version_of_ray():
    (version,) = re.findall(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert f"rayproject/ray:{version}-py311" in _text("Dockerfile")
    for name in ("rayjob.yaml", "rayservice.yaml"):
        assert f'rayVersion: "{version}"' in _text(name)


def test_the_image_has_the_serve_settings_of_local_clusters():
    found = dict(re.findall(r"(RAY_SERVE_\w+)=(\S+)", _text("Dockerfile")))
    assert found == SERVE_SETTINGS


def test_all_files_use_one_image():
    images = {image for name in ("aws.yaml", "rayjob.yaml", "rayservice.yaml") for image in IMAGE.findall(_text(name))}
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert images == {f"jr2net:{version}"}
    assert f"jr2net:{version}" in _text("README.md")


def test_all_files_use_one_bucket():
    manifests = ("aws.yaml", "rayjob.yaml", "rayservice.yaml", "s3-policy.json")
    buckets = {bucket for name in manifests for bucket in re.findall(r"s3:(?://|::)([\w-]+)", _text(name))}
    assert buckets == {"jr2net-data"}


def test_the_services_application_builds_with_its_arguments():
    config = yaml.safe_load(yaml.safe_load(_text("rayservice.yaml"))["spec"]["serveConfigV2"])
    (application,) = config["applications"]
    module, _, builder = application["import_path"].partition(":")
    built = getattr(importlib.import_module(module), builder)(application["args"])
    _, reconstruction, reenactment = built._bound_deployment.init_args
    bound = {part._bound_deployment.name: part._bound_deployment.user_config for part in (reconstruction, reenactment)}
    assert bound == {part["name"]: part["user_config"] for part in application["deployments"]}
