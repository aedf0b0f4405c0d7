"""Small untrained networks for the procedural face model, and the HTTP application around them without Ray."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import uvicorn
from starlette.testclient import TestClient

from jr2net.config import BackboneConfig, DCNetConfig, FaceConfig, Flow3DConfig, OptimizerConfig
from jr2net.face.load import load_face_model
from jr2net.face.model import FaceModel
from jr2net.inference.messages import Fit, ModelInfo, ReenactRequest, ReenactResult
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor
from jr2net.networks.checkpoint import save_network
from jr2net.networks.dcnet import DCNet
from jr2net.networks.flow3d.network import Flow3D
from jr2net.networks.recnet import RecNet
from serve.access import AccessControl
from serve.api import create_api
from serve.service import Service
from serve.settings import Settings, check_settings

SIZE = 64
BOX = "20,20,108,108"
CPU = torch.device("cpu")


class InProcessNetworks:
    """``Networks`` without replicas. Items are computed one by one, because batches round differently."""

    def __init__(self, reconstructor: Reconstructor, reenactor: Reenactor) -> None:
        self.reconstructor, self.reenactor = reconstructor, reenactor

    async def fit(self, crops: list[np.ndarray]) -> list[Fit]:
        return [self.reconstructor.fit([crop])[0] for crop in crops]

    async def reenact(self, requests: list[ReenactRequest]) -> list[ReenactResult]:
        return [self.reenactor.reenact([request])[0] for request in requests]

    async def describe(self) -> dict[str, ModelInfo]:
        return {"reconstruction": self.reconstructor.info, "reenactment": self.reenactor.info}


def make_photo(seed: int = 0, height: int = 128, width: int = 128, suffix: str = ".png") -> bytes:
    """An encoded photo of smooth noise."""
    noise = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), np.uint8)
    return cv2.imencode(suffix, cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC))[1].tobytes()


@pytest.fixture(scope="session")
def face_model() -> FaceModel:
    return load_face_model(FaceConfig())


def write_networks(folder: Path, model: FaceModel, seed: int, size: int = SIZE) -> dict[str, str]:
    """Saves an untrained RecNet whose outputs depend on the image, a DCNet and a flow3d; returns their folders."""
    torch.manual_seed(seed)
    recnet = RecNet(model.sizes, BackboneConfig(layers=10, width=8))
    for head in (recnet.identity, recnet.albedo, recnet.expression.linear, recnet.rotation):
        torch.nn.init.normal_(head.weight, std=0.05)
    dcnet = DCNet(
        DCNetConfig(width=8, scales=2, blocks=1, optimizer=OptimizerConfig(steps=1, batch_size=1, learning_rate=1e-3))
    )
    folders = {}
    flow3d = Flow3D(Flow3DConfig(flow_widths=(4, 8), refine_widths=(8, 8, 16), refine_blocks=1))
    for name, network in (("recnet", recnet), ("dcnet", dcnet), ("flow3d", flow3d)):
        folders[name] = str(folder / name)
        save_network(network, folders[name], {"image_size": size, "focal_ratio": 5.0}, model.digest, {})
    return folders


@pytest.fixture(scope="session")
def weights(tmp_path_factory, face_model) -> dict[str, str]:
    return write_networks(tmp_path_factory.mktemp("weights"), face_model, 0)


@pytest.fixture(scope="session")
def networks(weights, face_model) -> InProcessNetworks:
    return InProcessNetworks(
        Reconstructor.load(weights["recnet"], face_model=face_model),
        Reenactor.load_network(weights["dcnet"], face_model),
    )


@pytest.fixture
def settings(weights) -> Settings:
    return make_settings(weights)


def make_settings(weights: dict[str, str], **changes) -> Settings:
    sections = {
        name: {"weights": weights[kind]} for name, kind in (("reconstruction", "recnet"), ("reenactment", "dcnet"))
    }
    return check_settings({**sections, "authentication": "off", "detector": "off", "page": False, **changes})


def make_client(networks, model: FaceModel, settings: Settings, detector=None, digests=None) -> TestClient:
    service = Service(settings, networks, model, detector)
    return TestClient(create_api(service, AccessControl(settings.limits, digests)), raise_server_exceptions=False)


@contextmanager
def listening(service: Service) -> Iterator[tuple[str, int]]:
    """Serves in a thread of this process, without keys; yields host and port."""
    config = uvicorn.Config(
        create_api(service, AccessControl(service.settings.limits, None)), port=0, log_level="error"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    try:
        yield server.servers[0].sockets[0].getsockname()[:2]
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def client(networks, face_model, settings) -> TestClient:
    return make_client(networks, face_model, settings)
