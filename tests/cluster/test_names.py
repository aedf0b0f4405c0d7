"""Consistency of the files of cluster/: every path, module, configuration and setting that they name exists."""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from manifests import OVERLAYS, of_kind, pods, ray_cluster, ray_object

from jobs.ray_settings import SERVE_SETTINGS
from jr2net.config import load

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
FILES = sorted(str(path.relative_to(CLUSTER)) for path in CLUSTER.rglob("*") if path.is_file())
ENTRYPOINT = "kubernetes/overlays/eks/job/entrypoint.yaml"
IN_ENTRYPOINT = {"$JR2NET_BUCKET": "bucket"}
COMMAND = re.compile(r"python (\S*jobs/\w+\.py) --config (\S+)((?: [\w.]+=\S+)*)")
IMAGE = re.compile(r"\S+\.amazonaws\.com/(jr2net:[\w.]+)")


def _text(name: str) -> str:
    return (CLUSTER / name).read_text()


def _commands(name: str) -> list[tuple[str, str, str]]:
    text = re.sub(r"\s+", " ", _text(name))
    for variable, value in (IN_ENTRYPOINT | {"$BUCKET": "bucket"}).items():
        text = text.replace(variable, value)
    return COMMAND.findall(text)


@pytest.mark.parametrize("name", ["README.md", ENTRYPOINT])
def test_commands_use_existing_jobs_and_valid_configurations(name):
    commands = _commands(name)
    assert commands
    for job, config, overrides in commands:
        assert (ROOT / job.removeprefix("/opt/jr2net/")).is_file()
        loaded = load(ROOT / config.removeprefix("/opt/jr2net/"), shlex.split(overrides))
        if overrides:
            assert loaded.storage.startswith("s3://")


@pytest.mark.parametrize("name", ["README.md", ENTRYPOINT])
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
    named = {path for name in FILES for path in re.findall(r"(?<!my-)\bcluster/([\w.-]+\w)", _text(name))}
    assert named <= {path.split("/")[0] for path in FILES}
    for folder in re.findall(r"cluster/kubernetes/overlays/((?!mine)[\w/]+)", "".join(map(_text, FILES))):
        assert (CLUSTER / "kubernetes" / "overlays" / folder).is_dir(), folder
    table = re.findall(r"^\| (.+?) \|", _text("README.md"), re.MULTILINE)
    for name in re.findall(r"`([\w./-]+\.\w+)`", " ".join(table)):
        assert name in FILES or f"kubernetes/overlays/eks/{name}" in FILES, name
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
        assert importlib.util.find_spec(module), module


def test_all_files_use_one_version_of_ray():
    (version,) = re.findall(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert f"rayproject/ray:{version}-py311" in _text("Dockerfile")
    for overlay in OVERLAYS:
        assert ray_cluster(overlay)["rayVersion"] == version


def test_the_image_has_the_serve_settings_of_local_clusters():
    found = dict(re.findall(r"(RAY_SERVE_\w+)=(\S+)", _text("Dockerfile")))
    assert found == SERVE_SETTINGS


def test_all_files_use_one_image():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    images = set(IMAGE.findall(_text("aws.yaml")))
    for overlay in OVERLAYS:
        containers = [container for pod in pods(overlay).values() for container in pod["spec"]["containers"]]
        images |= {container["image"].rpartition("/")[2] for container in containers}
    assert images == {f"jr2net:{version}"}
    assert f"jr2net:{version}" in _text("README.md")


def test_all_files_use_one_bucket():
    (names,) = [found for found in of_kind("eks/service", "ConfigMap") if found["metadata"]["name"] == "jr2net-names"]
    bucket = names["data"]["JR2NET_BUCKET"]
    assert set(re.findall(r"s3://([\w-]+)", _text("kubernetes/overlays/eks/service/serve.yaml"))) == {bucket}


def test_the_base_image_is_given_by_its_digest():
    assert "FROM rayproject/ray:2.60.0-py311@${RAY_DIGEST}" in _text("Dockerfile")
    assert "--build-arg RAY_DIGEST=$RAY_DIGEST" in _text("README.md")
    assert "--sbom=true" in _text("README.md")


def test_the_builder_is_sent_what_is_copied():
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = re.findall(r"^COPY (?:--\S+ )*(.+) \S+$", _text("Dockerfile"), re.MULTILINE)
    assert {source.rstrip("/") for sources in copied for source in sources.split()} == set(kept)


@pytest.mark.drill
def test_the_images_packages_install_into_an_environment_of_their_own(tmp_path):
    """What pip does in the image, and the image's own last check, on this machine's Python and without CUDA."""
    python = tmp_path / "environment" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
    work = tmp_path / "jr2net"
    for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        work.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, work / name)
    for name in ("jr2net", "configs", "jobs", "serve"):
        shutil.copytree(ROOT / name, work / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    subprocess.run([*pip, "--constraint", "constraints.txt", "--editable", ".[cluster,serve]"], cwd=work, check=True)
    (detector,) = re.findall(r"--no-deps (mediapipe==\S+)", _text("Dockerfile"))
    subprocess.run([*pip, "--no-deps", detector], cwd=work, check=True)
    (check,) = re.findall(r'^RUN python -c "(.+)"$', _text("Dockerfile"), re.MULTILINE)
    check = re.sub(r"assert torch\.version\.cuda[^;]*; ", "", check)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([python, "-c", check], cwd=work, env=environment | {"PYTHONPATH": str(work)}, check=True)


def test_the_services_application_builds_with_its_arguments():
    config = yaml.safe_load(ray_object("eks/service")["spec"]["serveConfigV2"])
    (application,) = config["applications"]
    module, _, builder = application["import_path"].partition(":")
    built = getattr(importlib.import_module(module), builder)(application["args"])
    _, reconstruction, reenactment, *_ = built._bound_deployment.init_args
    bound = {part._bound_deployment.name: part._bound_deployment.user_config for part in (reconstruction, reenactment)}
    assert bound == {part["name"]: part["user_config"] for part in application["deployments"]}
