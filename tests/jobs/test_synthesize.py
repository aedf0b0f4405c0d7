"""The parts of the synthesis job that need no cluster: its actor, its inputs and its messages."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_run import SMOKE, make_upstream

from jobs import synthesize
from jobs.pair_actor import PairActor, SynthesisInputs, load_inputs
from jobs.synthesis_progress import SynthesisProgress
from jr2net import storage
from jr2net.config import load
from jr2net.data import sets
from jr2net.data.index import ClipIndex, index_shards
from jr2net.data.pairs import read_pairs
from jr2net.expressions.tracks import Track, TrackError, write_track
from jr2net.images.arrays import decode_image
from jr2net.run.cascade import Run, StageError
from jr2net.storage import StorageError
from jr2net.storage.parquet import ShardError
from jr2net.synthesis import shards

SIZE = ["synthesis.pairs=12", "synthesis.pairs_per_shard=6", "synthesis.batch_size=4"]


@pytest.fixture(scope="module")
def storage_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("run"))
    make_upstream(folder, *SIZE)
    return folder


def run_of(uri: str, *settings: str) -> Run:
    return Run(load(SMOKE, [f"storage={uri}", "recnet.backbone.layers=10", *SIZE, *settings]))


def actor_of(run: Run, folder: Path) -> PairActor:
    return PairActor(run.config, run.folders("synthesis"), str(folder), load_inputs(run))


def shard_of(folder: Path, index: int) -> str:
    return str(folder / shards.read_manifest(str(folder), index)["shard"])


def test_an_actor_writes_shards(storage_uri: str, tmp_path: Path) -> None:
    actor = actor_of(run_of(storage_uri), tmp_path)
    outcome = actor({"shard": 1})
    assert outcome["error"] == "" and outcome["planned"] == 6
    pairs = list(read_pairs(shard_of(tmp_path, 1)))
    assert len(pairs) == outcome["pairs"] == 6 - sum(json.loads(outcome["rejected"]).values())
    assert {"decode", "reconstruct", "render", "dcnet", "gates", "encode", "write"} <= set(
        json.loads(outcome["seconds"])
    )
    assert actor({"shard": 1}) | {"seconds": ""} == outcome | {"seconds": ""}


def test_a_finished_shard_is_never_made_again(storage_uri: str, tmp_path: Path) -> None:
    outcome = actor_of(run_of(storage_uri), tmp_path)({"shard": 1})
    repeated = actor_of(run_of(storage_uri), tmp_path)
    assert repeated({"shard": 1}) == outcome | {"seconds": "{}"}
    assert repeated._maker is None  # not even the networks were loaded


def test_networks_that_cannot_be_loaded_fail_the_shard(storage_uri: str, tmp_path: Path) -> None:
    outcome = actor_of(run_of(storage_uri, f"synthesis.reader={tmp_path}/none"), tmp_path / "run")({"shard": 1})
    assert "none" in outcome["error"] and not outcome["device_broken"]


def test_an_actor_without_its_device_gives_the_shard_back_and_ends(
    storage_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor, ends = actor_of(run_of(storage_uri, "scaling.gpus_per_actor=1"), tmp_path), []
    outcome = actor({"shard": 1})
    assert outcome["device_broken"] and "cuda is broken" in outcome["error"] and not list(tmp_path.iterdir())

    def end_process() -> None:
        ends.append(True)
        raise SystemExit

    monkeypatch.setattr(actor, "end_process", end_process)
    with pytest.raises(SystemExit):
        actor({"shard": 1})
    assert ends == [True]


def test_lack_of_memory_fails_its_shard(storage_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    actor = actor_of(run_of(storage_uri), tmp_path)

    def full(index: int) -> None:
        raise MemoryError

    monkeypatch.setattr(actor, "_maker", SimpleNamespace(shard=full))
    assert actor({"shard": 0})["error"] == "MemoryError"


def test_a_storage_error_fails_its_shard_only(
    storage_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = actor_of(run_of(storage_uri), tmp_path)

    def full(uri: str, content: bytes) -> bool:
        raise StorageError(f"{uri}: cannot be written: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shards, "put_once_or_same", full)
        outcome = actor({"shard": 0})
    assert "No space left on device" in outcome["error"] and outcome["pairs"] == 0
    assert actor({"shard": 0})["error"] == ""


def test_what_another_job_made_meanwhile_is_no_failure(
    storage_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(storage_uri, tmp_path / "run")
    run = run_of(str(tmp_path / "run"))
    other = actor_of(run, tmp_path / "run" / "synthesis")

    def make_one(
        run: Run, inputs: SynthesisInputs, missing: np.ndarray, progress: SynthesisProgress, stage: str
    ) -> dict[int, str]:
        other({"shard": len(missing) - 1})
        return {0: "disk full"}

    monkeypatch.setattr(synthesize, "make_shards", make_one)
    with pytest.raises(StageError, match=r"1 shards are missing: pairs-000000\. Failed: 1 x disk full"):
        synthesize.synthesize(run)
    assert synthesize.synthesize(run) == ["dataset.json", "index.arrow"]


def test_on_a_full_disk_the_error_names_the_missing_shards(
    storage_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not the first other file that cannot be written either."""
    shutil.copytree(storage_uri, tmp_path / "run")

    def full(uri: str, content: bytes) -> None:
        raise StorageError(f"{uri}: cannot be written: No space left on device")

    monkeypatch.setattr(synthesize, "make_shards", lambda *arguments, **more: {0: "disk full", 1: "disk full"})
    monkeypatch.setattr(storage, "write_bytes", full)
    with pytest.raises(StageError, match=r"2 shards are missing.*2 x disk full.*start the job again"):
        synthesize.synthesize(run_of(str(tmp_path / "run")))


