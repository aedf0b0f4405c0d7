"""Synthesis on three machines, of which one is killed and one cut off: every shard is there, with the same bytes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nodes import Machines, machines, wait_until, why_not

from jr2net.data.pairs import read_description
from jr2net.synthesis import verify
from jr2net.synthesis.shards import MANIFESTS
from tests.jobs.tiny_run import SMOKE, make_upstream

pytestmark = [pytest.mark.drill, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

SHARDS, PAIRS_PER_SHARD = 60, 50
SIZE = [f"synthesis.pairs={SHARDS * PAIRS_PER_SHARD}", f"synthesis.pairs_per_shard={PAIRS_PER_SHARD}"]
SIZE += ["synthesis.batch_size=16", "scaling.synthesis_actors=3"]
NOT_IN_DATASET = ("manifest.json", "throughput.json")  # they depend on time
TIMEOUT_S = 1200.0


def synthesize(made: Machines, storage: Path, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "jobs/synthesize.py", "--config", SMOKE, f"storage={storage}", *SIZE]
    with log.open("ab") as output:
        return made.head.start(*command, output=output, RAY_ADDRESS=made.gcs)


def shards(storage: Path) -> int:
    folder = storage / "synthesis" / MANIFESTS
    return sum(1 for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0


def dataset(storage: Path) -> dict[str, bytes]:
    folder = storage / "synthesis"
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name not in NOT_IN_DATASET}


def test_machines_are_lost_and_no_pair_is(tmp_path: Path) -> None:
    calm, hurt, log = tmp_path / "calm", tmp_path / "hurt", tmp_path / "log.txt"
    make_upstream(str(calm), *SIZE)
    shutil.copytree(calm, hurt)
    with machines() as made:
        made.start_head()
        for name in "abc":
            made.add_node(name)
        start = time.monotonic()
        assert synthesize(made, calm, log).wait(TIMEOUT_S) == 0, log.read_text()
        undisturbed = time.monotonic() - start

        start = time.monotonic()
        job = synthesize(made, hurt, log)

        def at_work(count: int) -> bool:
            assert job.poll() is None or shards(hurt) >= SHARDS, log.read_text()
            return shards(hurt) >= count

        wait_until(lambda: at_work(5), "the first shards", TIMEOUT_S)
        killed = next(machine for machine in made.all if machine.processes("PairActor"))
        killed.kill()
        made.add_node("d")
        wait_until(lambda: at_work(SHARDS // 2), "half of the shards", TIMEOUT_S)
        cut = next(machine for machine in made.all if machine.runs and machine.processes("PairActor"))
        cut.cut_off()
        assert job.wait(TIMEOUT_S) == 0, log.read_text()
        disturbed = time.monotonic() - start
    wanted, found = dataset(calm), dataset(hurt)
    assert sorted(found) == sorted(wanted)
    assert [name for name in wanted if found[name] != wanted[name]] == []
    description = read_description(str(hurt / "synthesis"))
    assert verify.check_counts(description, verify.Listing(str(hurt / "synthesis"), description)) == []
    print(
        f"\n{killed.name} killed, {cut.name} cut off: {SHARDS} shards of {PAIRS_PER_SHARD} pairs, "
        f"the same to the byte; {disturbed:.0f} s, undisturbed {undisturbed:.0f} s"
    )
