"""Settings, and the application that is built from them; no cluster is started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from jr2net.settings import absolute_paths
from serve import app
from serve.access import AccessControl
from serve.settings import SettingsError, check_settings, load_settings

CONFIGS = Path(__file__).parents[2] / "configs"
MINIMAL = {
    "reconstruction": {"weights": "a"},
    "reenactment": {"weights": "b"},
}


def _with(section: str, **fields) -> dict:
    return {**MINIMAL, section: {**MINIMAL.get(section, {}), **fields}}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"reconstruction": {"weights": "a"}}, "reenactment is missing; add it"),
        ({**MINIMAL, "netwerk": 1}, "unknown key .netwerk."),
        (_with("reconstruction", max_batch_size=32, max_ongoing_requests=16), "batches could never be full"),
        (_with("reenactment", min_replicas=3), "min_replicas is larger"),
        (_with("reconstruction", precision="int8"), "needs runtime: openvino"),
        ({**MINIMAL, "authentication": "none"}, "authentication"),
        (_with("limits", pixels=0), "limits.pixels"),
    ],
)
def test_invalid_settings_are_rejected_by_name(tree, message):
    with pytest.raises(SettingsError, match=message):
        check_settings(tree)


def test_the_files_in_configs_are_valid(capsys):
    settings = load_settings(
        CONFIGS / "serve-laptop.yaml", ["authentication=bearer", "limits.images=3", "detector=off"]
    )
    assert settings.authentication == "bearer" and settings.limits.images == 3 and settings.detector == "off"
    deployed = yaml.safe_load((CONFIGS / "serve.yaml").read_text())
    (application,) = ServeDeploySchema.model_validate(deployed).applications
    assert check_settings(application.args).authentication == "bearer"
    assert {deployment.name for deployment in application.deployments} == {"Reconstruction", "Reenactment"}
    assert application.import_path == "serve.app:build"
    with pytest.raises(SettingsError, match="'detector' is a value, not a section"):
        load_settings(CONFIGS / "serve-laptop.yaml", ["detector.deep=1"])
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(CONFIGS / "none.yaml")
    assert app.main([]) == 1 and "usage" in capsys.readouterr().err
    missing = ["reconstruction.weights=/none/recaugnet"]
    assert (
        app.main([str(CONFIGS / "serve-laptop.yaml"), *missing]) == 1 and "/none/recaugnet" in capsys.readouterr().err
    )
    assert app.main([str(CONFIGS / "none.yaml")]) == 1 and "none.yaml" in capsys.readouterr().err


def test_it_can_be_run_as_a_module():
    done = subprocess.run([sys.executable, "-m", "serve"], capture_output=True, text=True, cwd=CONFIGS.parent)
    assert done.returncode == 1 and done.stderr.startswith("usage: python -m serve SETTINGS.yaml")


def test_changed_weights_restart_no_replica():
    one = app.build({"reconstruction.weights": "/a", "reenactment.weights": "/b", "reconstruction.max_batch_size": "8"})
    other = app.build(
        {"reconstruction.weights": "/c", "reenactment.weights": "/b", "reconstruction.max_batch_size": "8"}
    )
    deployments = [built._bound_deployment.init_args[1]._bound_deployment for built in (one, other)]
    assert [deployment.user_config for deployment in deployments] == [{"weights": "/a"}, {"weights": "/c"}]
    assert deployments[0].init_args == deployments[1].init_args
    assert deployments[0].init_args[0]["reconstruction"]["max_batch_size"] == 8


def test_settings_are_passed_to_ray():
    built = app.build(
        _with("reconstruction", num_gpus=0.25, min_replicas=0, max_replicas=5, graceful_shutdown_timeout_s=7)
    )
    deployment = built._bound_deployment.init_args[1]._bound_deployment
    assert deployment.ray_actor_options["num_gpus"] == 0.25
    scaling = deployment._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas) == (0, 5)
    assert deployment._deployment_config.graceful_shutdown_timeout_s == 7
    assert deployment.max_ongoing_requests >= deployment.init_args[0]["reconstruction"]["max_batch_size"]


def test_bearer_authentication_needs_keys(monkeypatch):
    settings = check_settings(MINIMAL)
    monkeypatch.setenv("JR2NET_API_KEYS", " , ")
    with pytest.raises(SettingsError, match="JR2NET_API_KEYS holds no key"):
        AccessControl.from_environment(settings.limits, settings.authentication)


def test_relative_paths_become_absolute():
    settings = absolute_paths(check_settings(_with("reenactment", weights="s3://bucket/dcnet")), app.PATH_SETTINGS, ".")
    assert settings.reconstruction.weights == str(Path("a").absolute())
    assert settings.reenactment.weights == "s3://bucket/dcnet" and settings.face.model == "procedural"
