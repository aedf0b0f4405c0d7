"""A run to evaluate: a few people's clips, and untrained networks."""

from __future__ import annotations

from pathlib import Path

import torch

from jr2net.config import BackboneConfig, Config, load
from jr2net.data.shards import write_clips
from jr2net.face.model import FaceModel
from jr2net.networks.checkpoint import save_network
from jr2net.networks.dcnet import DCNet
from jr2net.networks.etnet import ETNet
from jr2net.networks.flow3d.network import Flow3D
from jr2net.networks.recaugnet import RecAugNet
from jr2net.networks.recnet import RecNet
from jr2net.studio.film import film_people

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.yaml"
PEOPLE = 3


def make_run(folder: Path, model: FaceModel) -> dict[str, str]:
    """Writes the run; returns its folders by stage, and that of people who turn their heads, ``turned``."""
    config = configuration("dcnet", folder)
    for kind in ("train", "natural", "large"):
        people = film_people(model, config.data.studio, 0, 0, PEOPLE, kind, config.image_size)
        write_clips(str(folder / "prepare" / kind / "people.parquet"), people)
    turned = film_people(model, config.data.studio, 0, 0, PEOPLE, "turned", config.image_size, mattes=True)
    write_clips(str(folder / "turned" / "people.parquet"), turned)
    torch.manual_seed(0)
    recnet, backbone = RecNet(model.sizes, config.recnet.backbone), BackboneConfig(layers=10, width=8)
    networks = {
        "recnet": recnet,
        "recaugnet": RecAugNet(recnet, ETNet(backbone)),
        "dcnet": DCNet(config.dcnet),
        "flow3d": Flow3D(config.flow3d),
    }
    for name, network in networks.items():
        save_network(network, folder / name, {"image_size": 32, "focal_ratio": 5.0}, model.digest, {})
    return {name: str(folder / name) for name in (*networks, "prepare", "turned")}


def configuration(reenactor: str, folder: str | Path) -> Config:
    small = ["flow3d.channels=4", "flow3d.depth=4", "flow3d.refine_blocks=1"]
    return load(SMOKE, [f"storage={folder}", f"reenactor={reenactor}", *small])
