"""A stage that another run has made from the same is referred to; whose it is, and who may delete it, stays clear."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from stages import files, finish, finish_all, run_at

from jr2net import storage
from jr2net.run import manifest
from jr2net.run.cascade import StageError, stages
from jr2net.run.redo import redo, redo_all
from jr2net.run.sharing import share
from jr2net.run.stage import begin
from jr2net.storage.elsewhere import ELSEWHERE, folder_of


def share_all(run, *others: Path) -> None:
    """Shares what can be shared and makes the rest, as a matrix does."""
    for stage in stages(run.config):
        share(run, stage, [str(other) for other in others])
        finish(run, stage, f"{stage} of {run.config.storage}")


def test_what_is_the_same_is_referred_to_and_the_rest_is_made(tmp_path: Path) -> None:
    one = run_at(tmp_path / "a" / "seed-0")
    finish_all(one)
    before = files(tmp_path / "a")
    two = run_at(tmp_path / "b" / "seed-0", "dcnet.width=16")
    share_all(two, tmp_path / "a" / "seed-0")
    assert files(tmp_path / "a") == before
    own = {name.partition("/")[0] for name in files(tmp_path / "b" / "seed-0") if not name.endswith(ELSEWHERE)}
    assert own == {"dcnet", "synthesis", "etnet", "recaugnet", "evaluation"}
    for stage in ("prepare", "recnet"):
        assert two.folder(stage) == one.folder(stage)
        assert begin(two, stage) is None
    assert all(begin(two, stage) is None for stage in stages(two.config)), "finished, as any other run"


def test_references_survive_a_move_of_the_storage(tmp_path: Path) -> None:
    finish_all(run_at(tmp_path / "here" / "a" / "seed-0"))
    share_all(run_at(tmp_path / "here" / "b" / "seed-0", "etnet.jitter=0"), tmp_path / "here" / "a" / "seed-0")
    shutil.move(tmp_path / "here", tmp_path / "there")
    moved = run_at(tmp_path / "there" / "b" / "seed-0", "etnet.jitter=0")
    assert moved.folder("recnet") == str(tmp_path / "there" / "a" / "seed-0" / "recnet")
    assert all(begin(moved, stage) is None for stage in stages(moved.config))


def test_references_in_a_bucket() -> None:
    own = "s3://bucket/runs/b/seed-0/recnet?endpoint_override=host:9&scheme=http"
    found = own
    for _ in range(3):
        found = storage.parent(found)
    assert storage.join(found, "a", "seed-0") == "s3://bucket/runs/a/seed-0?endpoint_override=host:9&scheme=http"


def test_a_chain_of_runs_refers_to_the_one_that_made_it(tmp_path: Path) -> None:
    folders = [tmp_path / name / "seed-0" for name in "abc"]
    finish_all(run_at(folders[0]))
    share_all(run_at(folders[1], "etnet.jitter=0"), folders[0])
    last = run_at(folders[2], "etnet.jitter=0.2")
    share_all(last, folders[1])
    reference = json.loads((folders[2] / "recnet" / ELSEWHERE).read_text())
    assert reference == {"folder": "../../../a/seed-0/recnet"}
    assert last.folder("recnet") == str(folders[0] / "recnet")


def test_a_stage_that_was_begun_is_gone_on_with(tmp_path: Path) -> None:
    one, two = run_at(tmp_path / "a" / "seed-0"), run_at(tmp_path / "b" / "seed-0")
    begin(one, "prepare")
    share(two, "prepare", [one.config.storage])
    assert two.folder("prepare") == one.folder("prepare")
    finish(two, "prepare")
    assert manifest.read_manifest(one.own_folder("prepare")) is not None


def test_what_a_run_has_begun_itself_stays_its_own(tmp_path: Path) -> None:
    one, two = run_at(tmp_path / "a" / "seed-0"), run_at(tmp_path / "b" / "seed-0")
    begin(two, "prepare")
    finish(one, "prepare")
    share(two, "prepare", [one.config.storage])
    assert two.folder("prepare") == two.own_folder("prepare")


def test_other_inputs_are_not_shared(tmp_path: Path) -> None:
    one, two = run_at(tmp_path / "a" / "seed-0"), run_at(tmp_path / "b" / "seed-0", "seed=1")
    finish(one, "prepare")
    share(two, "prepare", [one.config.storage, str(tmp_path / "absent")])
    assert two.folder("prepare") == two.own_folder("prepare")


@pytest.mark.parametrize("is_finished", [True, False])
def test_a_setting_of_one_run_does_not_alter_the_stage_of_another(tmp_path: Path, is_finished: bool) -> None:
    one, two = run_at(tmp_path / "a" / "seed-0"), run_at(tmp_path / "b" / "seed-0", "etnet.jitter=0")
    for stage in ("prepare", "recnet", "dcnet"):
        finish(one, stage)
    begin(one, "synthesis")
    if is_finished:
        finish(one, "synthesis")
    for stage in ("prepare", "recnet", "dcnet", "synthesis"):
        share(two, stage, [one.config.storage])
    before = files(tmp_path)
    grown = run_at(tmp_path / "b" / "seed-0", "etnet.jitter=0", f"synthesis.pairs={2 * two.config.synthesis.pairs}")
    with pytest.raises(StageError) as caught:
        begin(grown, "synthesis")
    message = str(caught.value)
    assert message.startswith(f"{one.own_folder('synthesis')}: synthesis was made from other inputs")
    assert f"({two.own_folder('synthesis')} refers to it)" in message
    assert "--redo synthesis, which forgets the reference" in message
    assert files(tmp_path) == before
    redo(grown, ["synthesis"])
    share_all(grown, tmp_path / "a" / "seed-0")
    assert grown.folder("synthesis") == grown.own_folder("synthesis")
    assert {name: content for name, content in files(tmp_path).items() if name.startswith("a/")} == {
        name: content for name, content in before.items() if name.startswith("a/")
    }


def test_a_stage_that_was_deleted_is_not_begun_in_the_folder_of_another_run(tmp_path: Path) -> None:
    one, two = run_at(tmp_path / "a" / "seed-0"), run_at(tmp_path / "b" / "seed-0", "etnet.jitter=0")
    finish(one, "prepare")
    share(two, "prepare", [one.config.storage])
    redo(one, ["prepare"])
    with pytest.raises(StageError, match="where prepare is no more; make it there, or give --redo prepare"):
        begin(two, "prepare")
    redo(two, ["prepare"])
    finish(two, "prepare")
    assert not files(tmp_path / "a")


def test_redo_forgets_a_reference_and_deletes_what_is_the_runs_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = run_at(tmp_path / "a" / "seed-0"), run_at(tmp_path / "b" / "seed-0", "etnet.jitter=0")
    finish_all(one)
    share_all(two, tmp_path / "a" / "seed-0")
    before = files(tmp_path / "a")
    redo(two, ["dcnet"])
    assert files(tmp_path / "a") == before
    assert {name.partition("/")[0] for name in files(tmp_path / "b" / "seed-0")} == {"prepare", "recnet"}
    out = capsys.readouterr().out
    assert f"[redo] {two.config.storage} no longer refers to {one.folder('dcnet')}\n" in out
    assert f"[redo] deletes {two.config.storage}/etnet" in out
    share_all(two, tmp_path / "a" / "seed-0")
    assert two.folder("dcnet") == one.folder("dcnet")


def test_a_redo_in_several_runs_reaches_what_they_made_from_each_others_stages(tmp_path: Path) -> None:
    one, two = run_at(tmp_path / "a" / "seed-0"), run_at(tmp_path / "b" / "seed-0", "etnet.jitter=0")
    finish_all(one)
    share_all(two, tmp_path / "a" / "seed-0")
    redo_all([one, two], ["prepare"])
    assert not files(tmp_path)


@pytest.mark.parametrize("moment", range(14))
def test_an_interrupted_redo_in_several_runs_completes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    one, two = run_at(tmp_path / "a" / "seed-0"), run_at(tmp_path / "b" / "seed-0", "etnet.jitter=0")
    finish_all(one)
    share_all(two, tmp_path / "a" / "seed-0")
    lines: list[object] = []

    def interrupt(line: str, **options: object) -> None:
        if len(lines) == moment:
            raise KeyboardInterrupt
        lines.append(line)

    with monkeypatch.context() as patch:
        patch.setattr("builtins.print", interrupt)
        with pytest.raises(KeyboardInterrupt):
            redo_all([one, two], ["prepare"])
    redo_all([one, two], ["prepare"])
    assert not files(tmp_path)


def test_a_redo_reaches_what_was_made_from_a_stage_that_is_no_more(tmp_path: Path) -> None:
    one, two = run_at(tmp_path / "a" / "seed-0"), run_at(tmp_path / "b" / "seed-0", "etnet.jitter=0")
    finish_all(one)
    share_all(two, tmp_path / "a" / "seed-0")
    redo(one, ["prepare"])
    redo(two, ["prepare"])
    assert not files(tmp_path)


def test_a_damaged_reference_is_one_error(tmp_path: Path) -> None:
    storage.write_bytes(f"{tmp_path}/recnet/{ELSEWHERE}", b"{}")
    with pytest.raises(storage.StorageError, match=r"elsewhere\.json: names no folder"):
        folder_of(f"{tmp_path}/recnet")
