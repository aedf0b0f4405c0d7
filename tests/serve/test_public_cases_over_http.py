"""Cases of public reports (``cases/`` of the real ground), over HTTP: each is read as meant, or its fault named."""

from __future__ import annotations

import io
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from small_networks import InProcessNetworks, make_client, make_photo, make_settings
from starlette.testclient import TestClient

from jr2net.expressions.tracks import parse_csv
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.images.face_detector import load_face_detector
from jr2net.images.video_notes import read_notes
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor

JAW = ARKIT_NAMES.index("jawOpen")

CAPTURES = {
    "68_emotion_columns": (4.0, "ignored columns: Angry, Disgusted, Fearful, Happy, Neutral and 2 more"),
    "dropped_frames_30pct": (3.94, "67 are missing"),
    "excel_german_semicolon_comma": (4.0, ""),
    "ff_up_to_29_at_60fps_repeated": (4.0, ""),
    "good_60fps": (4.0, ""),
    "mediapipe_names_with_neutral": (8.0, "frames are numbered but not timed: 30 a second are assumed"),
    "milliseconds_timestamp": (9.6, ""),
    "prefixed_nvidia_style": (8.0, ""),
    "scale_0_100": (4.0, "divided by 100"),
    "scale_0_255_int": (4.0, "divided by 255"),
    "seconds_as_time": (9.6, ""),
    "tracking_lost_rows": (4.0, "of 240 frames, 40 show no face"),
}
"""Seconds, and a note; empty: none."""


@pytest.fixture(scope="module")
def cases(real_ground: Path) -> Path:
    folder = real_ground / "cases"
    if not folder.is_dir():
        pytest.skip(f"no public cases: {folder} does not exist")
    return folder


@pytest.fixture(scope="module")
def client(networks, face_model, weights) -> TestClient:
    return make_client(networks, face_model, make_settings(weights), detector=load_face_detector("own"))


@pytest.mark.parametrize("name", CAPTURES)
def test_captures(client: TestClient, cases: Path, name: str) -> None:
    seconds, note = CAPTURES[name]
    answer = client.post("/v1/capture", content=(cases / "csv" / f"{name}.csv").read_bytes()).json()
    assert len(answer["frames"]) / answer["fps"] == pytest.approx(seconds, abs=0.01)
    assert note in "; ".join(answer["notes"]) and (note or not answer["notes"])
    assert 0.8 < np.max(answer["frames"]) < 0.9


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("exif_1.jpg", 200, ""),
        ("float_1020.tif", 200, "0 was read as black and 1023 as white"),
        ("grey16_12bit_range.png", 200, "0 was read as black and 4095 as white"),
        ("noise_no_face.png", 422, "no face was found"),
        ("sideways_no_exif.jpg", 200, ""),
        ("tight_no_forehead.jpg", 200, "the confidence is low (0.0"),
        ("two_small_left_big_right.jpg", 200, ""),
    ],
)
def test_photos(client: TestClient, cases: Path, name: str, status: int, words: str) -> None:
    content = (cases / "img" / name).read_bytes()
    response = client.post("/v1/reconstruct", content=content)
    assert response.status_code == status, response.text[:300]
    assert words in response.text
    picture = client.post("/v1/picture", content=content)
    if name in ("float_1020.tif", "grey16_12bit_range.png"):
        assert cv2.imdecode(np.frombuffer(picture.content, np.uint8), 0).mean() == pytest.approx(109, abs=8)


def test_several_faces(client: TestClient, cases: Path) -> None:
    content = (cases / "img" / "two_small_left_big_right.jpg").read_bytes()
    answers = [client.post(f"/v1/reconstruct?face={face}", content=content).json() for face in (0, 1)]
    large, small = (answer["faces"][0] for answer in answers)
    assert large["faces_found"] == 2 and large["box"][0] > small["box"][2], "the large one stands on the right"


def test_heic_is_read_or_named(client: TestClient, cases: Path) -> None:
    response = client.post("/v1/reconstruct", content=(cases / "img" / "heic_named.jpg").read_bytes())
    assert response.status_code == 200 or (response.status_code == 415 and "HEIC" in response.json()["detail"])


