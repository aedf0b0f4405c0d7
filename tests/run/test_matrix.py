"""The runs of a matrix: their settings, their storages, which of their stages are the same."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from stages import SMOKE, finish

from jr2net.config import Config, load, to_yaml
from jr2net.run import matrix
from jr2net.run.matrix import Agenda, members, remember, run_storages, same_stages
from jr2net.settings import ConfigError

VARIANTS = "matrix.variants={full: {}, Ours-L: {dcnet.conditions: no_light}, bias-0: {data.studio.detector_shrink: 0}}"


@pytest.fixture(autouse=True)
def stub_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "load_face_model", lambda face: SimpleNamespace(digest="f" * 64))


def configuration(folder: Path, *overrides: str) -> Config:
    return load(SMOKE, [f"storage={folder}", VARIANTS, "matrix.seeds=[0, 1]", *overrides])


def test_every_variant_is_run_with_every_seed(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    runs = members(config)
    assert [member.name for member in runs] == [
        f"{name}/seed-{seed}" for seed in (0, 1) for name in ("full", "Ours-L", "bias-0")
    ]
    full, no_light, _, _, _, last = (member.run.config for member in runs)
    assert full == load(SMOKE, [f"storage={tmp_path}/full/seed-0"])
    assert no_light.dcnet.conditions == "no_light" and no_light.recnet == full.recnet
    assert (last.seed, last.data.studio.detector_shrink) == (1, 0)
    assert last.storage == f"{tmp_path}/bias-0/seed-1"
    assert [member.name for member in members(config, ["bias-0"], [7])] == ["bias-0/seed-7"]


def test_a_variants_defaults_are_those_of_its_settings(tmp_path: Path) -> None:
    """The paper's generator has losses of its own, unless the file sets them."""
    config = load(SMOKE, [f"storage={tmp_path}", "matrix.variants={paper: {dcnet.generator: paper}}"])
    (member,) = members(config)
    assert member.run.config.dcnet.loss.face_emphasis == 0 and member.run.config.dcnet.adversarial_from == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("matrix.variants={}", "matrix.variants is empty: name at least one"),
        ("matrix.variants={a: {dcnet.widht: 3}}", "matrix.variants.a: unknown key 'dcnet.widht'; did you mean 'width'"),
        ("matrix.variants={a: {dcnet.width: 3}}", "matrix.variants.a: dcnet.width = 3: Input should be greater than"),
        ("matrix.variants={a: {seed.b: 3}}", "a: seed.b: a variant has no seed of its own; set it for all"),
        ("matrix.variants={a: {storage: /x}}", "a: storage: a variant has no storage of its own"),
        ("matrix.variants={a/b: {}}", "'a/b' is the name of a folder too"),
        ("matrix.variants={a: {image_size.b: 3}}", "matrix.variants.a: image_size.b: 'image_size' is a value"),
        ("matrix.seeds=[1, 1]", "give each seed once, and none below 0"),
        ("matrix.seeds=[-1]", "give each seed once, and none below 0"),
        ("matrix.sedes=[1]", "unknown key 'matrix.sedes'; did you mean 'seeds'?"),
    ],
)
def test_a_matrix_that_cannot_be_run_is_one_error(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        members(load(SMOKE, [f"storage={tmp_path}", override]))
    assert message in str(caught.value)


def test_a_variant_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no variant is called 'Ours-X'; there are full, Ours-L, bias-0"):
        members(configuration(tmp_path), ["Ours-X"])


def test_the_matrix_changes_no_run(tmp_path: Path) -> None:
    """A run's configuration does not have it, and no stage depends on it."""
    config = configuration(tmp_path)
    assert "variants: {}" in to_yaml(members(config)[0].run.config)


def test_stages_are_the_same_where_their_settings_and_all_that_they_use_are(tmp_path: Path) -> None:
    runs = members(configuration(tmp_path, "matrix.seeds=[0]"))
    same = same_stages(runs)
    full, no_light, bias = (member.name for member in runs)
    for stage in ("prepare", "recnet"):
        assert same[full, stage] == same[no_light, stage] != same[bias, stage]
    for stage in ("dcnet", "synthesis", "etnet", "recaugnet", "evaluation"):
        assert len({same[name, stage] for name in (full, no_light, bias)}) == 3
    assert len(same[full, "evaluation"]) == 64


def test_the_agenda_counts_every_stage_once(tmp_path: Path) -> None:
    runs = members(configuration(tmp_path))
    minutes = dict.fromkeys(("prepare", "recnet", "dcnet", "synthesis", "etnet", "recaugnet", "evaluation"), 1.0)
    agenda = Agenda(runs, minutes)
    assert agenda.summary() == "6 runs have 42 stages, 38 of them different; 38 to make, about 38 min 0 s"
    full, no_light = runs[0], runs[1]
    assert agenda.next(full, "prepare") == "1 of 38, full, seed 0: prepare"
    assert agenda.next(no_light, "dcnet") == "8 of 38, Ours-L, seed 0: dcnet"
    assert agenda.seconds_after(full, "prepare") == 37 * 60
    agenda.finished(full, "prepare", 120.0)
    assert agenda.next(no_light, "prepare") is None
    assert agenda.seconds_after(full, "recnet") == 2 * 36 * 60, "twice as slow as expected"
    assert agenda.seconds_after(runs[-1], "evaluation") == 0


def test_what_has_been_made_is_not_on_the_agenda(tmp_path: Path) -> None:
    runs = members(configuration(tmp_path))
    finish(runs[0].run, "prepare")
    agenda = Agenda(runs, {})
    assert agenda.summary() == "6 runs have 42 stages, 38 of them different; 37 to make"
    assert agenda.next(runs[0], "prepare") is None and agenda.next(runs[1], "prepare") is None
    assert agenda.next(runs[2], "prepare") == "12 of 37, bias-0, seed 0: prepare"
    assert agenda.seconds_after(runs[0], "recnet") is None


def test_all_runs_that_were_ever_begun_are_remembered(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    remember(config, members(config, ["bias-0"], [0]))
    remember(config, members(config, ["full"]))
    names = ["bias-0/seed-0", "full/seed-0", "full/seed-1"]
    assert run_storages(config) == [f"{tmp_path}/{name}" for name in names]
