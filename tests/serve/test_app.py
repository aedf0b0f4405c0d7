import asyncio
import json

import cv2
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from starlette.requests import Request

from jr2net.config import BackboneConfig, FaceConfig
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.load import load_face_model
from jr2net.networks.checkpoint import save_network
from jr2net.networks.recnet import RecNet
from serve import app


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """The deployment's own class, without a cluster around it."""
    model = load_face_model(FaceConfig())
    folder = tmp_path_factory.mktemp("recnet")
    torch.manual_seed(0)
    network = RecNet(model.sizes, BackboneConfig(layers=10, width=8))
    save_network(network, folder, {"image_size": 64, "focal_ratio": 5.0}, model.digest, {})
    return app.Reconstruction.func_or_class(app.Settings(network=str(folder)).model_dump())


def _picture(height: int = 64, width: int = 64, suffix: str = ".png") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    return cv2.imencode(suffix, pixels)[1].tobytes()


def _send(service, *bodies: bytes, method: str = "POST"):
    async def receive_of(body):
        return {"type": "http.request", "body": body, "more_body": False}

    async def all_of_them():
        requests = [Request({"type": "http", "method": method}, lambda body=body: receive_of(body)) for body in bodies]
        return await asyncio.gather(*(service(request) for request in requests))

    return asyncio.run(all_of_them())


def test_a_face_becomes_named_coefficients(service):
    (response,) = _send(service, _picture())
    assert response.status_code == 200
    answer = json.loads(response.body)
    assert list(answer["expression"]) == list(ARKIT_NAMES)
    assert all(0 <= value <= 1 for value in answer["expression"].values())
    assert len(answer["rotation"]) == len(answer["translation"]) == 3


def test_what_comes_together_is_answered_as_if_alone(service):
    alone = [_send(service, _picture(size, 80, ".jpg"))[0].body for size in (50, 64, 90)]
    together = _send(service, *(_picture(size, 80, ".jpg") for size in (50, 64, 90)))
    for one, other in zip(alone, together, strict=True):
        a, b = (list(json.loads(body)["expression"].values()) for body in (one, other.body))
        assert np.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("body", [b"", b"not a picture"])
def test_what_is_no_picture_is_refused(service, body):
    (response,) = _send(service, body)
    assert response.status_code == 400
    assert b"JPEG" in response.body


def test_other_methods_and_large_bodies_are_refused(service, monkeypatch):
    assert _send(service, b"", method="GET")[0].status_code == 405
    monkeypatch.setattr(app, "MAX_BODY_BYTES", 10)
    assert _send(service, _picture())[0].status_code == 413


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
