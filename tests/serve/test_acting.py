"""Generated videos and the WebSocket, with the networks in this process."""

from __future__ import annotations

import base64
import io
import json

import av
import cv2
import numpy as np
import pytest
from PIL import Image
from small_networks import BOX, make_client, make_photo, make_settings
from starlette.websockets import WebSocketDisconnect

from jr2net.expressions.live_link import to_csv
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.images.face_detector import Face
from jr2net.images.mark import SOURCE_TYPE, is_marked
from jr2net.images.photo import decode_photo
from jr2net.images.sound import Sound
from jr2net.images.video import encode_mp4
from jr2net.images.video_notes import read_notes
from serve.access import AccessControl

FACES = [Face((20.0, 20.0, 108.0, 108.0))]


def capture(frames: int, fps: int = 30) -> bytes:
    """A Live Link Face CSV in which the jaw opens."""
    lines = ["Timecode," + ",".join(name[:1].upper() + name[1:] for name in ARKIT_NAMES)]
    for n in range(frames):
        values = ["0.0"] * len(ARKIT_NAMES)
        values[ARKIT_NAMES.index("jawOpen")] = str(n / frames)
        lines.append(f"00:00:{n // fps:02}:{n % fps:02}.0," + ",".join(values))
    return "\n".join(lines).encode()


def clip(frames: int, faceless: tuple[int, ...] = (), sound: Sound | None = None) -> bytes:
    """A driving video; frames without a face are black."""
    images = [decode_photo(make_photo(1)) * (n not in faceless) for n in range(frames)]
    return b"".join(encode_mp4([image.astype(np.uint8) for image in images], 25, None, sound))


