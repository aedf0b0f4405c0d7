"""Settings, and the application that they build; nothing here starts a cluster."""

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
LEAST = {
    "reconstruction": {"weights": "a"},
    "reenactment": {"weights": "b"},
}


def _with(section: str, **fields) -> dict:
    return {**LEAST, section: {**LEAST.get(section, {}), **fields}}


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"reconstruction": {"weights": "a"}}, "reenactment is missing; add it"),
        ({**LEAST, "netwerk": 1}, "unknown key .netwerk."),
        (_with("reconstruction", max_batch_size=32, max_ongoing_requests=16), "batches could never fill"),
        (_with("reenactment", min_replicas=3), "min_replicas is larger"),
        (_with("reconstruction", precision="int8"), "needs runtime: openvino"),
        ({**LEAST, "authentication": "none"}, "authentication"),
        (_with("limits", pixels=0), "limits.pixels"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(tree, said):
    with pytest.raises(SettingsError, match=said):
        check_settings(tree)


def test_files_of_configs_are_settings(capsys):
    settings = load_settings(
        CONFIGS / "serve-laptop.yaml", ["authentication=bearer", "limits.images=3", "detector=off"]
    )
    assert settings.authentication == "bearer" and settings.limits.images == 3 and settings.detector == "off"
    deployed = yaml.safe_load((CONFIGS / "serve.yaml").read_text())
    (application,) = ServeDeploySchema.model_validate(deployed).applications
    assert check_settings(application.args).authentication == "bearer"
    assert {part.name for part in application.deployments} == {"Reconstruction", "Reenactment"}
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


def test_it_is_a_command():
    ran = subprocess.run([sys.executable, "-m", "serve"], capture_output=True, text=True, cwd=CONFIGS.parent)
    assert ran.returncode == 1 and ran.stderr.startswith("usage: python -m serve SETTINGS.yaml")


def test_weights_are_what_can_be_changed_without_a_new_deployment():
    one = app.build({"reconstruction.weights": "/a", "reenactment.weights": "/b", "reconstruction.max_batch_size": "8"})
    other = app.build(
        {"reconstruction.weights": "/c", "reenactment.weights": "/b", "reconstruction.max_batch_size": "8"}
    )
    parts = [built._bound_deployment.init_args[1]._bound_deployment for built in (one, other)]
    assert [part.user_config for part in parts] == [{"weights": "/a"}, {"weights": "/c"}]
    assert parts[0].init_args == parts[1].init_args
    assert parts[0].init_args[0]["reconstruction"]["max_batch_size"] == 8


def test_settings_reach_ray():
    built = app.build(
        _with("reconstruction", num_gpus=0.25, min_replicas=0, max_replicas=5, graceful_shutdown_timeout_s=7)
    )
    part = built._bound_deployment.init_args[1]._bound_deployment
    assert part.ray_actor_options["num_gpus"] == 0.25
    scaling = part._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas) == (0, 5)
    assert part._deployment_config.graceful_shutdown_timeout_s == 7
    assert part.max_ongoing_requests >= part.init_args[0]["reconstruction"]["max_batch_size"]


def test_without_keys_it_does_not_start(monkeypatch):
    settings = check_settings(LEAST)
    monkeypatch.setenv("JR2NET_API_KEYS", " , ")
    with pytest.raises(SettingsError, match="JR2NET_API_KEYS holds no key"):
        AccessControl.from_environment(settings.limits, settings.authentication)


def test_relative_paths_become_absolute():
    settings = absolute_paths(check_settings(_with("reenactment", weights="s3://bucket/dcnet")), app.PATHS, ".")
    assert settings.reconstruction.weights == str(Path("a").absolute())
    assert settings.reenactment.weights == "s3://bucket/dcnet" and settings.face.model == "procedural"
