"""Networks of a run that refers to the stages of another, and of one that lacks a network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from jr2net.evaluation.bench import Cascade
from jr2net.evaluation.protocols.protocol import SHIPPED, ProtocolError, Systems
from jr2net.face.model import FaceModel
from jr2net.inference.reenactment import Reenactor
from jr2net.inference.weights import checkpoint_folder
from jr2net.storage.elsewhere import ELSEWHERE


@pytest.fixture
def member(folders: dict[str, str], tmp_path: Path) -> Path:
    """A run that has made its RecAugNet, and refers to another's RecNet and DCNet."""
    run = tmp_path / "ours" / "seed-0"
    for stage in ("recnet", "dcnet"):
        shutil.copytree(folders[stage], tmp_path / "full" / "seed-0" / stage)
        (run / stage).mkdir(parents=True)
        (run / stage / ELSEWHERE).write_text(json.dumps({"folder": f"../../../full/seed-0/{stage}"}))
    shutil.copytree(folders["recaugnet"], run / "recaugnet")
    return run


def made_by(member: Path) -> Path:
    """The run that a member refers to."""
    return member.parents[1] / "full" / "seed-0"


def loaded(monkeypatch: pytest.MonkeyPatch, weights: str, model: FaceModel) -> dict[str, str]:
    """The folders that the one reenactor of the weights is loaded from."""
    found: list[dict[str, str]] = []
    load = Cascade.load
    monkeypatch.setattr(Cascade, "load", lambda folders, *rest: found.append(folders) or load(folders, *rest))
    Systems((weights,), face_model=model).cascades()
    return found[0]


def test_the_faces_are_those_of_the_recnet_that_is_referred_to(
    member: Path, procedural_model: FaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = made_by(member)
    assert loaded(monkeypatch, str(member), procedural_model) == {
        "recnet": str(made / "recnet"),
        "recaugnet": str(member / "recaugnet"),
        "dcnet": str(made / "dcnet"),
    }
    assert list(Systems((str(member),), face_model=procedural_model).reconstructors()) == ["RecNet", "RecAugNet"]


def test_a_reference_is_followed_from_the_run_and_from_the_stage(member: Path, procedural_model: FaceModel) -> None:
    dcnet = str(made_by(member) / "dcnet")
    for weights in (member, member / "dcnet"):
        assert checkpoint_folder(weights, ("dcnet",)) == dcnet
        reenactor = Reenactor.load(weights, face_model=procedural_model)
        assert reenactor.reconstructor is not None and reenactor.reconstructor.info.kind == "recaugnet"


def test_without_its_recnet_a_reenactor_is_not_measured(member: Path, procedural_model: FaceModel) -> None:
    shutil.rmtree(made_by(member) / "recnet")
    with pytest.raises(ProtocolError, match=r"seed-0/recnet: there is no model\.json of RecNet"):
        Systems((str(member),), face_model=procedural_model).cascades()


def test_every_network_of_table_4_is_measured_under_its_name(member: Path, procedural_model: FaceModel) -> None:
    for stage, like in (("reccopynet", member / "recaugnet"), ("baseline", made_by(member) / "recnet")):
        shutil.copytree(like, member / stage)
    whole = Systems((str(member),), face_model=procedural_model)
    part = Systems((str(member / "reccopynet"), str(member)), face_model=procedural_model)
    assert list(whole.reconstructors()) == ["RecNet", "RecCopyNet", "Baseline", "RecAugNet"]
    assert list(part.reconstructors())[:2] == ["RecCopyNet (reccopynet)", "RecNet (seed-0)"]


def test_runs_of_a_matrix_are_told_apart(member: Path, procedural_model: FaceModel) -> None:
    systems = Systems((f"{made_by(member)}/", str(member)), face_model=procedural_model)
    assert list(systems.reconstructors()) == ["RecNet (full/seed-0)", "RecNet (ours/seed-0)", "RecAugNet (ours/seed-0)"]


def test_the_shipped_reenactors_take_the_faces_of_recaugnet(
    procedural_model: FaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = loaded(monkeypatch, SHIPPED, procedural_model)
    assert found["recnet"] == found["recaugnet"]
