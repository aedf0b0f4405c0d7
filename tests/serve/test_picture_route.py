"""``POST /v1/picture``, with the networks in this process."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image
from small_networks import make_client, make_photo
from test_track_route import clip, detect

from jr2net.images.photo import decode_photo


@pytest.fixture
def finding_client(networks, face_model, settings):
    return make_client(networks, face_model, settings, detector=detect)


def picture(client, content: bytes) -> np.ndarray:
    response = client.post("/v1/picture", content=content)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/jpeg"
    return decode_photo(response.content)


def test_photos_that_browsers_do_not_show_become_jpegs(finding_client) -> None:
    shown = decode_photo(make_photo(1))
    for kind in ("TIFF", "PNG", "JPEG2000"):
        file = io.BytesIO()
        Image.fromarray(shown).save(file, kind)
        assert np.abs(picture(finding_client, file.getvalue()).astype(int) - shown).mean() < 6


def test_of_a_video_the_first_frame_with_a_face_is_shown(finding_client, client) -> None:
    video = clip(6, faceless=(0, 1))
    assert picture(finding_client, video).mean() > 40
    assert picture(client, video).mean() < 10  # without a detector the first frame


def test_the_faces_of_a_video_are_told(finding_client, client) -> None:
    video = clip(6, faceless=(0, 1))
    told = finding_client.post("/v1/picture", content=video).headers["x-face-boxes"]
    assert json.loads(told) == [[25.6, 25.6, 102.4, 102.4]]
    assert "x-face-boxes" not in client.post("/v1/picture", content=video).headers
    assert "x-face-boxes" not in finding_client.post("/v1/picture", content=make_photo()).headers


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"no picture", 415, "picture:"),
        (make_photo(1)[:300], 400, "damaged or truncated"),
        (clip(3, faceless=(0, 1, 2)), 422, "none of its 3 frames shows a face"),
        (clip(9)[:200], 415, "no video stream"),
        (b"", 400, "empty"),
    ],
)
def test_what_is_no_picture_is_a_problem(finding_client, content: bytes, status: int, message: str) -> None:
    response = finding_client.post("/v1/picture", content=content)
    assert response.status_code == status and message in response.json()["detail"], response.text
    assert response.headers["content-type"] == "application/problem+json"
