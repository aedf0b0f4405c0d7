import json
import socket
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import cv2
import numpy as np
import pytest
import ray
import torch
from pydantic import ValidationError
from ray import serve
from starlette.requests import Request

from jr2net.config import BackboneConfig, FaceConfig
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.load import load_face_model
from jr2net.networks.checkpoint import save_network
from jr2net.networks.recnet import RecNet
from serve import app


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    model = load_face_model(FaceConfig())
    folder = tmp_path_factory.mktemp("recnet")
    torch.manual_seed(0)
    save_network(
        RecNet(model.sizes, BackboneConfig(layers=10, width=8)),
        folder,
        {"image_size": 64, "focal_ratio": 5.0},
        model.digest,
        {},
    )
    return folder


@pytest.fixture(scope="module")
def replica(network):
    return app.Reconstruction.func_or_class(app.Settings(network=str(network)).model_dump())


def _picture(height: int = 64, width: int = 64, suffix: str = ".png") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    return cv2.imencode(suffix, pixels)[1].tobytes()


def _send(replica, body: bytes, method: str = "POST"):
    """The answer to a request that needs no batch: it runs to its end without waiting for anything."""

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        replica(Request({"type": "http", "method": method}, receive)).send(None)
    except StopIteration as finished:
        return finished.value
    raise AssertionError("it waits for a batch")


def test_a_face_becomes_named_coefficients(replica):
    (answer,) = replica.fit([app.decode(_picture(), 64)])
    assert list(answer["expression"]) == list(ARKIT_NAMES)
    assert all(0 <= value <= 1 for value in answer["expression"].values())
    assert len(answer["rotation"]) == len(answer["translation"]) == 3
    json.dumps(answer)


def test_what_comes_together_is_answered_as_if_alone(replica):
    pictures = [app.decode(_picture(size, 80, ".jpg"), 64) for size in (50, 64, 90)]
    together = replica.fit(pictures)
    for picture, other in zip(pictures, together, strict=True):
        (one,) = replica.fit([picture])
        assert one["expression"] == pytest.approx(other["expression"], abs=1e-5)


@pytest.mark.parametrize("body", [b"", b"not a picture"])
def test_what_is_no_picture_is_refused(replica, body):
    response = _send(replica, body)
    assert response.status_code == 400
    assert b"JPEG" in response.body


def test_other_methods_and_large_bodies_are_refused(replica, monkeypatch):
    assert _send(replica, b"", method="GET").status_code == 405
    monkeypatch.setattr(app, "MAX_BODY_BYTES", 10)
    assert _send(replica, _picture()).status_code == 413


def test_pictures_become_squares_in_rgb():
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, :20] = 255  # outside the middle square
    pixels[:, 20:60, 2] = 255  # red, in OpenCV's order
    decoded = app.decode(cv2.imencode(".png", pixels)[1].tobytes(), 32)
    assert decoded.shape == (3, 32, 32)
    assert torch.equal(decoded[0], torch.ones(32, 32))
    assert decoded[1:].max() == 0


def test_an_unknown_setting_is_refused():
    with pytest.raises(ValidationError, match="netwerk"):
        app.Settings(netwerk="x", network="y")


@pytest.mark.parametrize("arguments", [[], ["network"], ["network=x", "netwerk=y"]])
def test_a_wrong_command_line_is_explained(arguments, capsys):
    assert app.main(arguments) == 1
    assert "usage: python serve/app.py network=FOLDER" in capsys.readouterr().err


@pytest.mark.drill
def test_over_http(network, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OMP_NUM_THREADS": "1",
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",  # a busy machine takes more than the usual 5 s
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "60",
    }
    ray.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": environment})
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(app.build(app.Settings(network=str(network))), route_prefix="/reconstruct")
        with urlopen(f"http://127.0.0.1:{port}/reconstruct", data=_picture(), timeout=30) as response:
            assert list(json.load(response)["expression"]) == list(ARKIT_NAMES)
        with pytest.raises(HTTPError, match="400"):
            urlopen(f"http://127.0.0.1:{port}/reconstruct", data=b"not a picture", timeout=30)
    finally:
        serve.shutdown()
        ray.shutdown()