def noise() -> bytes:
    """An MP4 of a second of sound alone."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16000)
        stream.layout = "mono"
        samples = np.random.default_rng(0).normal(0, 0.1, (1, 16000)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = 16000
        for part in (*stream.encode(frame), *stream.encode(None)):
            container.mux(part)
    return out.getvalue()


def moving(frames: int, kind: str = "GIF") -> bytes:
    out = io.BytesIO()
    first, *others = (Image.fromarray(np.full((128, 128, 3), 90 + 20 * n, np.uint8)) for n in range(frames))
    first.save(out, kind, save_all=True, append_images=others, duration=40)
    return out.getvalue()


def detect(photo: np.ndarray) -> list[Face]:
    """A detector that finds a face in every image that is not black."""
    return FACES if photo.max() > 40 else []


@pytest.fixture
def detecting_client(networks, face_model, settings):
    return make_client(networks, face_model, settings, detector=detect)


def request_video(client, driving: bytes, **data):
    files = {"source": ("a.png", make_photo(height=150, width=201)), "driving": ("b", driving)}
    return client.post("/v1/reenact/video", files=files, data={"box": BOX, **data})


def frames_of(response) -> list[np.ndarray]:
    assert response.status_code == 200 and response.headers["content-type"] == "video/mp4", response.text[:300]
    with av.open(io.BytesIO(response.content), "r", format="mp4") as container:
        assert SOURCE_TYPE in container.metadata["comment"]
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_capture_drives_a_photo(client):
    frames = frames_of(request_video(client, capture(12)))
    assert len(frames) == 12 and frames[0].shape == (150, 200, 3)
    assert (
        np.abs(frames[0].astype(int) - frames[-1])[20:108, 20:108].mean()
        > np.abs(frames[0].astype(int) - frames[-1])[:, 150:].mean()
    )


def test_a_capture_that_holds_the_head_turns_it(client):
    rotation = np.zeros((4, 3))
    rotation[:, 1] = [0, 0.2, 0.4, 0.6]
    turning = to_csv(np.zeros((4, 51), np.float32), rotation, np.arange(4) / 30, 30.0)
    still, turned = (frames_of(request_video(client, turning, pose=pose)) for pose in ("false", "true"))
    assert np.abs(turned[3].astype(int) - turned[0]).mean() > 2 * np.abs(still[3].astype(int) - still[0]).mean()
    assert "light: a capture drives the expression and head" in request_video(client, turning, light="true").text


def test_fast_captures_are_subsampled(client):
    assert len(frames_of(request_video(client, capture(66, fps=60)))) == 33


def test_a_video_drives_a_photo(detecting_client):
    assert len(frames_of(request_video(detecting_client, clip(10)))) == 10
    assert (
        len(
            frames_of(
                request_video(detecting_client, clip(6), pose="true", light="true", relative="true", smooth="false")
            )
        )
        == 6
    )


def test_the_face_of_a_driving_video_is_chosen(networks, face_model, settings):
    """Two faces, of which the smaller one drives; an animated GIF counts as a video."""
    two = [Face((60.0, 20.0, 120.0, 80.0)), Face((10.0, 30.0, 50.0, 70.0))]
    client = make_client(networks, face_model, settings, detector=lambda image: two)
    for content in (clip(4), moving(4)):
        response = request_video(client, content, driving_face="1")
        assert len(frames_of(response)) == 4
        assert "; face 1 of 2 is followed, 0 is the largest" in response.headers["X-Capture-Notes"]
    boxed = request_video(client, clip(4), driving_box="10,30,50,70")
    assert len(frames_of(boxed)) == 4 and "is followed" not in boxed.headers["X-Capture-Notes"]
    assert request_video(client, moving(1)).status_code == 415


def test_a_silent_video_takes_the_sound_of_its_driving(detecting_client):
    for silent, loud in (("source", "driving"), ("driving", "source")):
        files = {silent: ("a", clip(6)), loud: ("b", clip(8, sound=Sound(noise())))}
        response = detecting_client.post("/v1/reenact/video", files=files)
        with av.open(io.BytesIO(response.content), "r", format="mp4") as container:
            assert len(container.streams.audio) == 1
            assert 0.2 < sum(frame.samples for frame in container.decode(audio=0)) / 16000 < 0.5


def test_a_video_acts_at_its_own_length(detecting_client):
    def act(driving: bytes | None, source: bytes, **data):
        files = {"source": ("a", source)} | ({"driving": ("b", driving)} if driving else {})
        return detecting_client.post("/v1/reenact/video", files=files, data=data)

    source = clip(7, faceless=(0, 3))
    acted = act(capture(3), source, regions="mouth")
    assert len(frames_of(acted)) == 7
    assert "source: 2 of 7 frames show no face and stay as they are" in read_notes(acted.content)
    assert len(frames_of(act(clip(12), source, relative="true", reference="neutral"))) == 7
    frames = frames_of(act(None, source, expression='{"jawOpen": 0.8}', yaw="10"))
    assert len(frames) == 7 and frames[0].max() < 20 and frames[3].max() < 20  # as they were
    for response, detail in [
        (act(None, source), "or turn the head"),
        (act(capture(3), source, expression="{}"), "either expression"),
        (act(None, make_photo(), expression="{}"), "expression: drives a video"),
        (act(capture(3), source, face="1"), "source: none of its 7 frames shows 2 faces"),
        (act(capture(3), source, driving_face="1"), "driving_face and driving_box choose the face of a driving video"),
        (act(clip(2), source, driving_face="1"), "driving: none of its 2 frames shows 2 faces"),
        (act(capture(3), clip(2, faceless=(0, 1))), "source: none of its 2 frames shows a face"),
        (act(None, source, expression="{}", pose="true"), "pose: named coefficients drive the expression alone"),
    ]:
        assert response.status_code == 422 and detail in response.json()["detail"], response.text[:300]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
def test_a_picture_that_moves_is_a_source_a_driving_and_a_photo(detecting_client, kind):
    assert len(frames_of(request_video(detecting_client, moving(4, kind)))) == 4
    files = {"source": ("a", moving(4, kind)), "driving": ("b", capture(9))}
    assert len(frames_of(detecting_client.post("/v1/reenact/video", files=files))) == 4
    tracked = detecting_client.post("/v1/track", content=moving(4, kind))
    assert tracked.status_code == 200 and len(tracked.json()["frames"]) == 4, tracked.text[:300]
    fields = {"expression": '{"jawOpen": 0.5}'}
    photo = detecting_client.post("/v1/reenact", files={"source": moving(4, kind)}, data=fields)
    assert "source: the first of its 4 images was taken" in photo.headers["X-Capture-Notes"]
    still = detecting_client.post("/v1/track", content=moving(1, kind))
    assert still.status_code == 415


def test_frames_without_a_face_are_held_and_said(detecting_client):
    late = request_video(detecting_client, clip(40, faceless=(32, 33)))
    assert len(frames_of(late)) == 40 and "show no face" not in late.headers["X-Capture-Notes"]  # not known yet
    assert read_notes(late.content)[1] == "2 of 40 frames show no face; the face before is held"
    begins_late = request_video(detecting_client, clip(6, faceless=(0, 1)))
    assert len(frames_of(begins_late)) == 6 and "no face" in begins_late.headers["X-Capture-Notes"]
    refused = request_video(detecting_client, clip(4, faceless=(0, 1, 2, 3)))
    assert refused.status_code == 422 and "driving: none of its 4 frames shows a face" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("driving", "data", "status", "detail"),
    [
        (b"", {}, 422, "driving: send a video"),
        (capture(0), {}, 422, "no frames"),
        (b"Timecode,JawOpen\n0,0", {}, 422, "missing"),
        (b"\0\1\2\3\4\5\6\7\x8f", {}, 415, "not a CSV"),
        (make_photo(), {}, 415, "is a photo (PNG); send it to /v1/reenact"),
        (capture(9), {"pose": "true"}, 422, "a capture drives the expression alone"),
        (capture(9), {"regions": "pose"}, 422, "pose: a capture drives the expression alone"),
        (capture(9), {"reference": "5"}, 422, "reference: 5 s lies beyond the driving's end; it lasts 0.30 s"),
        (clip(5), {"relative": "true", "reference": "9"}, 422, "reference: 9.0 s lies beyond the driving's end"),
        (clip(5), {"reference": "last"}, 422, "reference: 'last' is unknown; give first, neutral"),
        (capture(400), {}, 413, "cut it to 10 s"),
        (clip(3)[:900], {}, 400, "damaged"),
        (capture(3), {"speed": "2"}, 422, "unknown field 'speed'"),
    ],
)
def test_invalid_driving_files_are_rejected_before_the_video_starts(
    networks, face_model, weights, driving, data, status, detail
):
    client = make_client(networks, face_model, make_settings(weights, limits={"video_seconds": 10}), detector=detect)
    response = request_video(client, driving, **data)
    assert response.status_code == status, response.text
    assert detail in response.json()["detail"]


def lossy_capture() -> bytes:
    """A capture of 12 frames, of which four show no face, with a column that is no blendshape."""
    header, *lines = capture(12).decode().splitlines()
    lines[4:8] = [line.split(",")[0] + "," for line in lines[4:8]]
    return "\n".join([header + ",Fröhlich", *(line + ",0" if line.count(",") > 1 else line for line in lines)]).encode()


def test_frames_without_a_face_are_bridged_and_said(client):
    response = request_video(client, lossy_capture())
    assert len(frames_of(response)) == 12
    notes = response.headers["x-capture-notes"]
    assert "ignored columns: Fr?hlich; " in notes and "of 12 frames, 4 show no face" in notes
    nothing_said = request_video(client, capture(40)).headers["x-capture-notes"]
    assert nothing_said.startswith("source: the confidence is low") and "; " not in nothing_said


def test_a_capture_is_returned_frame_by_frame(client):
    answer = client.post("/v1/capture", content=lossy_capture(), headers={"Content-Type": "text/csv"})
    document = answer.json()
    assert answer.status_code == 200 and document["names"] == list(ARKIT_NAMES) and document["fps"] == 30
    jaw = [frame[ARKIT_NAMES.index("jawOpen")] for frame in document["frames"]]
    assert jaw == pytest.approx([n / 12 for n in range(12)], abs=1e-4)
    assert any("4 show no face" in note for note in document["notes"])
    for content, status in ((b"Timecode,JawOpen\n0,0", 422), (make_photo(), 415), (b"", 400)):
        assert client.post("/v1/capture", content=content).status_code == status


def test_the_stream_takes_the_face_that_is_chosen(networks, face_model, settings):
    faces = [Face((10, 10, 60, 60)), Face((80, 80, 120, 120))]
    client = make_client(networks, face_model, settings, detector=lambda photo: faces)
    source = base64.b64encode(make_photo()).decode()
    for face, answer in ((1, "ready"), (2, "face 2 was requested"), ("x", "not an index")):
        with client.websocket_connect("/v1/stream") as socket:
            socket.send_text(json.dumps({"source": source, "face": face}))
            assert answer in json.dumps(socket.receive_json())


def first_message(**more) -> str:
    box = [float(value) for value in BOX.split(",")]
    return json.dumps({"source": base64.b64encode(make_photo()).decode(), "box": box, **more})


def test_the_socket_returns_an_image_for_every_expression(client):
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_text(first_message())
        greeting = socket.receive_json()
        assert greeting["ready"] and (greeting["width"], greeting["height"]) == (128, 128)
        assert list(greeting["expression"]) == list(ARKIT_NAMES)
        assert greeting["confidence"] < 0.1 and greeting["notes"][0].startswith("the confidence is low (0.0")
        images = []
        for value in (0.0, 0.5, 0.0):
            socket.send_json({"expression": {"jawOpen": value}})
            images.append(socket.receive_bytes())
        assert images[0] == images[2] and is_marked(images[1])
        assert cv2.imdecode(np.frombuffer(images[1], np.uint8), 1).shape == (128, 128, 3)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("{", 400),
        ("[]", 400),
        ("{}", 422),
        ('{"expression": {"jaw": 1}}', 422),
        ('{"expression": {"jawOpen": NaN}}', 422),
        ('{"expression": {}, "source": ""}', 422),
    ],
)
def test_an_invalid_message_returns_a_problem_and_keeps_the_socket_open(client, message, status):
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_text(first_message())
        socket.receive_json()
        socket.send_text(message)
        assert socket.receive_json()["status"] == status
        socket.send_json({"expression": {}})
        assert socket.receive_bytes()[:2] == b"\xff\xd8"


@pytest.mark.parametrize(
    ("message", "status", "code"),
    [
        ("hello", 400, 1007),
        ("{}", 422, 1007),
        ('{"source": "*"}', 400, 1007),
        ('{"source": "AAAA"}', 415, 1007),
        (first_message(box=[1, 2, 3]), 422, 1007),
        (first_message(box=[1, 2, 3, "x"]), 422, 1007),
    ],
)
def test_an_invalid_first_message_closes_the_socket(client, message, status, code):
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_text(message)
        assert socket.receive_json()["status"] == status
        with pytest.raises(WebSocketDisconnect) as ended:
            socket.receive_json()
        assert ended.value.code == code


def test_the_socket_requires_a_key(networks, face_model, settings, monkeypatch):
    monkeypatch.setenv("JR2NET_API_KEYS", "open-sesame")
    digests = AccessControl.from_environment(settings.limits, "bearer").digests
    client = make_client(networks, face_model, settings, digests=digests)
    for key, status in (("wrong", 401), (None, 401), ("open-sesame", None)):
        with client.websocket_connect("/v1/stream") as socket:
            socket.send_text(first_message(**({"key": key} if key else {})))
            assert socket.receive_json().get("status") == status
