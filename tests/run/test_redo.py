"""``redo`` deletes a stage and what was made from it, says so, and can be interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest
from stages import files, finish, finish_all, run_at

from jr2net import storage
from jr2net.run import manifest
from jr2net.run.cascade import StageError
from jr2net.run.redo import redo, with_dependents
from jr2net.run.stage import begin


def folders(storage_folder: Path) -> set[str]:
    return {name.split("/")[0] for name in files(storage_folder)}


def test_a_stage_and_all_that_was_made_from_it_are_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_at(tmp_path)
    finish_all(run)
    kept = {name: content for name, content in files(tmp_path).items() if name.startswith(("prepare/", "recnet/"))}
    redo(run_at(tmp_path, "dcnet.width=16"), ["dcnet"])
    assert files(tmp_path) == kept
    lines = capsys.readouterr().out.splitlines()
    deleted = ("evaluation", "recaugnet", "etnet", "synthesis", "dcnet")  # the last first
    assert [line.split(": ")[0] for line in lines] == [f"[redo] deletes {tmp_path}/{stage}" for stage in deleted]
    assert all(": 3 files, 0.0 MB" in line for line in lines)


def test_what_was_made_with_another_reenactor_stays(tmp_path: Path) -> None:
    """What depends on a stage is what was made from it, whatever the configuration says now."""
    run, other = run_at(tmp_path), run_at(tmp_path, "reenactor=flow3d")
    finish_all(run)
    finish(other, "mattes")
    finish(other, "flow3d")
    assert with_dependents(other, ["flow3d"]) == ["flow3d"]
    assert with_dependents(other, ["dcnet"]) == ["dcnet", "synthesis", "etnet", "recaugnet", "evaluation"]
    assert with_dependents(other, ["mattes"]) == ["mattes", "flow3d"]
    assert with_dependents(run, []) == []


def test_nothing_is_deleted_that_could_not_be_made_again(tmp_path: Path) -> None:
    run = run_at(tmp_path)
    finish_all(run)
    before = files(tmp_path)
    with pytest.raises(storage.StorageError, match="nowhere"):
        redo(run_at(tmp_path, f"dcnet.vgg19={tmp_path}/nowhere.pth"), ["recnet"])
    assert files(tmp_path) == before


def test_foreign_files_are_not_deleted(tmp_path: Path) -> None:
    storage.write_bytes(f"{tmp_path}/recnet/holiday.jpg", b"x")
    with pytest.raises(storage.StorageError, match=r"holiday\.jpg"):
        redo(run_at(tmp_path), ["recnet"])
    assert files(tmp_path) == {"recnet/holiday.jpg": b"x"}


@pytest.mark.parametrize("deletions", range(12))
def test_interrupted_anywhere_it_can_be_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deletions: int
) -> None:
    run, changed = run_at(tmp_path), run_at(tmp_path, "dcnet.width=16")
    finish_all(run)
    left = [deletions]

    def interrupted(function):
        def call(*arguments, **options):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in ("remove", "empty_folder"):
            patch.setattr(storage, name, interrupted(getattr(storage, name)))
        with pytest.raises(KeyboardInterrupt):
            redo(changed, ["dcnet"])
    for stage in ("dcnet", "synthesis", "etnet", "recaugnet", "evaluation"):
        try:
            record = begin(run, stage)
        except StageError as error:
            assert "interrupted; --redo" in str(error) or "has not finished" in str(error)
        else:
            whole, nothing = {"inputs.json", "manifest.json", "output"}, {"inputs.json"}
            assert files(tmp_path / stage).keys() == (whole if record is None else nothing)
    redo(changed, ["dcnet"])
    assert folders(tmp_path) == {"prepare", "recnet"}
    finish_all(changed)
    assert manifest.is_done(changed.folder("evaluation"), changed.inputs("evaluation"))


def test_a_stage_whose_removal_was_interrupted_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_at(tmp_path)
    finish_all(run)
    storage.write_bytes(f"{tmp_path}/recnet/state/00000004.pt", b"x")
    with monkeypatch.context() as patch:
        patch.setattr(storage, "empty_folder", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            manifest.remove(run.folder("recnet"))
    with pytest.raises(StageError, match="the removal of recnet was interrupted; --redo recnet completes it"):
        begin(run, "recnet")
    with pytest.raises(StageError, match="recnet has not finished"):
        begin(run, "dcnet")
    storage.empty_folder(run.folder("recnet"), keep="inputs.json")
    assert begin(run, "recnet") == run.inputs("recnet")  # all but the record was deleted
