"""A stage is skipped, resumed, continued or refused; whatever the settings, beginning it deletes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from stages import as_version_0_1, files, finish, finish_all, run_at, save_state

from jr2net import storage
from jr2net.run import manifest
from jr2net.run.cascade import StageError
from jr2net.run.stage import begin

CONSTANT = "recnet.optimizer.decay=none"


def refused(run, stage: str) -> str:
    """The message with which a stage is refused; no file changes."""
    storage_folder = Path(run.config.storage)
    before = files(storage_folder)
    with pytest.raises(StageError) as caught:
        begin(run, stage)
    assert files(storage_folder) == before
    return str(caught.value)


def test_changed_inputs_are_an_error_that_names_them_and_the_remedies(tmp_path: Path) -> None:
    finish_all(run_at(tmp_path))
    message = refused(run_at(tmp_path, "recnet.optimizer.batch_size=8", "recnet.jitter=0.2"), "recnet")
    assert message.startswith(f"{tmp_path}/recnet: recnet was made from other inputs:\n")
    assert "\n  recnet.optimizer.batch_size: 4 -> 8\n  recnet.jitter: 0.1 -> 0.2\n" in message
    assert (
        "choose another storage, or give --redo recnet, which deletes recnet and all that was made from it" in message
    )


def test_an_unfinished_stage_is_refused_too(tmp_path: Path) -> None:
    run = run_at(tmp_path)
    finish(run, "prepare")
    begin(run, "recnet")
    save_state(run, "recnet", 4)
    assert "recnet.jitter: 0.1 -> 0.2" in refused(run_at(tmp_path, "recnet.jitter=0.2"), "recnet")
    assert begin(run, "recnet") == run.inputs("recnet")  # the attempt goes on


def test_defaults_and_placement_do_not_count(tmp_path: Path) -> None:
    finish_all(run_at(tmp_path))
    overrides = ["scaling.workers=1", "scaling.synthesis_actors=7", "scaling.cpus_per_worker=2", "recnet.jitter=0.1"]
    moved = run_at(tmp_path, *overrides, "synthesis.batch_size=3")
    assert [begin(moved, stage) for stage in ("prepare", "recnet", "dcnet", "synthesis", "evaluation")] == [None] * 5


def test_a_stage_is_refused_where_one_that_it_uses_has_other_settings(tmp_path: Path) -> None:
    finish_all(run_at(tmp_path))
    message = refused(run_at(tmp_path, "data.studio.people=13"), "etnet")
    assert message.startswith(f"{tmp_path}/prepare: etnet uses prepare, which was made from other inputs:\n")
    assert "  data.studio.people: 12 -> 13\n" in message and "--redo prepare" in message


def test_a_changed_output_is_named_by_its_digests(tmp_path: Path) -> None:
    run = run_at(tmp_path)
    finish_all(run)
    old = run.finished_manifest("recnet")
    storage.write_bytes(f"{tmp_path}/recnet/output", b"another network")
    new = manifest.finish(run.folder("recnet"), old.inputs, ["output"], 1.0)
    assert f"  upstream.recnet: {old.digest[:12]}… -> {new.digest[:12]}…\n" in refused(run, "dcnet")


def test_stages_that_version_0_1_began_go_on(tmp_path: Path) -> None:
    run = run_at(tmp_path)
    finish(run, "prepare")
    finish(run, "recnet")
    as_version_0_1(run, "recnet")
    (tmp_path / "recnet" / "manifest.json").unlink()
    assert begin(run, "recnet") == run.inputs("recnet")
    assert "recnet.jitter: 0.1 -> 0.2" in refused(run_at(tmp_path, "recnet.jitter=0.2"), "recnet")


def test_a_training_goes_on_to_more_steps_where_nothing_depends_on_their_number(tmp_path: Path) -> None:
    run, longer = run_at(tmp_path, CONSTANT), run_at(tmp_path, CONSTANT, "recnet.optimizer.steps=20")
    finish_all(run)
    save_state(run, "recnet", 4)
    before = files(tmp_path)
    record = begin(longer, "recnet")
    assert record == longer.inputs("recnet") | {"grown_from": [8]}
    after = files(tmp_path)
    assert after["recnet/earlier/8/output"] == after["recnet/output"] == before["recnet/output"]
    assert after["recnet/state/00000004.pt"] == b"" and "recnet/manifest.json" not in after
    assert begin(longer, "recnet") == record  # resumes
    assert manifest.read_manifest(run.folder("recnet")) is None

    storage.write_bytes(f"{tmp_path}/recnet/output", b"of 20 steps")
    manifest.finish(run.folder("recnet"), record, ["output"], 1.0)
    assert begin(longer, "recnet") is None
    assert "upstream.recnet" in refused(longer, "dcnet")
    assert "recnet.optimizer.steps: 20 -> 8 (it has taken 20 steps)" in refused(run, "recnet")


def test_a_training_whose_schedule_depends_on_its_steps_says_so(tmp_path: Path) -> None:
    run = run_at(tmp_path, "recnet.photometric_from=0.25")
    finish_all(run)
    save_state(run, "recnet", 4)
    message = refused(run_at(tmp_path, "recnet.photometric_from=0.25", "recnet.optimizer.steps=20"), "recnet")
    reason = "recnet.optimizer.decay and recnet.photometric_from make it depend on the total"
    assert f"  recnet.optimizer.steps: 8 -> 20 (it cannot go on from step 4: {reason})\n" in message
    assert "choose another storage, or give --redo recnet" in message


def test_an_unfinished_training_may_have_fewer_steps_left_but_not_less_than_none(tmp_path: Path) -> None:
    run = run_at(tmp_path, CONSTANT)
    finish(run, "prepare")
    begin(run, "recnet")
    assert begin(run_at(tmp_path, CONSTANT, "recnet.optimizer.steps=3"), "recnet") is not None  # nothing was saved
    assert begin(run, "recnet") is not None
    save_state(run, "recnet", 4)
    assert begin(run_at(tmp_path, CONSTANT, "recnet.optimizer.steps=6"), "recnet") is not None
    shorter = run_at(tmp_path, CONSTANT, "recnet.optimizer.steps=3")
    assert "recnet.optimizer.steps: 6 -> 3 (it has taken 4 steps)" in refused(shorter, "recnet")


def test_a_finished_training_without_a_state_cannot_go_on(tmp_path: Path) -> None:
    finish_all(run_at(tmp_path, CONSTANT))
    longer = run_at(tmp_path, CONSTANT, "recnet.optimizer.steps=20")
    assert "recnet.optimizer.steps: 8 -> 20 (no state is left to go on from)" in refused(longer, "recnet")


def test_a_dataset_grows(tmp_path: Path) -> None:
    run, larger, largest = (run_at(tmp_path, f"synthesis.pairs={pairs}") for pairs in (16, 20, 40))
    finish_all(run)
    assert "synthesis, which has not finished: synthesis.pairs: 16 -> 20; run it first" in refused(larger, "etnet")
    record = begin(larger, "synthesis")
    assert record is not None and record["grown_from"] == [16]
    record = begin(largest, "synthesis")  # while it has not finished
    assert record is not None and record["grown_from"] == [16, 20]
    assert "synthesis.pairs: 40 -> 16 (a dataset grows, it does not shrink)" in refused(run, "synthesis")
    storage.write_bytes(f"{tmp_path}/synthesis/output", b"40 pairs")
    manifest.finish(run.folder("synthesis"), record, ["output"], 1.0)
    assert begin(largest, "synthesis") is None
    assert "upstream.synthesis" in refused(largest, "etnet")
    assert files(tmp_path)["synthesis/earlier/16/output"] == b"synthesis"


def test_a_dataset_of_version_0_1_stays_as_it_is(tmp_path: Path) -> None:
    """Its pairs depend on how many were planned."""
    run = run_at(tmp_path)
    finish_all(run)
    as_version_0_1(run, "synthesis")
    assert begin(run, "synthesis") is None
    message = refused(run_at(tmp_path, "synthesis.pairs=20"), "synthesis")
    assert "  version of the code: 2 -> 5\n" in message
    (tmp_path / "synthesis" / "manifest.json").unlink()
    assert "  version of the code: 2 -> 5\n" in refused(run, "synthesis")


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    run = run_at(tmp_path)
    storage.write_bytes(f"{tmp_path}/prepare/holiday.jpg", b"x")
    with pytest.raises(storage.StorageError, match=r"holiday\.jpg"):
        begin(run, "prepare")
