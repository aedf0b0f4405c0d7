"""Shards are tasks of their own, given to a pool in waves; broken devices are replaced and not counted as failures."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from tiny_run import SMOKE

from jobs import shard_waves
from jobs.pair_actor import PairActor, SynthesisInputs
from jobs.ray_settings import LOCAL_SETTINGS
from jobs.shard_waves import MAX_BROKEN_DEVICES, MAX_CONSECUTIVE_FAILURES, Outcomes, make_shards
from jobs.synthesis_progress import SynthesisProgress
from jr2net.config import load
from jr2net.data.source_list import SourceList
from jr2net.device import DeviceError
from jr2net.expressions.tracks import Captures
from jr2net.run.cascade import Run
from jr2net.synthesis import shards
from jr2net.synthesis.maker import ShardResult

INPUTS = SynthesisInputs(SourceList("photos", {}), Captures([], {}))
ROOT = str(Path(__file__).parents[2])


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**LOCAL_SETTINGS, "PYTHONPATH": ROOT, "OMP_NUM_THREADS": "1"}.items():
            patch.setenv(name, value)
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


def run_of(folder: Path, *settings: str) -> Run:
    return Run(load(SMOKE, [f"storage={folder}", "synthesis.pairs=60", "synthesis.pairs_per_shard=3", *settings]))


def progress_of(run: Run) -> SynthesisProgress:
    return SynthesisProgress(run.folder("synthesis"), 60, 60)


def test_every_shard_is_one_task_and_the_pool_grows(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tmp_path)

    class Stub:
        """Waits at each shard until there are two actors."""

        def __init__(self, *given: Any) -> None:
            Path(folder, f"actor-{os.getpid()}").touch()

        def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
            Path(folder, f"call-{row['shard']}-{time.monotonic_ns()}").touch()
            deadline = time.monotonic() + 120
            while len(list(Path(folder).glob("actor-*"))) < 2 and time.monotonic() < deadline:
                time.sleep(0.05)
            error = "" if len(list(Path(folder).glob("actor-*"))) > 1 else "the pool did not grow"
            counts = {"planned": 3, "pairs": 3, "rejected": "{}", "seconds": "{}"}
            return {"shard": row["shard"], **counts, "error": error, "device_broken": False}

    strategies, waves, strategy, wave = [], [], shard_waves.ActorPoolStrategy, shard_waves.make_wave
    monkeypatch.setattr(shard_waves, "ActorPoolStrategy", lambda **given: strategies.append(given) or strategy(**given))
    monkeypatch.setattr(shard_waves, "make_wave", lambda *given: waves.append(given[2]) or wave(*given))
    monkeypatch.setattr(shard_waves, "WAVE", 12)
    monkeypatch.setattr(shard_waves, "SHARDS_PER_SLOT", 1)
    run = run_of(tmp_path, "scaling.synthesis_actors=2", "scaling.cpus_per_actor=0.5")
    progress = progress_of(run)
    assert make_shards(run, INPUTS, np.arange(20), progress, Stub) == {}
    calls = Counter(int(path.name.split("-")[1]) for path in tmp_path.glob("call-*"))
    assert calls == dict.fromkeys(range(20), 1) and progress.planned == 60
    assert waves == [list(range(12)), list(range(12, 20))]
    assert [(given["initial_size"], given["max_size"]) for given in strategies] == [(1, 2)] * 2


def test_an_actor_whose_device_breaks_is_replaced(cluster: None, tmp_path: Path) -> None:
    folder = str(tmp_path)

    class Maker:
        """Its device is broken in the first process that makes shard 2."""

        def shard(self, index: int) -> ShardResult:
            Path(folder, f"process-{os.getpid()}").touch()
            if index == 2:
                try:
                    Path(folder, "broken").touch(exist_ok=False)
                except FileExistsError:
                    pass
                else:
                    raise DeviceError("cuda is broken: an illegal memory access was encountered")
            return ShardResult(["a", "b", "c"], rejected=Counter(identity=3))

    class Actor(PairActor):
        def _load(self, *given: Any) -> Any:
            return Maker()

    run = run_of(tmp_path, "scaling.synthesis_actors=1")
    progress = progress_of(run)
    assert make_shards(run, INPUTS, np.arange(6), progress, Actor) == {}
    assert len(shards.missing_shards(run.folder("synthesis"), run.config.synthesis)) == 20 - 6
    assert progress.planned == 18 and progress.rejected == {"identity": 18}
    assert len(list(tmp_path.glob("process-*"))) >= 2


def outcome(shard: int, error: str = "", broken: bool = False) -> dict[str, Any]:
    counts = {"planned": 3, "pairs": 3, "rejected": "{}", "seconds": "{}"}
    return {"shard": shard, **counts, "error": error, "device_broken": broken}


def test_broken_devices_are_not_counted_as_failures(tmp_path: Path) -> None:
    outcomes = Outcomes(progress_of(run_of(tmp_path)), 4)
    for shard in range(3 * MAX_CONSECUTIVE_FAILURES):
        outcomes.add(outcome(shard, "cuda is broken", True))
    assert not outcomes.hopeless and not outcomes.failed
    assert outcomes.again == list(range(3 * MAX_CONSECUTIVE_FAILURES))
    outcomes.add(outcome(0))
    for shard in range(4 * MAX_CONSECUTIVE_FAILURES - 1):
        outcomes.add(outcome(100 + shard, "cuda is broken", True))
    assert not outcomes.hopeless
    outcomes.add(outcome(200, "cuda is broken", True))
    assert outcomes.hopeless and outcomes.failed == {200: "cuda is broken"}


def test_a_shard_that_breaks_every_device_fails(tmp_path: Path) -> None:
    outcomes = Outcomes(progress_of(run_of(tmp_path)), 4)
    for _ in range(MAX_BROKEN_DEVICES):
        outcomes.add(outcome(7, "cuda is broken", True))
    assert outcomes.failed == {7: "cuda is broken"} and outcomes.again == [7] * (MAX_BROKEN_DEVICES - 1)
    assert not outcomes.hopeless


def test_failures_in_a_row_end_the_job(tmp_path: Path) -> None:
    outcomes = Outcomes(progress_of(run_of(tmp_path)), 4)
    for shard in range(MAX_CONSECUTIVE_FAILURES - 1):
        outcomes.add(outcome(shard, "disk full"))
    outcomes.add(outcome(50))
    assert not outcomes.hopeless
    for shard in range(MAX_CONSECUTIVE_FAILURES):
        outcomes.add(outcome(shard, "disk full"))
    assert outcomes.hopeless and set(outcomes.failed.values()) == {"disk full"}


def test_waves_are_bounded_by_the_actors_alone(tmp_path: Path) -> None:
    small = run_of(tmp_path, "synthesis.pairs=1000000000").config.scaling
    large = run_of(tmp_path, "scaling.synthesis_actors=256", "scaling.gpus_per_actor=0.5").config.scaling
    assert shard_waves.wave_size(small) == shard_waves.WAVE
    assert shard_waves.wave_size(large) == 256 * 3 * shard_waves.SHARDS_PER_SLOT


def test_cpus_of_actors_are_their_own_setting(tmp_path: Path) -> None:
    given = run_of(tmp_path, "scaling.cpus_per_worker=8", "scaling.cpus_per_actor=2").config.scaling
    assert (given.cpus_per_worker, given.actor_cpus) == (8, 2)
    assert run_of(tmp_path, "scaling.cpus_per_worker=8").config.scaling.actor_cpus == 8