@pytest.mark.drill
@pytest.mark.parametrize(
    ("name", "query", "frames", "fps", "note"),
    [
        ("face_gone_frames_25_64.mp4", "", 90, 30, "40 of 90 frames show no face (longest gap 1.3 s)"),
        ("two_people.mp4", "?face=1", 90, 30, "face 1 of 2 is followed, 0 is the largest"),
        ("hlg_10bit_hevc.mov", "", 90, 30, ""),
        ("selfie_mirrored_header.mp4", "", 90, 30, ""),
    ],
)
def test_videos(client: TestClient, cases: Path, name: str, query: str, frames: int, fps: float, note: str) -> None:
    found = client.post(f"/v1/track{query}", content=(cases / "vid" / name).read_bytes()).json()
    assert (len(found["frames"]), found["fps"]) == (frames, fps) and note in "; ".join(found["notes"])
    unseen = [n for n, frame in enumerate(found["frames"]) if frame["expression"] is None]
    assert unseen == (list(range(25, 65)) if "gone" in name else [])


@pytest.mark.drill
@pytest.mark.parametrize("name", ["fps_29.97.mp4", "vfr_10_then_60.mp4"])
def test_the_mouth_opens_when_it_does(weights, cases: Path, name: str) -> None:
    shipped = InProcessNetworks(Reconstructor.load(), Reenactor.load())
    detector = load_face_detector("own")
    client = make_client(shipped, shipped.reconstructor.model, make_settings(weights), detector=detector)
    content = (cases / "vid" / name).read_bytes()
    track = parse_csv(client.post("/v1/track?format=csv", content=content).content, "take.csv")
    opens = np.flatnonzero(np.diff((track.expression[:, JAW] > 0.17).astype(int)) == 1) + 1
    assert opens / track.fps == pytest.approx([0.5, 3.5], abs=0.11)


@pytest.mark.drill
@pytest.mark.parametrize(
    ("name", "seconds", "note"),
    [
        ("face_gone_frames_25_64.mp4", 3.0, "40 of 90 frames show no face; the face before is held"),
        ("vfr_10_then_60.mp4", 6.0, ""),
        ("hlg_10bit_hevc.mov", 3.0, ""),
        ("selfie_mirrored_header.mp4", 3.0, ""),
        ("two_people.mp4", 3.0, "face 0 of 2 is followed"),
    ],
)
def test_films(client: TestClient, cases: Path, name: str, seconds: float, note: str) -> None:
    driving = (cases / "vid" / name).read_bytes()
    files = {"source": ("a", make_photo()), "driving": (name, driving)}
    film = client.post("/v1/reenact/video", files=files, data={"box": "20,20,108,108"})
    assert film.status_code == 200, film.text[:300]
    assert note in "; ".join(read_notes(film.content))
    with av.open(io.BytesIO(film.content)) as container, av.open(io.BytesIO(driving)) as sent:
        stream = container.streams.video[0]
        assert len(container.streams.audio) == len(sent.streams.audio)
        rate, frames = float(stream.average_rate or 0), sum(1 for _ in container.decode(stream))
    assert frames / rate == pytest.approx(seconds, abs=0.05)


def test_pictures_of_videos_are_as_players_show_them(client: TestClient, cases: Path) -> None:
    def first(name: str) -> np.ndarray:
        response = client.post("/v1/picture", content=(cases / "vid" / name).read_bytes())
        assert response.status_code == 200 and len(response.headers["x-face-boxes"]) > 2
        return cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_COLOR)

    plain, hdr, mirrored = map(first, ("fps_29.97.mp4", "hlg_10bit_hevc.mov", "selfie_mirrored_header.mp4"))
    assert np.abs(hdr.astype(int) - plain).mean() < 12 and hdr.std() > 47, "washed out it is 39"
    with av.open(str(cases / "vid" / "selfie_mirrored_header.mp4")) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="bgr24")
    assert np.abs(mirrored[:, ::-1].astype(int) - stored).mean() < 3
