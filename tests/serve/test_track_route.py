"""``POST /v1/track``, with the networks in this process."""

from __future__ import annotations

import asyncio
import itertools
import json
from base64 import b64decode
from dataclasses import replace

import numpy as np
import pytest
from small_networks import make_client, make_photo

from jr2net.expressions.tracks import parse_csv
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.images.face_detector import Face
from jr2net.images.photo import decode_photo
from jr2net.images.video import encode_mp4
from jr2net.inference.face import FittedFace
from jr2net.inference.photo import Photo
from serve.service import Service
from serve.uploads import SPOOLED_BYTES


def detect(photo: np.ndarray) -> list[Face]:
    """A face in the middle of every image that is not black."""
    height, width = photo.shape[:2]
    points = np.stack(np.meshgrid(np.linspace(0.2, 0.8, 4), np.linspace(0.2, 0.8, 17)), -1).reshape(68, 2)
    points[36:42], points[42:48] = (0.35, 0.4), (0.65, 0.4)
    landmarks = (points * (width, height)).astype(np.float32)
    box = (0.2 * width, 0.2 * height, 0.8 * width, 0.8 * height)
    return [Face(box, 0.9, landmarks)] if photo.max() > 40 else []


@pytest.fixture
def tracking_client(networks, face_model, settings):
    return make_client(networks, face_model, settings, detector=detect)


def clip(frames: int, faceless: tuple[int, ...] = ()) -> bytes:
    images = [decode_photo(make_photo(1)) * (n not in faceless) for n in range(frames)]
    return b"".join(encode_mp4([image.astype(np.uint8) for image in images], 25, None))


def test_a_video_is_tracked(tracking_client) -> None:
    response = tracking_client.post("/v1/track", content=clip(9, faceless=(4, 5)))
    assert response.status_code == 200, response.text
    found = response.json()
    assert found["names"] == list(ARKIT_NAMES) and found["fps"] == 25 and len(found["frames"]) == 9
    assert [frame["expression"] is None for frame in found["frames"]] == [n in (4, 5) for n in range(9)]
    assert "2 of 9 frames show no face (longest gap 0.1 s)" in found["notes"] and len(found["identity"]) == 80
    large = clip(9, faceless=(4, 5)) + (SPOOLED_BYTES + 8).to_bytes(4, "big") + b"free" + bytes(SPOOLED_BYTES)
    upload = {"video": ("clip.mp4", clip(9, faceless=(4, 5)))}
    for sent in ({"files": upload}, {"files": {"video": large}}, {"content": large}):
        other = tracking_client.post("/v1/track", **sent).json()
        assert other["notes"] == found["notes"] and np.allclose(other["identity"], found["identity"], atol=1e-3)


def test_a_track_does_not_depend_on_which_fit_arrives_first(networks, face_model, settings, monkeypatch) -> None:
    def send(late: int) -> dict:
        """The track of a face that comes closer, whose fit of frame ``late`` arrives after those behind it."""
        seen, fitted, fit = itertools.count(), itertools.count(), Service.fit

        def closer(photo: np.ndarray) -> list[Face]:
            growth = 1 + 0.2 * next(seen)
            middle = np.array(photo.shape[1::-1]) / 2
            faces = detect(photo)
            points = ((face.landmarks - middle) * growth + middle for face in faces)
            return [
                replace(face, landmarks=moved.astype(np.float32)) for face, moved in zip(faces, points, strict=True)
            ]

        async def delayed(service: Service, photo: Photo) -> FittedFace:
            number = next(fitted)
            found = await fit(service, photo)
            await asyncio.sleep(0.5 * (number == late))
            return found

        monkeypatch.setattr(Service, "fit", delayed)
        client = make_client(networks, face_model, settings, detector=closer)
        found = client.post("/v1/track", content=clip(3)).json()
        monkeypatch.undo()
        return found

    in_order = send(late=-1)
    assert send(late=0) == in_order and len(in_order["frames"]) == 3


def test_other_formats(tracking_client) -> None:
    track = parse_csv(tracking_client.post("/v1/track?format=csv", content=clip(40)).content, "take.csv")
    assert len(track) == 40 and track.fps == 25
    mesh = tracking_client.post("/v1/track?format=glb&neutral=auto", content=clip(9))
    assert mesh.content[:4] == b"glTF" and mesh.headers["content-type"] == "model/gltf-binary"


def test_lines_come_frame_by_frame(tracking_client) -> None:
    response = tracking_client.post("/v1/track?format=ndjson", content=clip(9, faceless=(8,)))
    head, *frames, end = map(json.loads, response.text.splitlines())
    assert head == {"names": list(ARKIT_NAMES)} and end == {
        "done": True,
        "frames": 9,
        "frames_with_face": 8,
        "notes": ["1 of 9 frames show no face", "8 of 9 frames have a confidence below 0.5"],
    }
    assert [round(frame["seconds"], 2) for frame in frames] == [0.04 * n for n in range(9)]
    assert frames[8]["expression"] is None and len(frames[0]["expression"]) == 51


