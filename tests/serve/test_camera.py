"""Camera frames over the WebSocket, with the networks in this process."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from dataclasses import replace
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from small_networks import BOX, make_client, make_photo, make_settings
from starlette.websockets import WebSocketDisconnect
from test_track_route import detect

from jr2net.face.arkit import ARKIT_NAMES
from jr2net.images.face_detector import Face
from jr2net.images.mark import is_marked
from jr2net.inference.following import LARGEST
from serve.camera import answer_frames
from serve.problems import Problem
from serve.service import Service

FRAME = make_photo(1, height=96, width=128, suffix=".jpg")
NO_FACE = cv2.imencode(".jpg", np.zeros((96, 128, 3), np.uint8))[1].tobytes()
SOURCE = {"source": base64.b64encode(make_photo()).decode(), "box": [float(side) for side in BOX.split(",")]}


@pytest.fixture
def camera_client(networks, face_model, settings):
    return make_client(networks, face_model, settings, detector=detect)


def begin(socket, **first) -> dict[str, Any]:
    socket.send_json({"camera": True, **first})
    greeting = socket.receive_json()
    assert greeting["ready"] and greeting["names"] == list(ARKIT_NAMES), greeting
    return greeting


def test_a_frame_is_answered_by_what_is_read(camera_client):
    with camera_client.websocket_connect("/v1/stream") as socket:
        begin(socket)
        socket.send_bytes(FRAME)
        answer = socket.receive_json()
        assert list(answer["expression"]) == list(ARKIT_NAMES) and (answer["width"], answer["height"]) == (128, 96)
        assert (answer["frame"], answer["dropped"], answer["picture"]) == (0, 0, False) and answer["milliseconds"] > 0
        assert len(answer["rotation"]) == len(answer["translation"]) == 3 and len(answer["landmarks"]) == 68
        assert len(answer["eyes"]["left"]) == len(answer["eyes"]["right"]) == 2 and answer["score"] == 0.9
        assert answer["camera"]["centre"] == [64, 48] and answer["camera"]["focal"] > 0
        socket.send_bytes(NO_FACE)
        assert socket.receive_json()["expression"] is None
        socket.send_bytes(FRAME)
        assert socket.receive_json()["frame"] == 2


def test_which_of_several_faces_is_followed_is_said_once(networks, face_model, settings):
    def two(image: np.ndarray) -> list[Face]:
        return [replace(face) for face in detect(image) for _ in range(2)]

    client = make_client(networks, face_model, settings, detector=two)
    with client.websocket_connect("/v1/stream") as socket:
        greeting = begin(socket, source=SOURCE["source"], face=1, camera_face=1)
        assert greeting["notes"][0] == "face 1 of 2 was taken, 0 is the largest"
        for notes in (["face 1 of 2 is followed, 0 is the largest"], None):
            socket.send_bytes(FRAME)
            assert socket.receive_json().get("notes") == notes
            socket.receive_bytes()


def test_the_mesh_lies_where_the_landmarks_are(camera_client, face_model):
    with camera_client.websocket_connect("/v1/stream") as socket:
        begin(socket, smooth=False)
        socket.send_bytes(FRAME)
        answer = socket.receive_json()
    (x, y, z), camera = answer["translation"], answer["camera"]
    origin = [camera["centre"][0] + camera["focal"] * x / z, camera["centre"][1] + camera["focal"] * y / z]
    left, top, right, bottom = answer["box"]
    assert left < origin[0] < right and top - 20 < origin[1] < bottom + 20


def test_frames_drive_a_photo(camera_client):
    with camera_client.websocket_connect("/v1/stream") as socket:
        greeting = begin(socket, **SOURCE, pose=True, relative=True)
        assert (greeting["width"], greeting["height"]) == (128, 128) and len(greeting["expression"]) == 51
        for text in (None, {"strength": 0.5, "regions": "mouth"}, {"reference": "now"}):
            if text:
                socket.send_json(text)
            socket.send_bytes(FRAME)
            assert socket.receive_json()["picture"]
            picture = socket.receive_bytes()
            assert is_marked(picture) and cv2.imdecode(np.frombuffer(picture, np.uint8), 1).shape == (128, 128, 3)


def test_the_newest_frame_wins(networks, face_model, settings):
    release = threading.Event()

    def slow(image: np.ndarray) -> list:
        release.wait(20)
        return detect(image)

    client = make_client(networks, face_model, settings, detector=slow)
    with client.websocket_connect("/v1/stream") as socket:
        begin(socket)
        for _ in range(30):
            socket.send_bytes(FRAME)
        release.set()
        answers = [socket.receive_json()]
        while answers[-1]["frame"] < 29:
            answers.append(socket.receive_json())
    assert len(answers) + answers[-1]["dropped"] == 30
    assert all(a["frame"] < b["frame"] for a, b in pairwise(answers))


@pytest.mark.parametrize(
    ("message", "status", "detail"),
    [
        (b"", 400, "frame: the file is empty"),
        (b"\xff\xd8\xff" + bytes(range(256)), 400, "frame: "),
        (FRAME[:300], 400, "frame: "),
        (b"not a picture", 415, "frame: "),
        (make_photo(height=3000, width=3000, suffix=".jpg"), 413, "pixels"),
        ("[]", 400, "a JSON object"),
        ("{", 400, "not JSON"),
        ('{"expression": {}}', 422, "unknown field 'expression'"),
        ('{"strength": 9}', 422, "strength: '9'"),
        ('{"reference": "first"}', 422, "`now`"),
    ],
)
def test_a_bad_message_is_a_problem_and_the_next_frame_is_answered(camera_client, message, status, detail):
    with camera_client.websocket_connect("/v1/stream") as socket:
        begin(socket)
        (socket.send_bytes if isinstance(message, bytes) else socket.send_text)(message)
        problem = socket.receive_json()
        assert problem["status"] == status and detail in problem["detail"], problem
        socket.send_bytes(FRAME)
        assert len(socket.receive_json()["expression"]) == 51


@pytest.mark.parametrize(
    ("messages", "status", "detail"),
    [
        ([b"\xff\xd8"], 400, "send JSON as text messages"),
        ([{"camera": 1}], 422, "camera: '1'"),
        ([{"camera": True, "smooth": "yes"}], 422, "smooth"),
        ([{"camera": True, "camera_face": -1}], 422, "camera_face"),
        ([{"camera": True, "camera_box": [1, 2]}], 422, "camera_box"),
        ([{"camera": True, "source": "*"}], 400, "source: not base64"),
        ([{"camera": True}, None, bytes(2**20)], 413, "larger than 65536 bytes"),
        ([{"camera": True}, None, {"strength": "9" * 70_000}], 413, "longer than 65536 characters"),
    ],
)
def test_what_cannot_be_served_closes_the_socket(networks, face_model, weights, messages, status, detail):
    settings = make_settings(weights, limits={"frame_bytes": 2**16})
    client = make_client(networks, face_model, settings, detector=detect)
    with client.websocket_connect("/v1/stream") as socket:
        for message in messages:
            if message is None:
                socket.receive_json()
            elif isinstance(message, bytes):
                socket.send_bytes(message)
            else:
                socket.send_text(json.dumps(message))
        problem = socket.receive_json()
        assert problem["status"] == status and detail in problem["detail"], problem
        with pytest.raises(WebSocketDisconnect):
            socket.receive_json()


def test_without_a_detector_there_are_no_frames(client):
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_json({"camera": True})
        assert "needs a face detector" in socket.receive_json()["detail"]


class _Socket:
    """A client that sends frames without end, or until it goes, and reads so many answers."""

    def __init__(self, frames: float, reads: int) -> None:
        self.frames, self.reads, self.sent = frames, reads, 0

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        self.sent += 1
        if self.sent > self.frames:
            return {"type": "websocket.disconnect", "code": 1001}
        return {"type": "websocket.receive", "bytes": FRAME}

    async def send_json(self, message: dict[str, Any]) -> None:
        self.reads -= 1
        if self.reads < 0:
            await asyncio.Event().wait()


def answer(service: Service, socket: _Socket) -> None:
    asyncio.run(asyncio.wait_for(answer_frames(socket, service, {"camera": True}, LARGEST, None), 60))  # type: ignore[arg-type]


def test_work_stops_when_the_client_goes(networks, face_model, settings):
    class Hanging:
        describe = networks.describe

        async def fit(self, crops: list[np.ndarray]) -> list:
            await asyncio.Event().wait()
            return []

        reenact = fit

    with pytest.raises(WebSocketDisconnect):
        answer(Service(settings, Hanging(), face_model, detect), _Socket(frames=50, reads=9))


def test_a_client_that_does_not_read_is_refused(networks, face_model, weights):
    settings = make_settings(weights, limits={"stream_idle_seconds": 1.0})
    socket = _Socket(frames=float("inf"), reads=1)
    with pytest.raises(Problem, match="not read within"):
        answer(Service(settings, networks, face_model, detect), socket)
    assert socket.sent > 10, "frames are received and dropped meanwhile"
