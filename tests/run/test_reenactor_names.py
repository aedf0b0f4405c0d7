"""A reenactor has one name, that of its kind, stage, folder and section, and one title, wherever they are written."""

from __future__ import annotations

from typing import get_args

from jr2net.config import Config
from jr2net.config.gpus import TRAININGS as SCALED
from jr2net.inference.weights import REENACTMENT
from jr2net.networks.dcnet import DCNet
from jr2net.networks.flow3d.network import Flow3D
from jr2net.networks.model_card import model_card
from jr2net.report.result import for_reenactor
from jr2net.run.cascade import REENACTORS
from jr2net.run.trainings import TRAININGS

NETWORKS = {network.kind: network for network in (DCNet, Flow3D)}


def test_every_list_of_reenactors_names_the_same() -> None:
    assert tuple(NETWORKS) == REENACTORS == REENACTMENT == get_args(Config.model_fields["reenactor"].annotation)
    for name in NETWORKS:
        assert name in TRAININGS and name in SCALED and name in Config.model_fields


def test_reports_and_cards_have_the_titles_of_the_networks() -> None:
    for name, network in NETWORKS.items():
        assert for_reenactor("{reenactor} {stage}", {"reenactor": name}) == f"{network.title} {name}"
        description = {
            "kind": name,
            "architecture": {"image_size": 64},
            "face_model": "0" * 64,
            "license": "MIT",
            "trained_from": {},
            "weights_sha256": "0" * 64,
        }
        assert network.title in model_card(description, "")
