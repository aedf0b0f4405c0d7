"""Drills on a real Ray cluster: trainings and datasets that are continued, and stages that are made again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jr2net.data.pairs import read_description
from jr2net.synthesis import verify
from jr2net.synthesis.dataset import SOURCES
from jr2net.training.log import read_log

pytestmark = pytest.mark.drill

SETTINGS = ("recnet.optimizer.decay=none", "dcnet.optimizer.steps=4")
NETWORK = ("model.safetensors", "model.json")


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(submit, storage: Path, *commands: str) -> str:
    """Runs jobs, e.g. ``train recnet``, and expects that they succeed; returns the last log."""
    log = ""
    for command in commands:
        job, *arguments = command.split()
        status, log = submit(f"jobs/{job}.py", *arguments, f"storage={storage}", *SETTINGS)
        assert status == 0, log
    return log


@pytest.fixture(scope="module")
def trained(submit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with all that comes before synthesis."""
    storage = tmp_path_factory.mktemp("runs") / "trained"
    run(submit, storage, "prepare", "train recnet", "train dcnet")
    return storage


def test_a_training_that_goes_on_ends_with_the_weights_of_one_that_was_planned_so(
    trained: Path, submit, tmp_path: Path
) -> None:
    continued, planned = tmp_path / "continued", tmp_path / "planned"
    shutil.copytree(trained, continued)
    shutil.copytree(trained / "prepare", planned / "prepare")
    log = run(submit, continued, "train recnet recnet.optimizer.steps=14")
    assert "resumes from step 4 of 14" in log
    run(submit, planned, "train recnet recnet.optimizer.steps=14")
    for name in NETWORK:
        assert (continued / "recnet" / name).read_bytes() == (planned / "recnet" / name).read_bytes()
        earlier = continued / "recnet" / "earlier" / "8" / name
        assert earlier.read_bytes() == (trained / "recnet" / name).read_bytes()
    assert [record["step"] for record in read_log(str(continued / "recnet"))] == list(range(1, 15))

    before = files(continued)
    status, log = submit("jobs/train.py", "dcnet", f"storage={continued}", *SETTINGS, "recnet.optimizer.steps=14")
    assert status != 0 and "upstream.recnet: " in log and "--redo dcnet" in log
    assert files(continued) == before


def test_a_dataset_grows_and_what_was_trained_on_it_says_so(trained: Path, submit, tmp_path: Path) -> None:
    storage = tmp_path / "run"
    shutil.copytree(trained, storage)
    run(submit, storage, "synthesize synthesis.pairs=10", "train etnet synthesis.pairs=10")
    before = files(storage)
    log = run(submit, storage, "synthesize synthesis.pairs=20 synthesis.batch_size=3 scaling.synthesis_actors=1")
    assert "resumes: 10 of 20 pairs exist" in log
    after = files(storage)
    replaced = {"dataset.json", "index.arrow", "README.md", "inputs.json", "manifest.json", "throughput.json"}
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {f"synthesis/{name}" for name in replaced}
    for name in ("dataset.json", "index.arrow"):
        assert after[f"synthesis/earlier/10/{name}"] == before[f"synthesis/{name}"]
    folder = str(storage / "synthesis")
    description = read_description(folder)
    assert description["planned"] == 20 and description["grown_from"] == [10]
    listing = verify.Listing(folder, description)
    assert [*verify.check_objects(folder, description, listing), *verify.check_counts(description, listing)] == []
    assert all(verify.check_shard(folder, listing[index], description) == [] for index in range(4))
    assert run(submit, storage, "synthesize synthesis.pairs=20 --verify").count("every id, checksum") == 1

    status, log = submit("jobs/train.py", "etnet", f"storage={storage}", *SETTINGS, "synthesis.pairs=20")
    assert status != 0 and "upstream.synthesis: " in log and "--redo etnet" in log
    log = run(submit, storage, "train etnet synthesis.pairs=20 --redo etnet")
    assert f"[redo] deletes {storage}/etnet" in log and log.count("[redo] deletes") == 1
    assert (storage / "synthesis" / SOURCES).exists()
