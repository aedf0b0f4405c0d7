"""Records in a stage's folder: finished stages are recognised, interrupted ones resume, only ``remove`` deletes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jr2net import storage
from jr2net.run import manifest
from jr2net.storage import StorageError

INPUTS: dict[str, Any] = {
    "stage": "recnet",
    "code": "1",
    "face_model": "f" * 64,
    "settings": {"seed": 0, "recnet.optimizer.steps": 3},
    "upstream": {"prepare": "a" * 64},
}


def with_seed(seed: int) -> dict[str, Any]:
    return INPUTS | {"settings": INPUTS["settings"] | {"seed": seed}}


def finished_stage(folder: str) -> manifest.Manifest:
    manifest.begin(folder, INPUTS)
    storage.write_bytes(f"{folder}/model.json", b"{}")
    storage.write_bytes(f"{folder}/state/00000002.pt", b"x")
    return manifest.finish(folder, INPUTS, ["model.json"], seconds=1.25)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_finished_stage_is_done_for_its_inputs_only(tmp_path: Path) -> None:
    folder = str(tmp_path / "recnet")
    assert not manifest.is_done(folder, INPUTS)
    written = finished_stage(folder)
    assert manifest.is_done(folder, INPUTS)
    assert not manifest.is_done(folder, with_seed(1))
    assert manifest.read_manifest(folder) == written
    assert written.seconds == 1.25
    assert "torch" in written.versions


def test_the_digest_depends_on_the_outputs_alone(tmp_path: Path) -> None:
    one, other = finished_stage(str(tmp_path / "one")), finished_stage(str(tmp_path / "other"))
    assert one.digest == other.digest
    storage.write_bytes(f"{tmp_path}/other/model.json", b"{ }")
    assert manifest.finish(f"{tmp_path}/other", INPUTS, ["model.json"], 2.0).digest != one.digest


def test_an_interrupted_stage_keeps_its_files(tmp_path: Path) -> None:
    folder = str(tmp_path / "recnet")
    manifest.begin(folder, INPUTS)
    storage.write_bytes(f"{folder}/state/checkpoint", b"x")
    manifest.begin(folder, INPUTS)
    assert storage.exists(f"{folder}/state/checkpoint")
    assert manifest.read_inputs(folder) == INPUTS


def test_foreign_files_raise_and_are_kept(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(StorageError, match=r"holiday\.jpg.*choose another storage"):
        manifest.begin(str(tmp_path), INPUTS)
    with pytest.raises(StorageError, match=r"holiday\.jpg.*delete them yourself"):
        manifest.remove(str(tmp_path))
    assert (tmp_path / "holiday.jpg").exists()


@pytest.mark.parametrize("content", ['{"inputs": ', "{}", '{"inputs": {}, "outputs": {}, "seconds": 1}'])
def test_a_damaged_manifest_raises_with_its_path(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(StorageError, match=r"manifest\.json: not a manifest.*remove the file"):
        manifest.read_manifest(str(tmp_path))


def test_a_damaged_record_raises_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "inputs.json").write_text('{"stage": "recnet"}')
    with pytest.raises(StorageError, match=r"inputs\.json: not a record of inputs \('code' is missing\)"):
        manifest.read_inputs(str(tmp_path))


def test_a_continued_stage_keeps_what_it_had_finished_with(tmp_path: Path) -> None:
    written = finished_stage(str(tmp_path))
    before = files(tmp_path)
    manifest.continue_from(str(tmp_path), written, INPUTS | {"grown_from": [3]}, 3)
    assert manifest.read_manifest(str(tmp_path)) is None
    assert manifest.read_inputs(str(tmp_path)) == INPUTS | {"grown_from": [3]}
    after = files(tmp_path)
    assert {name: after[f"earlier/3/{name}"] for name in ("model.json", "manifest.json")}.items() <= before.items()
    assert after["state/00000002.pt"] == before["state/00000002.pt"] and after["model.json"] == before["model.json"]


@pytest.mark.parametrize("writes", range(4))
def test_continuing_can_be_interrupted_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    written = finished_stage(str(tmp_path))
    left = [writes]

    def interrupted(function):
        def call(*arguments):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return function(*arguments)

        return call

    with monkeypatch.context() as patch:
        for name in ("write_bytes", "remove"):
            patch.setattr(storage, name, interrupted(getattr(storage, name)))
        with pytest.raises(KeyboardInterrupt):
            manifest.continue_from(str(tmp_path), written, INPUTS | {"grown_from": [3]}, 3)
    manifest.continue_from(str(tmp_path), written, INPUTS | {"grown_from": [3]}, 3)
    assert manifest.read_manifest(str(tmp_path)) is None
    assert json.loads((tmp_path / "earlier" / "3" / "manifest.json").read_text())["outputs"] == written.outputs


def test_removing_deletes_everything(tmp_path: Path) -> None:
    finished_stage(str(tmp_path / "recnet"))
    manifest.remove(str(tmp_path / "recnet"))
    assert storage.list_files(str(tmp_path / "recnet")) == []
    manifest.remove(str(tmp_path / "recnet"))  # there is nothing left


def test_a_removal_that_was_interrupted_is_known_and_can_be_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished_stage(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(storage, "empty_folder", lambda *_, **__: (tmp_path / "model.json").unlink())
        patch.setattr(storage, "remove", lambda uri: Path(uri).unlink() if "manifest" in uri else None)
        manifest.remove(str(tmp_path))
    record = manifest.read_inputs(str(tmp_path))
    assert record is not None and manifest.is_being_removed(record) and record["upstream"] == INPUTS["upstream"]
    assert not manifest.is_done(str(tmp_path), INPUTS) and (tmp_path / "state").exists()
    manifest.remove(str(tmp_path))
    assert storage.list_files(str(tmp_path)) == []


def test_in_a_bucket_stages_are_continued_and_removed_alike(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    folder = "s3://bucket/records/recnet"
    written = finished_stage(folder)
    assert manifest.is_done(folder, INPUTS)
    manifest.continue_from(folder, written, INPUTS | {"grown_from": [3]}, 3)
    assert manifest.read_manifest(folder) is None
    kept = ["earlier/3/manifest.json", "earlier/3/model.json", "inputs.json", "model.json", "state/00000002.pt"]
    assert storage.list_files(folder) == kept
    manifest.remove(folder)
    assert storage.list_files(folder) == [] and manifest.read_inputs(folder) is None
    manifest.begin(folder, INPUTS)
    assert manifest.read_inputs(folder) == INPUTS
