"""Manifests: finished stages are recognised, changed inputs start over, interrupted stages resume."""

from __future__ import annotations

from pathlib import Path

import pytest

from jr2net import storage
from jr2net.run import manifest
from jr2net.storage import StorageError

INPUTS = {"seed": 0, "settings": {"steps": 3}}


def finished_stage(folder: str) -> manifest.Manifest:
    manifest.begin(folder, INPUTS)
    storage.write_bytes(f"{folder}/model.json", b"{}")
    return manifest.finish(folder, INPUTS, ["model.json"], seconds=1.25)


def test_a_finished_stage_is_done_for_its_inputs_only(tmp_path: Path) -> None:
    folder = str(tmp_path / "recnet")
    assert not manifest.is_done(folder, INPUTS)
    written = finished_stage(folder)
    assert manifest.is_done(folder, INPUTS)
    assert not manifest.is_done(folder, INPUTS | {"seed": 1})
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


def test_changed_inputs_empty_the_folder(tmp_path: Path) -> None:
    folder = str(tmp_path / "recnet")
    finished_stage(folder)
    changed = INPUTS | {"seed": 1}
    manifest.begin(folder, changed)
    assert storage.list_files(folder) == ["inputs.json"]
    assert not manifest.is_done(folder, INPUTS)


def test_foreign_files_raise_and_are_kept(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(StorageError, match=r"holiday\.jpg.*choose another storage"):
        manifest.begin(str(tmp_path), INPUTS)
    assert (tmp_path / "holiday.jpg").exists()


def test_a_damaged_manifest_raises_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"inputs": ')
    with pytest.raises(StorageError, match=r"manifest\.json: not a manifest.*remove the file"):
        manifest.read_manifest(str(tmp_path))
