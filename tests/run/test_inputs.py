"""What decides the output of a stage: every setting is declared, defaults and placement do not count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stages import SMOKE, as_version_0_1, finish_all, run_at

from jr2net.config import load
from jr2net.config.stages import first_round
from jr2net.run import inputs, manifest
from jr2net.run.cascade import ALL_STAGES, stages
from jr2net.run.inputs import DECIDED_BY, SETTINGS, Setting, differences
from jr2net.settings import Effect


def record(**settings: Any) -> dict[str, Any]:
    return {"stage": "recnet", "code": "1", "face_model": "f" * 64, "settings": settings, "upstream": {}}


def texts(*records: dict[str, Any]) -> list[str]:
    return [str(difference) for difference in differences(*records)]


def test_every_setting_decides_a_stage_or_is_declared_not_to() -> None:
    studio, clips = load(SMOKE), load(SMOKE, ["data.clips=/clips"])
    decided = {name for stage in ALL_STAGES for config in (studio, clips) for name in inputs.deciding(config, stage)}
    by_digest = {name for name in SETTINGS if name.startswith("face.")}  # of the model
    by_digest |= {"reenactor", "ablations", "rounds"}  # which stages there are
    free = {name for name, setting in SETTINGS.items() if setting.effect is Effect.NONE}
    assert set(SETTINGS) - decided - by_digest == free
    assert free == {"storage", "require_pretrained", "scaling", "matrix", "synthesis.batch_size"}
    assert set(DECIDED_BY) == {first_round(stage) for stage in ALL_STAGES}


def test_extents_are_the_numbers_of_steps_and_pairs() -> None:
    extents = {name for name, setting in SETTINGS.items() if setting.effect is Effect.EXTENT}
    networks = ("recnet", "dcnet", "flow3d", "etnet", "recaugnet", "detector")
    assert extents == {"synthesis.pairs", *(f"{network}.optimizer.steps" for network in networks)}


def test_defaults_are_those_of_the_section_that_has_them() -> None:
    assert SETTINGS["recnet.backbone.layers"].default == 50
    assert SETTINGS["etnet.backbone.layers"].default == 34
    assert SETTINGS["flow3d.flow_widths"].default == [12, 24, 48, 48]
    assert SETTINGS["recnet.optimizer.steps"].default is ...


def test_a_setting_that_is_added_with_its_default_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "SETTINGS", {**SETTINGS, "recnet.new": Setting(None, 0.5)})
    old = record(seed=0)
    assert texts(old, record(seed=0, **{"recnet.new": 0.5})) == []
    assert texts(old, record(seed=0, **{"recnet.new": 0.6})) == ["recnet.new: 0.5 -> 0.6"]


def test_a_default_that_is_changed_counts() -> None:
    old = record(**{"recnet.jitter": 0.1})
    assert texts(old, record(**{"recnet.jitter": 0.2})) == ["recnet.jitter: 0.1 -> 0.2"]


def test_a_setting_that_is_gone_does_not_count() -> None:
    assert texts(record(**{"seed": 0, "recnet.gone": 3}), record(seed=0)) == []


def test_files_that_differ_are_named() -> None:
    old = record(**{"data.clips": {"a.parquet": 7, "b.parquet": 8, "c.parquet": 9}})
    new = record(**{"data.clips": {"b.parquet": 6, "c.parquet": 9, "d.parquet": 7}})
    changed = "added, removed or changed: a.parquet, b.parquet, d.parquet"
    assert texts(old, new) == [f"data.clips: 3 files of 24 bytes -> 3 files of 22 bytes; {changed}"]
    many = record(**{"data.clips": {f"{number}.parquet": 1 for number in range(9)}})
    assert texts(old, many)[0].endswith(": 0.parquet, 1.parquet, 2.parquet, 3.parquet, 4.parquet …")


def test_every_difference_is_named() -> None:
    old = record(seed=0) | {"upstream": {"prepare": "a" * 64, "dcnet": "b" * 64}}
    new = record(**{"seed": 1, "recnet.exchange_identity": False, "recnet.embedder": {"e.pt": 7}})
    new |= {"code": "2", "face_model": "e" * 64, "upstream": {"prepare": "c" * 64, "flow3d": "d" * 64}}
    assert texts(old, new) == [
        "version of the code: 1 -> 2",
        "face model: ffffffffffff… -> eeeeeeeeeeee…",
        "seed: 0 -> 1",
        "recnet.exchange_identity: true -> false",
        "recnet.embedder: none -> 1 file of 7 bytes",
        "upstream.dcnet: bbbbbbbbbbbb… -> none",
        "upstream.flow3d: none -> dddddddddddd…",
        "upstream.prepare: aaaaaaaaaaaa… -> cccccccccccc…",
    ]


def test_a_path_counts_by_the_files_that_it_names(tmp_path: Path) -> None:
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "vgg19.pth").write_bytes(b"weights")
    here, there = (run_at(tmp_path, f"dcnet.vgg19={tmp_path}/{folder}/vgg19.pth") for folder in ("here", "there"))
    assert here.settings("dcnet") == there.settings("dcnet")
    assert here.settings("dcnet")["settings"]["dcnet.vgg19"] == {"vgg19.pth": 7}
    by_path = here.settings("dcnet") | {"upstream": {}}
    by_path["settings"] = by_path["settings"] | {"dcnet.vgg19": "/elsewhere/vgg19.pth"}  # as version 0.1 recorded it
    assert texts(by_path, there.settings("dcnet") | {"upstream": {}}) == []
    (tmp_path / "there" / "vgg19.pth").write_bytes(b"others")
    assert here.settings("dcnet") != there.settings("dcnet")


@pytest.mark.parametrize("settings", [[], ["evaluation.turned=true", "reenactor=flow3d"], ["data.clips={clips}"]])
def test_stages_that_version_0_1_finished_stay_finished(tmp_path: Path, settings: list[str]) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.parquet").write_bytes(b"123")
    overrides = [setting.format(clips=tmp_path / "clips") for setting in settings]
    run = run_at(tmp_path / "run", *overrides)
    finish_all(run)
    for stage in stages(run.config):
        as_version_0_1(run, stage)
        record = manifest.read_inputs(run.folder(stage))
        assert record is not None and "seed" in record
    for stage in stages(run.config):
        assert manifest.is_done(run.folder(stage), run.inputs(stage))
    changed = run_at(tmp_path / "run", *overrides, "recnet.loss.landmark=1", "seed=3")
    record = manifest.read_inputs(run.folder("recnet"))
    assert record is not None
    assert texts(record, changed.inputs("recnet")) == ["seed: 0 -> 3", "recnet.loss.landmark: 0.0016 -> 1.0"]
