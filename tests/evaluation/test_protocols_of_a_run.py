"""``evaluation.protocols``: a run's networks are measured by published protocols, and its report shows the results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from untrained_run import configuration

from jr2net.config import Config, ProtocolConfig
from jr2net.config.evaluation import ProtocolName
from jr2net.errors import UserError
from jr2net.evaluation import evaluate
from jr2net.evaluation.protocols import PROTOCOLS, check
from jr2net.face.model import FaceModel
from jr2net.report.html import render_html
from jr2net.report.result import to_json


def with_protocols(folders: dict[str, str], *protocols: ProtocolConfig) -> Config:
    config = configuration("dcnet", folders["prepare"])
    return config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"protocols": protocols})})


def test_a_runs_report_has_the_protocols_that_are_chosen(folders: dict[str, str], procedural_model: FaceModel) -> None:
    pairs = ProtocolConfig(name="same_identity", uri=folders["turned"], settings={"pairs": 3, "draws": 100})
    answers = ProtocolConfig(name="tracking", uri=f"{folders['prepare']}/large", settings={"draws": 100})
    found = evaluate(with_protocols(folders, pairs, answers, pairs), procedural_model, folders)
    assert list(found.protocols) == ["same_identity", "tracking", "same_identity-2"]
    methods = {name: set(result.tables[0].methods) for name, result in found.protocols.items()}
    assert {"CopySource", "DCNet"} <= methods["same_identity"] and {"Zero", "RecNet", "RecAugNet"} <= methods[
        "tracking"
    ]
    tables = json.loads(to_json(found.metrics))["protocols"]["same_identity-2"]["tables"]
    assert tables["pairs"]["methods"]["DCNet"]["l1"]["value"] > 0
    page = render_html(found.metrics, protocols=found.protocols)
    assert found.protocols["tracking"].title in page and "Over so few people it is too narrow" in page


def test_the_names_of_the_configuration_are_those_of_the_protocols() -> None:
    assert list(get_args(ProtocolName)) == list(PROTOCOLS)


@pytest.mark.parametrize(
    ("name", "uri", "settings", "message"),
    [
        ("frgc", "nowhere", {}, r"evaluation\.protocols: frgc: no file or folder .*nowhere; correct its uri"),
        ("frgc", "", {"unot": "m"}, r"evaluation\.protocols: frgc: unknown key 'unot'; did you mean 'unit'\?"),
    ],
)
def test_a_wrong_choice_is_an_error_before_anything_is_made(
    tmp_path: Path, name: ProtocolName, uri: str, settings: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check([ProtocolConfig(name=name, uri=str(tmp_path / uri), settings=settings)])
