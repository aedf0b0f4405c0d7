"""Checks cluster/aws.yaml with Ray's validator and with its bootstrap against a mock of AWS."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from string import Template

import pytest
import yaml
from moto import mock_aws
from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.util import prepare_config, validate_config

from serve.access import KEYS_VARIABLE, AccessControl
from serve.settings import Limits

CLUSTER = Path(__file__).parents[2] / "cluster"

IMAGE = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
"""AWS's public parameter of its newest image of Ubuntu 22.04 with driver and Docker; EC2 resolves it at each start."""


NAMES = {"ACCOUNT": "123456789012", "REGION": "us-west-2", "BUCKET": "my-bucket"}


def with_names(name: str) -> str:
    """A file with names put in, as envsubst does with these three variables."""
    return Template((CLUSTER / name).read_text()).safe_substitute(NAMES)


@pytest.fixture
def prepared() -> dict:
    return prepare_config(yaml.safe_load(with_names("aws.yaml")))


def test_ray_validates_the_configuration(prepared):
    validate_config(prepared)


def test_the_head_has_no_cpus_and_gpu_workers_are_spot_and_scale_to_zero(prepared):
    types = prepared["available_node_types"]
    head = types[prepared["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    assert "InstanceMarketOptions" not in head["node_config"]
    gpu = types["gpu_worker"]
    assert gpu["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert gpu["min_workers"] == 0
    assert all("IamInstanceProfile" in node["node_config"] for node in types.values())


def test_the_workers_fit_the_papers_configuration(prepared):
    scaling = yaml.safe_load((CLUSTER.parent / "configs" / "paper.yaml").read_text())["scaling"]
    gpu = prepared["available_node_types"]["gpu_worker"]
    per_node = min(gpu["resources"]["GPU"], gpu["resources"]["CPU"] // scaling["cpus_per_worker"])
    assert gpu["max_workers"] * per_node >= scaling["workers"]
    assert gpu["max_workers"] * gpu["resources"]["GPU"] >= scaling["synthesis_actors"] * scaling["gpus_per_actor"]


def test_ray_bootstraps_it_on_mocked_aws(prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # Ray makes a key pair there
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        ready = bootstrap_aws(prepared)
    for node in ready["available_node_types"].values():
        assert node["node_config"]["ImageId"] == f"resolve:ssm:{IMAGE}"
        assert {"SubnetIds", "SecurityGroupIds", "KeyName"} <= set(node["node_config"])


def test_roles_cover_the_bucket_and_the_workers(prepared):
    policy = json.loads(with_names("s3-policy.json"))
    actions = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert {"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"} <= actions
    buckets = {statement["Resource"].removesuffix("/*") for statement in policy["Statement"]}
    assert buckets == {"arn:aws:s3:::my-bucket"}
    allowed = {part["Sid"]: part for part in json.loads(with_names("head-policy.json"))["Statement"]}
    worker = prepared["available_node_types"]["gpu_worker"]["node_config"]["IamInstanceProfile"]["Arn"]
    assert worker in allowed["GiveWorkersTheirRole"]["Resource"]
    assert allowed["FindImage"]["Action"] == "ssm:GetParameters"
    assert f"parameter{IMAGE}".startswith(allowed["FindImage"]["Resource"].partition("::")[2].removesuffix("*"))
    assert "sts:AssumeRole" in (CLUSTER / "ec2-trust.json").read_text()


def test_every_machine_gets_the_token_and_the_keys_and_no_command_line_shows_them(prepared):
    mounts = prepared["file_mounts"]
    assert mounts == {"/home/ray/.ray/auth_token": "my-cluster/token", "/home/ray/.jr2net/keys": "my-cluster/keys"}
    assert "ENV RAY_AUTH_MODE=token" in " ".join((CLUSTER / "Dockerfile").read_text().replace("\\\n", "").split())
    for role in ("head", "worker"):
        (start,) = [line for line in prepared[f"{role}_start_ray_commands"] if "ray start" in line]
        assert start.startswith("JR2NET_API_KEYS=$(cat ~/.jr2net/keys) ray start")
        assert "disabled" not in start


def test_ray_reads_the_token_where_it_is_delivered(tmp_path, monkeypatch):
    from ray._private.authentication.authentication_token_setup import _get_default_token_path

    monkeypatch.setenv("HOME", "/home/ray")
    assert str(_get_default_token_path()) == "/home/ray/.ray/auth_token"


def test_names_that_are_put_in_are_the_three_of_the_readme():
    for file in ("aws.yaml", "s3-policy.json", "head-policy.json"):
        found = set(re.findall(r"\$\{(\w+)\}", (CLUSTER / file).read_text()))
        assert found <= set(NAMES), file
    assert "envsubst '$ACCOUNT $REGION $BUCKET'" in (CLUSTER / "README.md").read_text()


def test_the_readmes_commands_make_the_readers_own_files(tmp_path, monkeypatch):
    """Section 1 as it stands, but for ``aws``, which names an account here."""
    if not all(map(shutil.which, ("bash", "envsubst", "openssl"))):
        pytest.skip("bash, envsubst (gettext) or openssl is not installed")
    section = (CLUSTER / "README.md").read_text().partition("## 1. Names")[2]
    commands = section.partition("```bash\n")[2].partition("```")[0]
    aws = tmp_path / "bin" / "aws"
    aws.parent.mkdir()
    aws.write_text(f"#!/bin/sh\necho {NAMES['ACCOUNT']}\n")
    aws.chmod(0o755)
    (tmp_path / "cluster").symlink_to(CLUSTER)
    places = [str(aws.parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = os.environ | {"HOME": str(tmp_path), "PATH": os.pathsep.join(places)}
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        environment.pop(name, None)
    subprocess.run(["bash", "-euc", commands], cwd=tmp_path, env=environment, check=True, timeout=300)
    mine = tmp_path / "my-cluster"
    for name in ("aws.yaml", "s3-policy.json", "head-policy.json"):
        assert (mine / name).read_text() == with_names(name), name
    assert (mine / "token").read_text() == (tmp_path / ".ray" / "auth_token").read_text() != ""
    assert mine.stat().st_mode & 0o077 == 0, "token and keys are nobody else's"
    monkeypatch.setenv(KEYS_VARIABLE, (mine / "keys").read_text())
    key = (mine / "keys").read_text().strip()
    assert AccessControl.from_environment(Limits(), "bearer").authenticate(f"Bearer {key}", "")
