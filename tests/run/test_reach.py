"""What a run will cost: the arithmetic, and what is not known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jobs import plan as job
from jr2net.config import Config, load
from jr2net.run import manifest
from jr2net.run.cascade import Run
from jr2net.run.pace import Pace, measured, of_run
from jr2net.run.plan import DataSize, Fleet, load_fleet, pictures_read, plan, total
from jr2net.settings import ConfigError
from jr2net.training.log import write_log

ROOT = Path(__file__).parents[2]
PAPER, FLEET = ROOT / "configs" / "paper.yaml", ROOT / "configs" / "fleets" / "aws-g5.yaml"
PACES = [Pace(stage, 2.0, "cpu", "here", 3e8) for stage in ("recnet", "dcnet", "synthesis", "etnet", "recaugnet")]
DATA = DataSize(frames=1e7)


@pytest.fixture(scope="module")
def config() -> Config:
    return load(PAPER)


def fleet(times_one_core: float | None = 100.0, **changes) -> Fleet:
    found = load_fleet(FLEET)
    machine = found.gpu_machine.model_copy(update={"times_one_core": times_one_core})
    return found.model_copy(update={"gpu_machine": machine, **changes})


def by_stage(costs):
    return {cost.stage: cost for cost in costs}


def test_hours_and_money(config):
    costs = by_stage(plan(config, DATA, fleet(head_per_hour=0.0), PACES, gpus=8))
    samples = 187_500 * 32
    recnet = costs["recnet"]
    assert recnet.units == samples and recnet.core_hours == pytest.approx(samples * 2 / 3600)
    assert recnet.gpu_hours == pytest.approx(samples * 2 / 100 / 3600)
    assert recnet.days == pytest.approx(recnet.gpu_hours / 8 / 24)
    assert recnet.money == pytest.approx(recnet.days * 24 * 2 * 5.67), "two machines of four GPUs"
    assert "extrapolated" in recnet.note
    assert costs["synthesis"].units == 1_000_000
    assert "manifest" in costs["prepare"].note and costs["prepare"].gpu_hours is None
    assert costs["evaluation"].note == "not measured" and costs["evaluation"].units == 1


def test_spot_machines_have_a_price_of_their_own(config):
    costs = plan(config, DATA, fleet(head_per_hour=1.0), PACES, gpus=8)
    recnet = by_stage(costs)["recnet"]
    assert recnet.spot_money == pytest.approx(recnet.days * 24 * (2 * 2.3 + 1.0))
    assert total(costs).spot_money == pytest.approx(sum(cost.spot_money or 0 for cost in costs))
    machine = fleet().gpu_machine.model_copy(update={"spot_price_per_hour": None})
    unknown = plan(config, DATA, fleet().model_copy(update={"gpu_machine": machine}), PACES, gpus=8)
    assert total(unknown).spot_money is None and total(unknown).money == pytest.approx(
        total(plan(config, DATA, fleet(), PACES, gpus=8)).money
    )


def test_the_second_round_takes_the_fleets_seconds_too():
    seconds = {"synthesis": 0.02, "recaugnet": 0.01, "evaluation": 7200.0}
    machine = fleet().gpu_machine.model_copy(update={"seconds": seconds})
    costs = by_stage(
        plan(load(PAPER, ["rounds=2"]), DATA, fleet().model_copy(update={"gpu_machine": machine}), PACES, gpus=8)
    )
    assert costs["synthesis_2"].gpu_hours == costs["synthesis"].gpu_hours == pytest.approx(1e6 * 0.02 / 3600)
    assert costs["recaugnet_2"].note == costs["recaugnet"].note == "the fleet's seconds"
    assert costs["evaluation"].gpu_hours == pytest.approx(2) and costs["evaluation"].money > 0


def test_no_hours_of_a_gpu_are_invented(config):
    costs = by_stage(plan(config, DATA, fleet(times_one_core=None), PACES[:1], gpus=8))
    assert (
        costs["recnet"].core_hours and costs["recnet"].gpu_hours is None and "core hours only" in costs["recnet"].note
    )
    assert costs["dcnet"].note == "not measured" and costs["dcnet"].money is None
    assert load_fleet(FLEET).gpu_machine.times_one_core is None, "nobody has measured it"


def test_what_was_measured_on_a_gpu_goes_first(config):
    machine = fleet().gpu_machine.model_copy(update={"seconds": {"dcnet": 0.5}})
    paces = [replace(PACES[0], device="NVIDIA A10G"), PACES[1]]
    costs = by_stage(plan(config, DATA, fleet().model_copy(update={"gpu_machine": machine}), paces, gpus=8))
    assert costs["recnet"].gpu_hours == pytest.approx(187_500 * 32 * 2 / 3600) and "NVIDIA" in costs["recnet"].note
    assert costs["recnet"].core_hours is None
    assert costs["dcnet"].gpu_hours == pytest.approx(300_000 * 32 * 0.5 / 3600)


@pytest.mark.parametrize("gpus", [1, 64, 1000])
def test_gpu_hours_hardly_depend_on_the_number_of_gpus(gpus):
    eight, many = (plan(load(PAPER, gpus=count), DATA, fleet(), PACES, count) for count in (8, gpus))
    assert total(many).gpu_hours == pytest.approx(total(eight).gpu_hours, rel=0.01)
    assert total(many).days == pytest.approx(total(eight).days * 8 / gpus, rel=0.01)


def test_lost_efficiency_costs(config):
    one, other = (total(plan(config, DATA, fleet(efficiency=share), PACES, 8)) for share in (1.0, 0.5))
    assert other.gpu_hours == pytest.approx(2 * one.gpu_hours) and other.money == pytest.approx(2 * one.money)


def test_requests_and_bytes(config):
    costs = by_stage(plan(config, DATA, fleet(), PACES, gpus=8))
    synthesis, recnet = costs["synthesis"], costs["recnet"]
    assert synthesis.written == 1_000_000 * 25_000
    assert synthesis.puts == pytest.approx(500 * (6 + 1) + 0.5), "parts of 8 MiB and a manifest, by shard"
    assert recnet.read == 187_500 * 32 * 2 * 25_000
    states = max(187_500 / 2000, recnet.days * 24 * 3600 / 300)
    assert recnet.written == pytest.approx(states * 3e8)
    assert recnet.requests_money == pytest.approx((recnet.puts * 0.005 + recnet.gets * 0.0004) / 1000)
    small = by_stage(plan(config, DataSize(frames=1000), fleet(), PACES, gpus=8))["recnet"]
    assert small.read == 8 * 1000 * 25_000, "a small set is read once by each worker"


@pytest.mark.parametrize(("pairs", "read"), [(50, 50), (100, 100), (200, 200), (400, 300), (3200, 600), (6400, 800)])
def test_sources_are_read_in_passes(pairs, read):
    assert pictures_read(pairs, 100, None) == pytest.approx(read)
    assert pictures_read(pairs, 100, 4) == pairs / 4


def test_a_billion_pairs(config):
    (synthesis,) = (
        cost
        for cost in plan(load(PAPER, ["synthesis.pairs=1000000000"], 1000), DATA, fleet(), PACES, 1000)
        if cost.stage == "synthesis"
    )
    assert synthesis.written == 25e12 and 0 < synthesis.driver < 1


def test_a_wrong_fleet_is_refused(tmp_path):
    (tmp_path / "fleet.yaml").write_text(FLEET.read_text().replace("gpus: 4", "gpu: 4"))
    with pytest.raises(ConfigError, match=r"fleet\.yaml: unknown key 'gpu_machine\.gpu'"):
        load_fleet(tmp_path / "fleet.yaml")


@pytest.mark.parametrize(
    ("stage", "hint"),
    [
        ("synthesys", "did you mean 'synthesis'"),
        ("synthesis_2", "did you mean 'synthesis'"),
        ("prepare", "recnet, dcnet"),
    ],
)
def test_seconds_of_a_stage_that_has_none_are_refused(tmp_path, stage, hint):
    text = FLEET.read_text().replace("seconds: {}", f"seconds: {{{stage}: 0.5}}")
    (tmp_path / "fleet.yaml").write_text(text)
    with pytest.raises(ConfigError, match=rf"fleet\.yaml: gpu_machine\.seconds: .*unknown stage '{stage}'; .*{hint}"):
        load_fleet(tmp_path / "fleet.yaml")


def test_the_command_prints_tables(capsys):
    arguments = ["--config", str(PAPER), "--fleet", str(FLEET), "--frames", "1e7", "--gpus", "8,64"]
    assert job.main([*arguments, "--pairs", "1e6,1e9", "--times-one-core", "100"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("### ") == 4 and "### 64 GPUs, 1,000,000,000 pairs" in printed and "EDIT" not in printed
    laptop = ["--config", str(ROOT / "configs" / "laptop.yaml"), "--fleet", str(FLEET), "--frames", "1e4"]
    assert job.main(laptop) == 1 and "--measure" in capsys.readouterr().err


def test_a_measurement_and_a_run(tmp_path):
    smoke = load(ROOT / "configs" / "smoke.yaml")
    found = {pace.stage: pace for pace in measured(smoke, batch=2, steps=1)}
    assert set(found) == {"recnet", "dcnet", "synthesis", "etnet", "recaugnet"}
    assert all(pace.seconds > 0 for pace in found.values()) and found["recnet"].bytes > 1000
    record = {"losses": {}, "learning_rate": 1e-4, "images_per_second": 40.0, "seconds": {"forward": 0.1}}
    write_log(str(tmp_path / "recnet"), [{**record, "step": step} for step in range(1, 11)])
    manifest.finish(str(tmp_path / "evaluation"), Run(smoke).inputs("prepare"), [], 30.0)
    recnet, evaluation = of_run(str(tmp_path), smoke)
    assert evaluation.seconds == 30.0 * smoke.scaling.workers
    assert recnet.seconds == pytest.approx(0.1 / 4 * smoke.scaling.workers), "of one worker, for one of four samples"
