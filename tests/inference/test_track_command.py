"""``jr2net track``: a video or a camera becomes files, or packets for those that listen for Live Link Face."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from test_live_link_udp import listener, receive  # noqa: F401
from test_tracker import JAW, encode, picture, sure, tracker  # noqa: F401

from jr2net.cli import main
from jr2net.cli import track as command
from jr2net.expressions.live_link import PACKET_SHAPES
from jr2net.expressions.tracks import read_capture
from jr2net.images.video import VideoFrame
from jr2net.inference.smoothing import EXPRESSION, OneEuroFilter
from jr2net.inference.tracker import Tracker

FPS = 10.0
LEVELS = [0.2] * 5 + [0.8] * 5
PACKET_JAW = PACKET_SHAPES.index("JawOpen")


@pytest.fixture(autouse=True)
def networks(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(command, "load_tracker", lambda options: tracker)


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[np.ndarray]], None]:
    """Sets what the camera shows, ten frames a second, before Ctrl-C is pressed."""

    def show(images: list[np.ndarray]) -> None:
        def frames(number: int) -> Iterator[VideoFrame]:
            for index, image in enumerate(images):
                yield VideoFrame(index / FPS, image)
            raise KeyboardInterrupt

        monkeypatch.setattr(command, "_camera_frames", frames)

    return show


def target(listener: socket.socket) -> str:  # noqa: F811
    return f"udp://127.0.0.1:{listener.getsockname()[1]}"


def test_a_video_becomes_files_and_packets(tmp_path: Path, listener: socket.socket, capsys) -> None:  # noqa: F811
    video, images = tmp_path / "clip.mp4", [picture((100, 60), level=level) for level in LEVELS]
    images[2] = picture()
    video.write_bytes(encode(images, [n / FPS for n in range(10)]))
    for kind in ("csv", "json", "glb"):
        assert main(["track", str(video), "-o", str(tmp_path / f"take.{kind}"), "--smooth", "none"]) == 0
        said = capsys.readouterr()
        assert f"take.{kind}: 10 frames at 10 fps" in said.out and "1 of 10 frames show no face" in said.err
    jaw = read_capture(str(tmp_path / "take.csv")).expression[:, JAW]
    assert len(jaw) == 10 and jaw == pytest.approx(LEVELS, abs=0.05)
    frames = json.loads((tmp_path / "take.json").read_text())["frames"]
    assert frames[2]["expression"] is None and frames[9]["expression"][JAW] == pytest.approx(0.8, abs=0.05)
    assert (tmp_path / "take.glb").read_bytes()[:4] == b"glTF"
    assert main(["track", str(video), "--to", target(listener), "--smooth", "none"]) == 0
    assert "9 frames sent" in capsys.readouterr().out
    packets = [receive(listener) for _ in range(9)]
    assert [packet["time"][0] for packet in packets] == [0, 1, *range(3, 10)]
    assert packets[-1]["values"][PACKET_JAW] == pytest.approx(0.8, abs=0.05)


def test_a_camera_is_recorded_and_sent_until_it_is_stopped(
    tmp_path: Path,
    listener: socket.socket,  # noqa: F811
    camera,
    capsys,
) -> None:
    camera([picture((100, 60), (30, 60), level=level, sizes=(40, 20)) for level in LEVELS] + [picture()] * 3)
    file = tmp_path / "take.csv"
    assert main(["track", "--camera", "0", "-o", str(file), "--to", target(listener)]) == 0
    said = capsys.readouterr()
    assert "take.csv: 13 frames at 10 fps" in said.out
    assert "camera 0: face 0 of 2 is followed, 0 is the largest" in said.err
    assert "camera 0: 3 of 13 frames show no face" in said.err
    one_euro = OneEuroFilter(FPS, *EXPRESSION)  # at the pace of the camera, whatever the packets state
    expected = [float(one_euro(np.float32(level))) for level in LEVELS]
    sent = [receive(listener)["values"][PACKET_JAW] for _ in LEVELS]
    assert sent == pytest.approx(expected, abs=0.03)
    assert len(read_capture(str(file))) == 13


def test_a_camera_that_shows_no_face_is_an_error(tmp_path: Path, camera, capsys) -> None:
    camera([picture()] * 4)
    assert main(["track", "--camera", "0", "-o", str(tmp_path / "take.csv")]) == 1
    assert "camera 0: none of its 4 frames shows a face" in capsys.readouterr().err
    assert not (tmp_path / "take.csv").exists()
