"""Machines of one kind make the same bytes; those of different kinds the same pairs, and they finish each other's work.

Two instruction sets stand for two kinds: they round differently, as different GPUs do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from tiny_run import SMOKE, make_upstream

from jr2net.config import load
from jr2net.data.pairs import Pair, read_pairs
from jr2net.run.cascade import Run
from jr2net.synthesis import shards
from jr2net.synthesis.maker import ShardResult

ROOT = Path(__file__).parents[2]
SETTINGS = [
    *("recnet.backbone.layers=10", "synthesis.pairs=24", "synthesis.pairs_per_shard=8", "synthesis.batch_size=4"),
    # No pair is so near to a gate that rounding decides about it: there is none.
    *("synthesis.gates.covisible=0", "synthesis.gates.identity=-1", "synthesis.gates.expression=-1"),
    "synthesis.gates.saturation=1",
]
MAKE = """
import sys
import torch
from jobs.pair_actor import PairActor, load_inputs
from jr2net.config import load
from jr2net.run.cascade import Run

kind, config, folders, settings = sys.argv[1], sys.argv[2], sys.argv[3].split(","), sys.argv[4:]
if torch.backends.cpu.get_cpu_capability() != kind:
    sys.exit(3)
run = Run(load(config, settings))
for folder in folders:
    actor = PairActor(run.config, run.folders("synthesis"), folder, load_inputs(run))
    for shard in range(3):
        assert not (error := actor({"shard": shard})["error"]), error
"""


class Kinds(NamedTuple):
    """Folders of shards. again: made by another process of the plain kind; mixed: begun by it, ended by the other."""

    plain: Path
    again: Path
    other: Path
    mixed: Path


def make(kind: str, run: Run, *folders: Path) -> None:
    """Makes all shards in each folder in a process with an instruction set."""
    command = [sys.executable, "-c", MAKE, kind.upper(), SMOKE, ",".join(map(str, folders))]
    environment = os.environ | {"ATEN_CPU_CAPABILITY": kind, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    storage = f"storage={run.config.storage}"
    finished = subprocess.run([*command, storage, *SETTINGS], cwd=ROOT, env=environment, text=True, capture_output=True)
    if finished.returncode == 3:
        pytest.skip(f"this CPU has no {kind}")
    assert finished.returncode == 0, finished.stderr


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Kinds:
    root = tmp_path_factory.mktemp("kinds")
    make_upstream(str(root / "run"), *SETTINGS)
    run = Run(load(SMOKE, [f"storage={root}/run", *SETTINGS]))
    kinds = Kinds(*(root / name for name in ("plain", "again", "other", "mixed")))
    make("default", run, kinds.plain)
    make("default", run, kinds.again)
    shutil.copytree(kinds.plain, kinds.mixed)
    (kinds.mixed / shards.manifest_name(1)).unlink()  # a worker was killed between its two writes
    shutil.rmtree((kinds.mixed / shards.manifest_name(2)).parent)  # and another one before
    shutil.rmtree((kinds.mixed / shards.read_manifest(str(kinds.plain), 2)["shard"]).parent)
    make("avx2", run, kinds.other, kinds.mixed)
    return kinds


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pairs_of(folder: Path) -> dict[str, Pair]:
    names = [shards.read_manifest(str(folder), index)["shard"] for index in range(3)]
    return {pair.pair_id: pair for name in names for pair in read_pairs(str(folder / name))}


def test_one_kind_makes_the_same_bytes(kinds: Kinds) -> None:
    assert contents(kinds.plain) == contents(kinds.again)


def test_kinds_make_the_same_pairs(kinds: Kinds) -> None:
    """The same ids, coefficients and sources; pictures and scores as far as rounding goes."""
    plain, other = pairs_of(kinds.plain), pairs_of(kinds.other)
    assert len(plain) == 24 and plain.keys() == other.keys()
    for pair_id, pair in plain.items():
        twin = other[pair_id]
        assert (pair.source_id, pair.track, pair.frame) == (twin.source_id, twin.track, twin.frame)
        np.testing.assert_array_equal(pair.expression, twin.expression)
        assert pair.scores == pytest.approx(twin.scores, rel=1e-2, abs=1e-2)


def test_kinds_finish_each_others_work(kinds: Kinds) -> None:
    folders = (kinds.plain, kinds.other, kinds.mixed)
    plain, other, mixed = ([shards.read_manifest(str(folder), n) for n in range(3)] for folder in folders)
    assert all(one["sha256"] != twin["sha256"] for one, twin in zip(plain, other, strict=True))  # else it shows nothing
    assert mixed == [plain[0], other[1], other[2]]  # what was committed is kept, what was not is made again
    ids = list(pairs_of(kinds.plain))
    for index, manifest in enumerate(mixed):
        assert shards.check_content(str(kinds.mixed), manifest, ids[8 * index : 8 * (index + 1)]) == []


def test_a_finished_shard_of_another_kind_is_adopted(kinds: Kinds, tmp_path: Path) -> None:
    """Both made it at one time: the manifest that comes first decides, and nothing else is left."""
    for folder in (kinds.plain, kinds.other):
        result = ShardResult(list(pairs_of(folder))[:8], list(pairs_of(folder).values())[:8])
        shards.write_shard(str(tmp_path), 0, result)
    manifest = shards.read_manifest(str(tmp_path), 0)
    assert manifest["sha256"] == shards.read_manifest(str(kinds.plain), 0)["sha256"]
    assert sorted(contents(tmp_path)) == sorted([manifest["shard"], shards.manifest_name(0)])
