"""What a stage asks of one machine, and what is said where no machine of the cluster has it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from jobs import machines
from jobs.machines import demand, list_machines, room, wait_for_machines
from jr2net.config import load
from jr2net.run.cascade import StageError, networks, stages

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "configs" / "paper.yaml"
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


@pytest.mark.parametrize("stage", ["prepare", "mattes", "films", "pair_clips", "portraits"])
def test_stages_of_tasks_need_no_gpu(stage: str) -> None:
    config = load(PAPER, ["scaling.resources_per_task.cpu_machine=1"])
    assert demand(config, stage).resources == {"CPU": 1.0, "cpu_machine": 1.0}


def test_a_process_runs_on_one_machine_and_not_on_several_together() -> None:
    assert room({"CPU": 20, "GPU": 0}, [CPU_MACHINE, CPU_MACHINE]) == 0
    assert room({"CPU": 20, "GPU": 0}, [CPU_MACHINE, GPU_MACHINE]) == 2
    assert room({"CPU": 6, "GPU": 1}, [HEAD, CPU_MACHINE, GPU_MACHINE, GPU_MACHINE]) == 8
    assert room({"CPU": 0.1, "GPU": 0.3}, [GPU_MACHINE]) == 13
    assert room({"CPU": 1, "accelerator_type:H100": 0.001}, [GPU_MACHINE | {"accelerator_type:H100": 1.0}]) == 48
    assert room({"GPU": 0}, [HEAD]) == math.inf and room({}, []) == 0


def test_only_the_workers_of_a_training_must_run_at_one_time() -> None:
    config = load(PAPER, ["rounds=2", "etnet.films=true", "reenactor=flow3d", "scaling.workers=4"])
    together = {stage: demand(config, stage).together for stage in stages(config)}
    assert {stage: count for stage, count in together.items() if count > 1} == dict.fromkeys(networks(config), 4)
    elastic = load(PAPER, ["scaling.elastic=[3, 8]"])
    assert demand(elastic, "recnet").together == 3 and "scaling.elastic" in demand(elastic, "recnet").settings


def test_a_stage_waits_for_the_machines_that_the_autoscaler_is_asked_for(asked, monkeypatch, capsys) -> None:
    come = [[HEAD], [HEAD], [HEAD], [HEAD, GPU_MACHINE], [HEAD, GPU_MACHINE, GPU_MACHINE]]
    later = iter(come)
    monkeypatch.setattr(machines, "machines", lambda: next(later))
    wait_for_machines(load(PAPER), "recnet")
    assert not list(later), "one machine of four GPUs is not enough"
    assert asked == [[{"CPU": 6.0, "GPU": 1.0}] * 8, []]
    assert "[recnet] waits for room for 8 training workers, each with 6 CPU and 1 GPU" in capsys.readouterr().out


def test_a_stage_that_grows_begins_with_one_machine(asked, monkeypatch) -> None:
    later = iter([[HEAD], [HEAD], [HEAD, GPU_MACHINE]])
    monkeypatch.setattr(machines, "machines", lambda: next(later))
    wait_for_machines(load(PAPER), "synthesis")
    assert asked == [[{"CPU": 5.0, "GPU": 0.5}], []]


def test_the_error_says_what_the_cluster_has_and_which_settings_ask(asked, monkeypatch) -> None:
    monkeypatch.setattr(machines, "machines", lambda: [HEAD, CPU_MACHINE, CPU_MACHINE])
    config = load(PAPER, ["scaling.wait_for_machines_s=0"])
    with pytest.raises(StageError) as error:
        wait_for_machines(config, "synthesis")
    for part in ("1 synthesis actor with 5 CPU and 0.5 GPU", "room for none", "scaling.gpus_per_actor"):
        assert part in str(error.value)
    for part in ("2 × (16 CPU and 16 cpu_machine)", "1 × (nothing)"):
        assert part in str(error.value)
    assert asked[-1] == [], "the autoscaler is told that nothing is wanted any more"


def test_more_workers_than_the_cluster_can_have_end_with_an_error(asked, monkeypatch) -> None:
    monkeypatch.setattr(machines, "machines", lambda: [HEAD, GPU_MACHINE, GPU_MACHINE])
    settings = ["scaling.wait_for_machines_s=0", "scaling.resources_per_worker={fast: 1}"]
    with pytest.raises(StageError, match=r"room for none: it has 2 × \(48 CPU and 4 GPU\)"):
        wait_for_machines(load(PAPER, settings), "recnet")
    with pytest.raises(StageError) as error:
        wait_for_machines(load(PAPER, ["scaling.wait_for_machines_s=0", "scaling.workers=16"]), "dcnet")
    for part in ("16 training workers, each with 6 CPU and 1 GPU", "room for 8", "scaling.workers"):
        assert part in str(error.value)
    assert len(asked[-2]) == 16 and asked[-1] == []
    wait_for_machines(load(PAPER, ["scaling.wait_for_machines_s=0", "scaling.elastic=[8, 16]"]), "dcnet")


def test_nothing_is_asked_for_where_there_is_room(asked, monkeypatch) -> None:
    monkeypatch.setattr(machines, "machines", lambda: [CPU_MACHINE])
    for stage in ("prepare", "recnet", "evaluation"):
        wait_for_machines(load(ROOT / "configs" / "smoke.yaml"), stage)
    assert asked == []
    assert list_machines([]) == "no machine"