@pytest.mark.parametrize(
    ("query", "content", "status", "message"),
    [
        ("", make_photo(), 415, "video: send an MP4"),
        ("", make_photo(), 415, "; this is PNG"),
        ("?neutrl=auto", clip(2), 422, "unknown parameter 'neutrl'; known: format, smooth, neutral, files, box, face"),
        ("?format=csv&format=glb", clip(2), 422, "format: given twice"),
        ("?face=1", clip(3), 422, "none of its 3 frames shows 2 faces"),
        ("", clip(3, faceless=(0, 1, 2)), 422, "none of its 3 frames shows a face"),
        ("", clip(9)[:200], 415, "video: the file holds no video stream"),
        ("", b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\1\0\0;", 415, "; this is GIF"),
        ("?format=fbx", clip(3), 422, "format"),
        ("?format=ndjson&smooth=two-sided", clip(3), 422, "needs the whole video"),
        ("?format=ndjson&neutral=auto", clip(3), 422, "needs the whole video"),
        ("?files=csv", clip(3), 422, "files follow the lines of format=ndjson"),
        ("?format=ndjson&files=fbx", clip(3), 422, "'fbx' is none of csv, json, glb"),
        ("?neutral=soon", clip(3), 422, "neither seconds nor auto"),
        ("?neutral=9", clip(3), 422, "the video lasts 0.12 s"),
        ("?box=1,2,3", clip(3), 422, "box: give four numbers"),
        ("?face=100", clip(3), 422, "face"),
    ],
)
def test_what_cannot_be_tracked_is_a_problem(tracking_client, query: str, content: bytes, status: int, message: str):
    response = tracking_client.post(f"/v1/track{query}", content=content)
    assert response.status_code == status and message in response.json()["detail"], response.text
    assert response.headers["content-type"] == "application/problem+json"


def test_without_a_detector_there_is_no_tracking(client) -> None:
    response = client.post("/v1/track", content=clip(3))
    assert response.status_code == 422 and "needs a face detector" in response.json()["detail"]


def test_lines_are_followed_by_files(tracking_client) -> None:
    response = tracking_client.post("/v1/track?format=ndjson&files=glb,csv,json", content=clip(9, faceless=(4,)))
    lines = [json.loads(line) for line in response.text.splitlines()]
    files = {line["file"]: b64decode(line["base64"]) for line in lines if "file" in line}
    assert list(files) == ["glb", "csv", "json"] and lines[-1]["done"] and len(lines) == 1 + 9 + 3 + 1
    whole = json.loads(files["json"])
    assert whole == tracking_client.post("/v1/track", content=clip(9, faceless=(4,))).json()
    assert files["glb"][:4] == b"glTF" and len(parse_csv(files["csv"], "take.csv")) == 9
    nobody = tracking_client.post("/v1/track?format=ndjson&files=csv", content=clip(3, faceless=(0, 1, 2)))
    assert not [line for line in nobody.text.splitlines() if "file" in json.loads(line)]


def test_the_rest_is_subtracted_in_the_files_that_follow_lines(tracking_client) -> None:
    def sent(query: str) -> list[dict]:
        response = tracking_client.post(f"/v1/track?format=ndjson&files=json{query}", content=clip(9))
        return [json.loads(line) for line in response.text.splitlines()]

    as_it_is, less_rest = sent(""), sent("&neutral=0.1")
    assert as_it_is[1:10] == less_rest[1:10], "the lines are as they are"
    (file,) = (line for line in less_rest if "file" in line)
    whole = tracking_client.post("/v1/track?neutral=0.1", content=clip(9)).json()
    assert json.loads(b64decode(file["base64"])) == whole
    late = sent("&neutral=9")
    assert not [line for line in late if "file" in line]
    assert "there are no files: neutral = 9 s: the video lasts 0.36 s" in "; ".join(late[-1]["notes"]).replace(
        "video: ", ""
    )


def test_frames_of_low_confidence_are_marked(tracking_client) -> None:
    found = tracking_client.post("/v1/track", content=clip(5, faceless=(1,))).json()  # noise is no face
    assert [frame.get("doubtful", False) for frame in found["frames"]] == [n != 1 for n in range(5)]
    assert all(frame["confidence"] < 0.5 for frame in found["frames"] if frame["expression"])
    assert "4 of 5 frames have a confidence below 0.5 (the first at 0.0 s)" in "; ".join(found["notes"])
    lines = tracking_client.post("/v1/track?format=ndjson", content=clip(5)).text.splitlines()
    assert all(json.loads(line)["doubtful"] for line in lines[1:-1])
    assert json.loads(lines[-1])["notes"] == ["5 of 5 frames have a confidence below 0.5"]