def test_pairs_of_other_clips_show_nobody_who_is_tested(
    storage_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(storage_uri, tmp_path / "run")
    clips = f"{storage_uri}/prepare/train"
    run = run_of(str(tmp_path / "run"), f"data.clips={clips}", f"synthesis.sources={clips}", "synthesis.pairs=60")
    actor = actor_of(run, tmp_path / "run" / "synthesis")

    def make_all(
        run: Run, inputs: SynthesisInputs, missing: np.ndarray, progress: SynthesisProgress, stage: str
    ) -> dict[int, str]:
        return {int(index): "" for index in missing if actor({"shard": int(index)})["error"]}

    monkeypatch.setattr(synthesize, "make_shards", make_all)
    synthesize.synthesize(run)
    (tested,) = sets.test_clips(run.config, run.folder("prepare")).values()
    message = f"[synthesis] {len(tested.identities)} identities of synthesis.sources are tested or validated on"
    assert message in capsys.readouterr().out
    pairs = [pair for index in range(10) for pair in read_pairs(shard_of(tmp_path / "run" / "synthesis", index))]
    shown = {pair.source_id.split("/")[0] for pair in pairs}
    assert len(pairs) > 30 and len(tested.identities) > 3 and shown.isdisjoint(tested.identities)
    assert shown <= set(json.loads((tmp_path / "run/synthesis/people.json").read_text()))


def test_pairs_from_other_people_are_not_continued(storage_uri: str, tmp_path: Path) -> None:
    """As older code began them: with everybody in the clips."""
    shutil.copytree(storage_uri, tmp_path / "run")
    clips, folder = f"{storage_uri}/prepare/train", str(tmp_path / "run" / "synthesis")
    run = run_of(str(tmp_path / "run"), f"data.clips={clips}", f"synthesis.sources={clips}")
    inputs = load_inputs(run)
    synthesize.write_sources(folder, clips, replace(inputs, sources=replace(inputs.sources, left_out=())))
    with pytest.raises(StageError, match=r"made from other sources, captures or people: .*--redo synthesis"):
        synthesize.synthesize(run)


def test_driving_clips_are_indexed_once_and_all_needed(
    storage_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(f"{storage_uri}/prepare/train", tmp_path / "driving")
    run = run_of(storage_uri, "synthesis.reenact=true", f"synthesis.driving={tmp_path}/driving")
    actor, opened = actor_of(run, tmp_path / "made"), []

    def index(uris: list[str]) -> ClipIndex:
        opened.extend(uris)
        return index_shards(uris)

    monkeypatch.setattr("jr2net.data.clips.index_shards", index)
    assert actor({"shard": 0})["error"] == ""
    assert not [uri for uri in opened if "driving" in uri]
    shard = tmp_path / "driving" / "people-1.parquet"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(ShardError, match=r"synthesis\.driving: people-1\.parquet: .*not a readable Parquet"):
        load_inputs(run)


def test_reenactment_makes_other_pairs(storage_uri: str, tmp_path: Path) -> None:
    for name, settings in (("plain", []), ("moved", ["synthesis.reenact=true"])):
        actor_of(run_of(storage_uri, *settings), tmp_path / name)({"shard": 0})
    plain, moved = (list(read_pairs(shard_of(tmp_path / name, 0))) for name in ("plain", "moved"))
    assert {pair.pair_id for pair in plain}.isdisjoint(pair.pair_id for pair in moved)


def test_estimate_and_preview_write_nothing(storage_uri: str, tmp_path: Path) -> None:
    actor = actor_of(run_of(storage_uri), tmp_path / "nothing")
    sample = actor.measure(8)
    assert sample["planned"] == 8 and sample["seconds"] > 0 and sample["bytes"] > 0
    sheet = decode_image(actor.preview())
    assert sheet is None  # it is not a square image
    assert actor.preview()[:4] == b"\x89PNG"
    assert not (tmp_path / "nothing").exists()


def test_broken_takes_are_skipped(storage_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = np.random.default_rng(0).random((5, 51)).astype(np.float32)
    write_track(str(tmp_path / "good.parquet"), Track("good", values, 30.0))
    write_track(str(tmp_path / "empty.parquet"), Track("empty", values[:0], 30.0))
    (tmp_path / "odd.csv").write_text("Timecode,Wink\n00:00:00:00.000,1\n")
    inputs = load_inputs(run_of(storage_uri, f"synthesis.captures={tmp_path}"))
    assert [track.name for track in inputs.tracks] == ["good"]
    message = capsys.readouterr().out
    assert "skipped: empty.parquet: empty.parquet: no frames" in message
    assert "skipped: odd.csv: odd.csv: column eyeBlinkLeft" in message and "(unknown: 'Wink')" in message
    assert set(json.loads(inputs.to_json())["captures"]["damaged"]) == {"empty.parquet", "odd.csv"}
    (tmp_path / "good.parquet").unlink()
    with pytest.raises(TrackError, match="none of 2 captures can be used"):
        load_inputs(run_of(storage_uri, f"synthesis.captures={tmp_path}"))


def test_clamped_coefficients_are_reported(
    storage_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_track(str(tmp_path / "loud.parquet"), Track("loud", np.full((2, 51), 1.5, np.float32), 30.0))
    inputs = load_inputs(run_of(storage_uri, f"synthesis.captures={tmp_path}/loud.parquet"))
    assert "loud: 102 coefficients outside [0, 1] were clamped" in capsys.readouterr().out
    assert max(track.expression.max() for track in inputs.tracks) == 1.0


def test_inputs_are_reproducible(storage_uri: str) -> None:
    one, other = load_inputs(run_of(storage_uri)), load_inputs(run_of(storage_uri))
    assert isinstance(one, SynthesisInputs) and one.to_json() == other.to_json()
    assert storage_uri not in one.to_json().decode()


def test_an_incomplete_job_names_the_missing_shards() -> None:
    failed = {3: "disk full", 4: "disk full", 9: "no response"}
    message = synthesize.incomplete_message("s3://bucket/run", failed, np.array([3, 4, 9, 11, 12, 13]))
    assert message.startswith("s3://bucket/run: 6 shards are missing: ")
    assert shards.shard_label(3) in message and "2 x disk full; 1 x no response" in message


def test_progress_prints_rate_rejects_and_time_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = SynthesisProgress(str(tmp_path), 20, 10)
    progress.add(10, 9, {"identity": 1}, {"dcnet": 2.0})
    progress.finish()
    message = capsys.readouterr().out
    assert "resumes: 10 of 20 pairs exist" in message
    assert "10 of 10 pairs" in message and "rejected: 1 identity" in message and "time left" in message
    assert json.loads((tmp_path / "throughput.json").read_text())["phases"] == {"dcnet": 2.0}
