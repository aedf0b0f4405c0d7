"""What a stage asks of one machine, and what is said where no machine of the cluster has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs import machines
from jobs.machines import demand, fits, list_machines, wait_for_machine
from jr2net.config import load
from jr2net.run.cascade import StageError, stages

ROOT = Path(__file__).parents[2]
HEAD = {"memory": 1e9, "object_store_memory": 1e9, "node:10.0.0.1": 1.0, "node:__internal_head__": 1.0}
CPU_MACHINE = HEAD | {"CPU": 16.0, "cpu_machine": 16.0}
GPU_MACHINE = HEAD | {"CPU": 48.0, "GPU": 4.0}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[dict[str, float]]]:
    """What the autoscaler is asked for; the cluster is what a test makes of ``machines.machines``."""
    requests: list[list[dict[str, float]]] = []
    monkeypatch.setattr(machines, "request_resources", lambda bundles: requests.append(bundles))
    monkeypatch.setattr(machines, "INTERVAL_S", 0.0)
    monkeypatch.setattr(machines.ray, "is_initialized", lambda: True)
    return requests


@pytest.mark.parametrize("configuration", ["paper.yaml", "paper-flow3d.yaml", "laptop.yaml"])
def test_every_stage_of_every_configuration_asks_for_what_its_machines_have(configuration: str) -> None:
    config = load(ROOT / "configs" / configuration, ["scaling.resources_per_task.cpu_machine=1"])
    for stage in stages(config):
        assert fits(demand(config, stage).resources, [HEAD, CPU_MACHINE, GPU_MACHINE]), stage


@pytest.mark.parametrize("stage", ["prepare", "mattes", "films", "pair_clips", "portraits"])
def test_stages_of_tasks_need_no_gpu(stage: str) -> None:
    config = load(ROOT / "configs" / "paper.yaml", ["scaling.resources_per_task.cpu_machine=1"])
    assert demand(config, stage).resources == {"CPU": 1.0, "cpu_machine": 1.0}


def test_a_demand_is_met_by_one_machine_and_not_by_several_together() -> None:
    assert not fits({"CPU": 20, "GPU": 0}, [CPU_MACHINE, CPU_MACHINE])
    assert fits({"CPU": 20, "GPU": 0}, [CPU_MACHINE, GPU_MACHINE])


def test_a_stage_waits_for_the_machine_that_the_autoscaler_is_asked_for(asked, monkeypatch, capsys) -> None:
    later = iter([[HEAD], [HEAD], [HEAD], [HEAD, GPU_MACHINE]])
    monkeypatch.setattr(machines, "machines", lambda: next(later))
    wait_for_machine(load(ROOT / "configs" / "paper.yaml"), "recnet")
    assert asked == [[{"CPU": 6.0, "GPU": 1.0}], []]
    assert "[recnet] waits for a machine with 6 CPU and 1 GPU" in capsys.readouterr().out


def test_the_error_says_what_the_cluster_has_and_which_settings_ask(asked, monkeypatch) -> None:
    monkeypatch.setattr(machines, "machines", lambda: [HEAD, CPU_MACHINE, CPU_MACHINE])
    config = load(ROOT / "configs" / "paper.yaml", ["scaling.wait_for_machines_s=0"])
    with pytest.raises(StageError) as error:
        wait_for_machine(config, "recnet")
    for part in ("recnet", "6 CPU and 1 GPU", "scaling.gpu", "2 × (16 CPU and 16 cpu_machine)", "1 × (nothing)"):
        assert part in str(error.value)
    assert asked[-1] == [], "the autoscaler is told that nothing is wanted any more"


def test_nothing_is_asked_for_where_a_machine_is_there(asked, monkeypatch) -> None:
    monkeypatch.setattr(machines, "machines", lambda: [CPU_MACHINE])
    wait_for_machine(load(ROOT / "configs" / "smoke.yaml"), "prepare")
    assert asked == []
    assert list_machines([]) == "no machine"
